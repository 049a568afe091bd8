"""The stage below fake.py: processes, sessions, signals, freezing, OOM kills and a clock that is moved by
hand.

A small operating system in memory and the stage hands of a test: `spawn`, `fork`, `exit`, `reap`, `grow`,
`advance`, `fail`, `reboot`. Nothing here sleeps: `advance` is the only time there is. Must not know
`ports.Machine`'s rules.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import msgspec

from midwatch.machine.ports import LaunchProblem
from midwatch.model.finding import FdSnapshot
from midwatch.model.identity import ProcId
from midwatch.model.service import Launch

_HARMLESS = {signal.SIGCHLD, signal.SIGWINCH, signal.SIGURG, signal.SIGCONT}
_TICKS = 100


class FakeMemory(msgspec.Struct):
    """The machine's own numbers; a test may change any. `available_bytes` None: total less what processes hold."""

    total_bytes: int = 16 << 30
    available_bytes: int | None = None
    swap_total_bytes: int = 0
    swap_free_bytes: int = 0
    some: float | None = 0.0
    full: float | None = 0.0
    limit_bytes: int | None = None  # of a cgroup we live in
    error: int = 0  # what `counter_error` says; > 0: single readings are approximate
    readable: bool = True  # False: no process may be looked at
    pss: bool = True  # False: nor may anything be confirmed


class FakeQueue(msgspec.Struct):
    """Where a process listens, and who waits there."""

    address: str = "0.0.0.0"  # noqa: S104 (nothing is bound)
    waiting: int = 0
    backlog: int | None = 128
    inode: int = 0
    readable: bool = True  # False: nobody may see that it is this process


class FakeProcess(msgspec.Struct):
    """One process; a test may change any field."""

    pid: int
    start: int
    ppid: int
    pgrp: int
    session: int
    env: dict[str, str] = {}
    argv: tuple[str, ...] = ()
    cgroups: set[str] = set()
    ignores: set[int] = set()
    leaves: dict[int, tuple[float, int]] = {}  # signal -> seconds until it exits, raw status it exits with
    held_bytes: int = 1 << 20
    shared_bytes: int = 0  # of held_bytes: pages that all members of its tree share
    swap_bytes: int = 0  # of held_bytes
    threads: int = 1
    cpu_s: float = 0.0
    read_bytes: int = 0
    written_bytes: int = 0
    fds: int | None = 3
    fd_limit: int | None = 1024
    table: FdSnapshot | None = None  # what `fd_snapshot` finds
    ports: set[int] = set()  # it listens there; `Stage.listen` says more about each
    queues: dict[int, FakeQueue] = {}
    user: str = "me"
    unit: str = ""
    manager: str = ""
    fifos: set[str] = set()  # paths it holds open, besides `fifo_of`
    state: str = "S"
    main: bool = False  # started by the keeper: a zombie until `reap`; all others are reaped at once
    fifo_of: str = ""  # the run whose FIFO is its stdout
    seen_in: set[str] = set()  # runs in which a look found it: known for good
    kernel_stuck: bool = False  # in D state: not even KILL ends it
    stopped: bool = False
    pending: list[int] = []
    exit_at: float | None = None
    exit_status: int = 0
    status: int | None = None  # raw wait status once it is a zombie
    warnings: tuple[str, ...] = ()  # what `prepare` shall say about it
    limits: Launch | None = None  # what `prepare` was asked for


class Stage:
    """The processes of one machine. `keeper_pid` is the subreaper, the next pid is the engine (us)."""

    def __init__(
        self,
        instance: str = "fake",
        keeper_pid: int = 100,
        *,
        cgroups: bool = True,
        memory_cgroups: bool = True,
    ) -> None:
        self.boot = "boot-1"
        self.awake = 1000.0
        self.wall = 1_800_000_000.0
        self.keeper = keeper_pid
        self.engine = keeper_pid + 1
        self.cgroups = cgroups
        self.memory_cgroups = memory_cgroups
        self.refusal: str | None = None
        self.procs: dict[int, FakeProcess] = {}
        self.groups: dict[str, int | None] = {}  # cgroup directory -> memory limit
        self.frozen: set[str] = set()
        self.ooms: dict[str, int] = {}
        self.kernel_log: list[tuple[float, int, str]] = []
        self.problems: dict[str, LaunchProblem] = {}  # argv[0] -> what `lookup` shall say
        self.versions: dict[str, int] = {}  # argv[0] -> how often `touch` was called
        self.free: int | None = 1 << 40
        self.memory = FakeMemory()
        self.blocked: dict[int, str] = {}  # port that nobody listens on and nobody can bind -> why
        self.slept = 0.0  # seconds
        self.remotes: dict[str, str] = {}  # folder -> type of a file system that is another machine's
        self.on_exit: Callable[[int, int, float], None] | None = None  # pid, raw status, awake time
        self.signals: list[tuple[int, int]] = []  # every (pid, signal) that reached a process
        self._faults: dict[str, list[BaseException]] = {}
        self._instance = instance
        self._next = keeper_pid + 100
        self._inode = 5000
        for pid in (1, self.keeper, self.engine):
            parent = self.keeper if pid == self.engine else min(pid - 1, 1)
            self.procs[pid] = FakeProcess(pid, self._tick(), parent, pid, pid)

    # ---- the stage: what a test does to the machine -------------------------------------------------------

    def spawn(
        self, argv: tuple[str, ...] = ("x",), env: dict[str, str] | None = None, **facts: Any
    ) -> ProcId:
        """The keeper starts a process in a session of its own."""
        self._raise("spawn")
        return self._new(self.keeper, None, argv=argv, env=dict(env or {}), main=True, **facts)

    def fork(self, parent: int, *, new_session: bool = False, **facts: Any) -> ProcId:
        """A living process forks; the child inherits environment, cgroups and ignored signals unless `facts`
        differ.
        """
        old = self.procs[parent]
        base: dict[str, Any] = {"env": dict(old.env), "cgroups": set(old.cgroups)}
        base |= {"ignores": set(old.ignores)}
        base |= {"argv": old.argv, "fifo_of": old.fifo_of}
        return self._new(parent, None if new_session else old, **{**base, **facts})

    def exit(self, pid: int, code: int = 0, signum: int = 0) -> None:
        """A process ends: a zombie until `reap` (orphans that fell to the keeper are reaped at once)."""
        self._exit(self.procs[pid], signum or code << 8)

    def reap(self, pid: int) -> int | None:
        """The parent waits for a zombie: its raw status, None when there is none. The pid is free
        afterwards.
        """
        process = self.procs.get(pid)
        if process is None or process.status is None:
            return None
        del self.procs[pid]
        return process.status

    def stranger(self, pid: int | None = None, ppid: int = 1) -> ProcId:
        """A process that is none of ours, at `pid` if that is free (a recycled one)."""
        return self._new(ppid, None, pid=pid)

    def listen(self, pid: int, port: int, address: str = "127.0.0.1", **facts: Any) -> None:
        """A process listens from now on. `facts`: of FakeQueue, e.g. waiting=129 for one that accepts nobody."""
        self.procs[pid].ports.add(port)
        self._inode += 1
        self.procs[pid].queues[port] = FakeQueue(address, **{"inode": self._inode, **facts})

    def hand_over(self, pid: int, port: int, code: int = 0, **facts: Any) -> ProcId:
        """A launcher: its child serves the port, in a session of its own, and the parent exits."""
        heir = self.fork(pid, new_session=True, **facts)
        self.listen(heir.pid, port)
        self.exit(pid, code)
        return heir

    def sleep(self, seconds: float) -> None:
        """The machine is suspended: the wall clock goes on, the awake clock stands still."""
        self.wall += seconds
        self.slept += seconds

    def grow(self, pid: int, held_bytes: int) -> None:
        """Change held memory; beyond a limit the OOM killer ends the biggest of the group."""
        self.procs[pid].held_bytes = held_bytes
        for directory in self.procs[pid].cgroups:
            limit = self.groups.get(directory)
            inside = [p for p in self.procs.values() if directory in p.cgroups and p.status is None]
            if limit is not None and inside and sum(p.held_bytes for p in inside) > limit:
                victim = max(inside, key=lambda p: p.held_bytes)
                self.ooms[directory] = self.ooms.get(directory, 0) + 1
                words = f"Memory cgroup out of memory: Killed process {victim.pid} (fake)"
                self.kernel_log.append((self.awake, victim.pid, words))
                self._deliver(victim, signal.SIGKILL)

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due in between happens in order, at its own time."""
        until = self.awake + seconds
        while True:
            due = [p for p in self.procs.values() if p.exit_at is not None and p.status is None]
            first = min(due, key=lambda p: p.exit_at or 0.0, default=None)
            if first is None or first.exit_at is None or first.exit_at > until:
                break
            self._pass(max(0.0, first.exit_at - self.awake))
            self._exit(first, first.exit_status)
        self._pass(until - self.awake)

    def fail(self, method: str, error: BaseException, times: int = 1) -> None:
        """The next `times` calls of `method` raise `error` (for `place`: it is the result of a move)."""
        self._faults.setdefault(method, []).extend([error] * times)

    def touch(self, program: str) -> None:
        """Somebody changed what this command depends on: another fingerprint, and a problem is cured."""
        self.versions[program] = self.versions.get(program, 0) + 1
        self.problems.pop(program, None)

    def reboot(self) -> None:
        """Everybody is gone and there is a new boot id."""
        self.boot = f"boot-{int(self.boot[5:]) + 1}"
        self.procs = {pid: self.procs[pid] for pid in (1, self.keeper, self.engine)}
        self.groups.clear()
        self.blocked.clear()
        self.awake = 1.0
        self.slept = 0.0

    # ---- how it works inside -----------------------------------------------------------------------------

    def _tick(self) -> int:
        return int(self.awake * _TICKS)

    def _pass(self, seconds: float) -> None:
        self.awake += seconds
        self.wall += seconds

    def _raise(self, method: str) -> None:
        if self._faults.get(method):
            raise self._faults[method].pop(0)

    def _new(self, ppid: int, like: FakeProcess | None, pid: int | None = None, **facts: Any) -> ProcId:
        if pid is None:
            self._next += 1
            pid = self._next
        if pid in self.procs:
            raise ValueError(f"pid {pid} is taken")
        self.awake += 1 / _TICKS  # no two processes of one pid share a start time
        pgrp, session = (like.pgrp, like.session) if like else (pid, pid)
        facts.setdefault("cgroups", set())
        self.procs[pid] = FakeProcess(pid, self._tick(), ppid, pgrp, session, **facts)
        return ProcId(pid, self._tick(), self.boot)

    def _exit(self, process: FakeProcess, status: int) -> None:
        if process.status is not None:
            return
        process.status = status
        process.exit_at = None
        process.cgroups = set()
        process.ports = set()
        process.queues = {}
        process.fifos = set()
        for child in list(self.procs.values()):
            if child.ppid == process.pid:
                child.ppid = self.keeper if self._of_keeper(process) else 1
                if child.status is not None:
                    self.procs.pop(child.pid)
        if not process.main:
            self.procs.pop(process.pid, None)
        if self.on_exit:
            self.on_exit(process.pid, status, self.awake)

    def _of_keeper(self, process: FakeProcess) -> bool:
        seen = 0
        while process.ppid > 1 and seen < 1000:
            if process.ppid == self.keeper:
                return self.procs[self.keeper].status is None
            process, seen = self.procs[process.ppid], seen + 1
        return False

    def _deliver(self, process: FakeProcess, signum: int) -> bool:
        """What the kernel does with one signal; False: nobody there."""
        if process.status is not None:
            return False
        self.signals.append((process.pid, signum))
        if signum == signal.SIGKILL:
            if not process.kernel_stuck:
                self._exit(process, signal.SIGKILL)
        elif signum in (signal.SIGSTOP, signal.SIGTSTP):
            process.stopped = True
        elif signum == signal.SIGCONT:
            process.stopped = False
            self._wake(process)
        elif process.stopped or process.cgroups & self.frozen:
            process.pending.append(signum)
        elif signum in process.leaves:
            delay, process.exit_status = process.leaves[signum]
            process.exit_at = self.awake + delay
            if delay <= 0:
                self._exit(process, process.exit_status)
        elif signum and signum not in process.ignores and signum not in _HARMLESS:
            self._exit(process, signum)
        return True

    def _wake(self, process: FakeProcess) -> None:
        if not process.stopped and not process.cgroups & self.frozen:
            pending, process.pending = process.pending, []
            for signum in pending:
                self._deliver(process, signum)

    def _thaw(self, directory: str | None) -> None:
        if directory in self.frozen:
            self.frozen.discard(directory)
            for process in list(self.procs.values()):
                self._wake(process)

    def _exactly(self, proc: ProcId) -> FakeProcess | None:
        process = self.procs.get(proc.pid)
        fits = process is not None and process.start == proc.start and proc.boot == self.boot
        return process if fits else None
