"""`MacMachine`: the Machine protocol on macOS, from libproc, kqueue and the rules shared with Linux.

What macOS lacks is said, not imitated: no cgroups, no subreaper (orphans fall to launchd, so an empty tree is proved
by marker at best), no pidfd (a signal follows a re-check of the identity at once), no limits on another process. Has
not run on a Mac; tests/machine/test_macos.py runs it on recorded bytes.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from midwatch.machine import end, pause, shebang, trial
from midwatch.machine import launch as launches
from midwatch.machine.macos import libproc, people, structs
from midwatch.machine.macos.readings import MacReadings
from midwatch.machine.ports import (
    Containment,
    Ended,
    Holder,
    Host,
    LaunchProblem,
    Listener,
    Reading,
    Target,
    Tree,
)
from midwatch.machine.procs import Stat
from midwatch.machine.tree import Scanner
from midwatch.model.finding import FdSnapshot
from midwatch.model.identity import Now, ProcId
from midwatch.model.service import Launch

_FRESH = 0.25
_NO_CGROUPS = "macOS has no cgroups"
_MACH_O = (b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xca\xfe\xba\xbe", b"\xce\xfa\xed\xfe")
_LEAVING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class MacSource:
    """libproc as tree.py wants it."""

    subreaper = False

    def __init__(self, lib: libproc.Libproc) -> None:
        self._lib = lib

    def stats(self) -> Iterator[Stat]:
        """See procs.Source."""
        for pid in self._lib.pids():
            stat = self.stat(pid)
            if stat is not None:
                yield stat

    def stat(self, pid: int) -> Stat | None:
        """See procs.Source."""
        data = self._lib.bsdinfo(pid)
        if data is None:
            return None
        try:
            session = os.getsid(pid)
        except OSError:
            session = 0
        return structs.bsdinfo(data, session)

    def marker(self, pid: int) -> str | None:
        """See procs.Source."""
        return structs.marker(self._lib.arguments(pid) or b"")

    def may_read(self, pid: int) -> bool:
        """See procs.Source."""
        return self._lib.arguments(pid) is not None

    def writes_to(self, run: str, pid: int) -> bool:
        """Not asked here: there are no orphans of the keeper to attribute."""
        return False

    def group(self, directory: str) -> set[int] | None:
        """No cgroups."""
        return None


class MacHand:
    """Signals after an identity check; no groups."""

    def __init__(self, source: MacSource) -> None:
        self._source = source

    def send(self, proc: ProcId, signum: int) -> bool:
        """See procs.Hand. Between the check and the signal lie microseconds: macOS offers nothing better."""
        stat = self._source.stat(proc.pid)
        if stat is None or stat.start != proc.start or stat.dead:
            return False
        try:
            os.kill(proc.pid, signum)
        except ProcessLookupError:
            return False
        return True

    def wait(self, procs: list[ProcId], seconds: float) -> None:
        """See procs.Hand."""
        libproc.wait_exits([proc.pid for proc in procs], seconds)

    def kill_group(self, directory: str) -> bool:
        """No cgroups."""
        return False

    def freeze_group(self, directory: str, on: bool) -> bool:
        """No cgroups."""
        return False

    def group_frozen(self, directory: str) -> bool:
        """No cgroups."""
        return False

    def release(self, procs: list[ProcId]) -> None:
        """macOS has no such call."""

    def thaw_group(self, directory: str) -> None:
        """No cgroups."""

    def group_empty(self, directory: str) -> bool:
        """No cgroups: nothing is proved."""
        return False


class MacMachine(MacReadings):
    """One Mac as one instance sees it."""

    def __init__(self, instance: str, keeper_pid: int, lib: libproc.Libproc | None = None) -> None:
        """`instance` names nothing here; `lib` is for tests."""
        self._instance = instance
        self._lib = lib or libproc.Libproc()
        self._boot = self._lib.boot_session()
        self._source = MacSource(self._lib)
        self._hand = MacHand(self._source)
        self._scanner = Scanner(self._source, keeper_pid, self._boot)
        self._keeper = keeper_pid

    def now(self) -> Now:
        """time.monotonic is mach_absolute_time, which stops while the Mac sleeps."""
        return Now(time.monotonic(), time.time(), self._boot)

    def host(self) -> Host:
        """See ports."""
        rungs = {
            "kqueue": "yes",
            "cgroup": _NO_CGROUPS,
            "memory limit": _NO_CGROUPS,
            "subreaper": "macOS has none: orphans fall to launchd and are found by their marker",
        }
        return Host(f"{os.uname().sysname} {os.uname().release}", self._boot, None, rungs)

    def identify(self, pid: int) -> ProcId | None:
        """See ports."""
        stat = self._source.stat(pid)
        if stat is None:
            return None
        if stat.ppid == self._keeper:
            self._scanner.learn(stat)
        return ProcId(pid, stat.start, self._boot)

    def alive(self, proc: ProcId) -> bool:
        """See ports."""
        stat = self._source.stat(proc.pid)
        return stat is not None and stat.start == proc.start and proc.boot == self._boot and not stat.dead

    def lookup(self, launch: Launch) -> Target | LaunchProblem:
        """See ports."""
        return launches.lookup(launch, check)

    def fingerprint(self, launch: Launch) -> str:
        """See ports."""
        return launches.fingerprint(launch, check)

    def contain(self, run: str, launch: Launch) -> Containment:
        """See ports."""
        if launch.contain == "cgroup":
            raise OSError(errno.ENOTSUP, f"{run}: {_NO_CGROUPS}")
        return Containment(why_not=_NO_CGROUPS)

    def limit(self, containment: Containment, launch: Launch) -> str:
        """See ports."""
        return "" if launch.memory_hard is None else _NO_CGROUPS

    def leftover(self, run: str) -> Containment:
        """Nothing can be left of that kind."""
        return Containment(why_not=_NO_CGROUPS)

    def place(self, moves: list[tuple[Containment, int]]) -> list[OSError | None]:
        """Nothing to place into."""
        return [None for _ in moves]

    def prepare(self, pid: int, launch: Launch) -> list[str]:
        """nice only: macOS sets no limits of another process, and the OOM killer takes no wishes."""
        warnings = [
            f"rlimit {name}: macOS cannot set it for another process, ignored" for name in launch.rlimits
        ]
        if launch.oom_score_adj is not None:
            warnings.append("oom_score_adj: macOS has none, ignored")
        if launch.nice is not None:
            try:
                os.setpriority(os.PRIO_PROCESS, pid, launch.nice)
            except OSError as error:
                warnings.append(f"nice: requested {launch.nice}, not set: {error.strerror}")
        return warnings

    def signal(self, proc: ProcId, signum: int) -> bool:
        """See ports."""
        return proc.boot == self._boot and self._hand.send(proc, signum)

    def signal_group(self, tree: Tree, signum: int) -> int:
        """See ports."""
        if tree.main.boot != self._boot:
            return 0
        if tree.own_group and self.identify(tree.main.pid) == tree.main:
            try:
                os.killpg(tree.main.pid, signum)
                if signum in _LEAVING:
                    os.killpg(tree.main.pid, signal.SIGCONT)
                return 1
            except (ProcessLookupError, PermissionError):
                pass
        told = 0
        for proc in self.members(tree):
            try:
                told += self._hand.send(proc, signum)
            except PermissionError:
                continue
        return told

    def members(self, tree: Tree) -> list[ProcId]:
        """See ports."""
        return self._scanner.identities(self._scanner.find(tree))

    def empty(self, tree: Tree) -> bool | None:
        """Only a full look can tell, except across a reboot."""
        return True if tree.main.boot != self._boot else None

    def end(self, tree: Tree, polite: float, verify: float) -> Ended:
        """See ports."""
        if tree.main.boot != self._boot:
            return Ended("tree", 0)
        return end.Ending(self._scanner, self._hand, tree).run(polite, verify)

    def freeze(self, tree: Tree) -> str:
        """See ports."""
        return pause.freeze(self._scanner, self._hand, tree) if tree.main.boot == self._boot else ""

    def thaw(self, tree: Tree, spare: tuple[ProcId, ...] = ()) -> None:
        """See ports."""
        if tree.main.boot == self._boot:
            pause.thaw(self._scanner, self._hand, tree, spare)

    def stopped(self, tree: Tree) -> tuple[ProcId, ...]:
        """See ports."""
        return pause.stopped(self._scanner, tree)

    def scene(self, tree: Tree, seconds: float) -> dict[str, Any]:
        """See ports."""
        return {"missing": ["limits and the host's numbers: not read on macOS"]}

    def stills(self, tree: Tree, seconds: float) -> dict[str, Any]:
        """See ports."""
        return {"missing": ["mappings and kernel stacks: not read on macOS"]}

    def tracing(self) -> str:
        """See ports."""
        return "yes" if os.geteuid() == 0 else "macOS lets only root look into another process"

    def rehearse(self) -> dict[str, str]:
        """See ports."""
        return {"rehearsal": "not done on macOS", "freeze": f"SIGSTOP only: {_NO_CGROUPS}"}

    def sees_kernel_log(self) -> bool:
        """macOS has no such log for us."""
        return False

    def oom_by(self, containment: Containment) -> str:
        """See ports."""
        return ""

    def release(self, containment: Containment) -> None:
        """Nothing was made."""

    def oom_kills(self, containment: Containment) -> int | None:
        """Absent."""
        return None

    def kernel_oom(self, pids: set[int], since: float) -> str | None:
        """jetsam's reports are files for triage, not a log that can be read here."""
        return None

    def held(self, tree: Tree) -> Reading:
        """phys_footprint; a tree's sum is an upper bound."""
        return self._held(sorted(self._scanner.find(tree, _FRESH).pids))

    def held_one(self, pid: int) -> Reading:
        """See ports."""
        return self._held([pid])

    def _held(self, pids: list[int]) -> Reading:
        known = [facts for pid in pids if (facts := structs.footprint(self._lib.rusage(pid) or b""))]
        if not known:
            return Reading(None, "absent", "no process of the tree could be read" if pids else "nothing runs")
        total = sum(facts.now for facts in known)
        if len(known) > 1:
            return Reading(total, "upper-bound", f"sum over {len(known)} processes")
        return Reading(total, "exact" if len(pids) == 1 else "approximate")

    def open_fds(self, pid: int) -> tuple[int | None, int | None]:
        """The number of descriptors; another process's limit cannot be asked for."""
        data = self._lib.descriptors(pid)
        return (len(structs.descriptors(data)) if data is not None else None, None)

    def listener_in_tree(self, tree: Tree, host: str, port: int) -> bool | None:
        """True when a member listens on the port; else None: other users' sockets cannot be seen."""
        if not host:
            return None
        members = self._scanner.find(tree, _FRESH).pids
        return True if any(found.port == port for _, _, found in people.listening(self._lib, members)) else None

    def owns(self, tree: Tree, listener: Listener) -> bool | None:
        """See ports."""
        found = people.listening(self._lib, self._scanner.find(tree, _FRESH).pids)
        return any(row.pcb == listener.inode for _, _, row in found)

    def serving(self, tree: Tree) -> dict[int, tuple[int, ...]]:
        """See ports."""
        ports: dict[int, set[int]] = {}
        for pid, _, row in people.listening(self._lib, self._scanner.find(tree, _FRESH).pids):
            ports.setdefault(pid, set()).add(row.port)
        return {pid: tuple(sorted(held)) for pid, held in ports.items()}

    def listeners(self, port: int, owners: bool = True) -> list[Listener]:
        """See ports. Only those of processes we may look at (our own user's; everybody's as root)."""
        return people.listeners(self._lib, port, owners)

    def bindable(self, port: int) -> bool:
        """See ports."""
        return trial.bindable(port)

    def blockers(self, port: int) -> str:
        """Nothing is known."""
        return ""

    def holder(self, pid: int) -> Holder | None:
        """See ports."""
        return people.holder(self._lib, self._source.stat(pid), self._boot, self._keeper, self._instance)

    def find(self, marker: str, fifos: tuple[str, ...]) -> list[ProcId]:
        """See ports. Only among processes we may look at."""
        found = people.find(self._lib, marker, fifos, {self._keeper, os.getpid()})
        stats = (self._source.stat(pid) for pid in found)
        return [ProcId(stat.pid, stat.start, self._boot) for stat in stats if stat and not stat.dead]

    def find_all(self, wanted: dict[str, tuple[str, ...]]) -> dict[str, list[ProcId]]:
        """See ports."""
        return {marker: self.find(marker, fifos) for marker, fifos in wanted.items()}

    def inspect_tree(self, tree: Tree, pids: tuple[int, ...] = (), seconds: float = 2.0) -> dict[str, Any]:
        """See ports. Threads and what they wait for need the task port, which is never asked for."""
        members = [tree.main.pid, *sorted(self._scanner.find(tree, _FRESH).pids), *pids]
        return people.inspect(self._lib, list(dict.fromkeys(members)), seconds)

    def fd_snapshot(self, tree: Tree) -> FdSnapshot | None:
        """See ports: not built for macOS yet."""
        return None

    def suspended(self) -> float:
        """See ports. mach_continuous_time goes on while the Mac sleeps, mach_absolute_time does not."""
        continuous, absolute = getattr(time, "CLOCK_MONOTONIC_RAW", None), getattr(time, "CLOCK_UPTIME_RAW", None)
        if continuous is None or absolute is None:
            return 0.0
        return max(0.0, time.clock_gettime(continuous) - time.clock_gettime(absolute))

    def settle(self) -> str:
        """No cgroups."""
        return ""

    def free_bytes(self, path: str) -> int | None:
        """See ports."""
        try:
            space = os.statvfs(path)
        except OSError:
            return None
        return space.f_bavail * space.f_frsize


def check(exe: str, launch: Launch, find: Callable[[str], str | LaunchProblem]) -> LaunchProblem | None:
    """See launch.Check."""
    return shebang.check(exe, launch, find, _program)


def _program(path: str, head: bytes) -> LaunchProblem | None:
    return None if head[:4] in _MACH_O else shebang.no_program(path, head)
