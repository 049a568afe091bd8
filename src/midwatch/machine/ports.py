"""The operating system, as the engine sees it: one page of Protocols.

Everything that touches a process, a cgroup, a clock or a device stands behind `Machine`; linux/, macos/ and
fake.py implement it and pass the same contract tests (tests/machine/test_contract.py). Methods marked *blocking*
are called in a worker thread, all others return at once (<= 1 ms). Must not know the policy, the journal or
the keeper's wire.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from midwatch.model.finding import FdSnapshot
from midwatch.model.identity import Now, ProcId
from midwatch.model.sample import HostSample, TreeSample
from midwatch.model.sample import Reading as Reading  # noqa: PLC0414 (others import it from here)
from midwatch.model.service import Launch

Rung = Literal["cgroup", "tree", "marker", "not provable"]


class Target(msgspec.Struct, frozen=True):
    """What a launch resolves to here and now. `groups` None: keep ours. `exe` is absolute."""

    exe: str
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None
    home: str | None = None


class LaunchProblem(msgspec.Struct, frozen=True):
    """Why a launch cannot work: `error` is the errno name, `message` says what, where and what to do.

    `lasting`: time alone cannot cure it.
    """

    error: str
    message: str
    lasting: bool


class Containment(msgspec.Struct, frozen=True):
    """The cgroups of one run by capability, absolute directories; None where this machine has none.

    `kill` also answers "is anybody left" (cgroup.events). `memory` carries the limit and the OOM counter.
    On pure v2 both name the same directory. `why_not` says in words why a capability is missing.
    """

    kill: str | None = None
    memory: str | None = None
    why_not: str = ""

    @property
    def dirs(self) -> tuple[str, ...]:
        """The distinct directories, in the order a process is placed into them."""
        return tuple(dict.fromkeys(d for d in (self.memory, self.kill) if d))


class Tree(msgspec.Struct, frozen=True):
    """How to find the processes of one run: by cgroup, else by session, group, descent and marker.

    `marker` is the value of MIDWATCH_RUN in the environment of everything the run started; an inner instance
    appends to it (`outer/inner`), so a prefix match finds nested runs too. `keeper` is the subreaper to
    which orphans fall.
    """

    run: str
    main: ProcId
    marker: str
    containment: Containment
    keeper: int
    own_group: bool = True  # False: shares the terminal's foreground group with us, never signal the group
    since: int = 0  # start time of the run's first process, where `main` is what a launcher left; 0: `main` is it

    @property
    def began(self) -> int:
        """Nothing of the run is older than this."""
        return self.since or self.main.start


class Ended(msgspec.Struct, frozen=True):
    """What became of a tree: how many were ended, which are still there, and what proves it."""

    verified_by: Rung
    ended: int
    left: tuple[ProcId, ...] = ()


class Host(msgspec.Struct, frozen=True):
    """What this machine can do, found out once at start; shown by `ps` and `check`."""

    kernel: str
    boot: str
    refusal: str | None  # why midwatch cannot run here at all (names the kernel and what it lacks)
    rungs: dict[str, str]  # capability -> "yes" or the reason why not


class Listener(msgspec.Struct, frozen=True):
    """A TCP socket in LISTEN. `waiting`: connections that nobody has accepted; `backlog`: how many may wait (the
    kernel lets one more in), None where it does not say. `pids`: who holds it open, () when nobody may be looked at.
    """

    address: str
    port: int
    family: Literal["inet", "inet6"]
    inode: int
    uid: int
    waiting: int
    backlog: int | None = None
    pids: tuple[int, ...] = ()
    v6only: bool | None = None  # inet6: does "::" leave IPv4 alone? None: not said

    @property
    def full(self) -> bool:
        """Is the accept queue full: the next connection hangs (HLT-6)."""
        return self.backlog is not None and self.waiting > self.backlog


class Holder(msgspec.Struct, frozen=True):
    """Who a process is, for a person: no environment values, one line each. "" where nothing is known.

    `manager` is said only on evidence (its cgroup, an ancestor, a living keeper above it), never because of ppid 1.
    """

    proc: ProcId
    command: str  # at most 200 characters, control characters escaped
    age: float  # seconds since its start, sleep of the machine included
    user: str
    ppid: int
    marker: str = ""  # its MIDWATCH_RUN
    unit: str = ""  # cgroup leaf: x.service, or the id of a container
    manager: str = ""
    session: int = 0  # its session's number: the pid of its leader


class Opener(msgspec.Struct, frozen=True):
    """A process that has a certain file open."""

    pid: int
    age: float  # seconds since its start
    command: str
    handles: int  # how often it has it open


class Meter(Protocol):
    """A tree under the meter. Holds descriptors of its members open: `close` it when the run has ended."""

    def read(self, now: float) -> TreeSample:
        """One look; `now` is awake time, the same for all trees of a pass. 2 us for a process that did nothing, 15 for
        one that did; when somebody was born who may belong to a tree without a cgroup, a full look as by `members`.
        Also in a thread, but all meters of a machine by one thread at a time.
        """

    def close(self) -> None:
        """Close everything; may be called twice."""


class Machine(Protocol):
    """One operating system."""

    def now(self) -> Now:
        """The clocks, read together."""

    def host(self) -> Host:
        """Capabilities; cached."""

    def identify(self, pid: int) -> ProcId | None:
        """The identity of a living (or zombie) process, None when there is none."""

    def alive(self, proc: ProcId) -> bool:
        """Is exactly this process there and not a zombie? A recycled pid is not."""

    def lookup(self, launch: Launch) -> Target | LaunchProblem:
        """Find command, interpreter of a script, cwd and user before anything is spawned.

        ENOENT, EACCES, ENOEXEC, ENOTDIR and unknown users are found here, because a shell's 126/127 would
        hide them.
        """

    def fingerprint(self, launch: Launch) -> str:
        """A digest of everything outside that a start depends on: the resolved executable (device, inode,
        size, mtime), cwd, env files. Changes when a retry may have become worth it.
        """

    def contain(self, run: str, launch: Launch) -> Containment:
        """Make the run's cgroups (all or nothing per capability) and set its memory limit. *blocking*

        Raises OSError when `launch.contain` is "cgroup" and there is none to be had."""

    def limit(self, containment: Containment, launch: Launch) -> str:
        """Set the run's memory limit again (an adopted run may have lost it, or the config has changed). Words
        about why that failed, "" when it is set or none is asked for. *blocking*
        """

    def leftover(self, run: str) -> Containment:
        """The cgroups of that name that exist: what `contain` made for an intent whose run record was lost.
        Hand it to `end` or `release`.
        """

    def place(self, moves: list[tuple[Containment, int]]) -> list[OSError | None]:
        """Move each pid into its run's cgroups; a result each. *blocking*: 11-21 ms when alone, 0.02 ms each
        in a batch.
        """

    def prepare(self, pid: int, launch: Launch) -> list[str]:
        """Set rlimits, nice and oom_score_adj of a process waiting in its gate. Returns warnings for what
        was not permitted (H15: it runs, effective value in the text).
        """

    def signal(self, proc: ProcId, signum: int) -> bool:
        """Signal exactly this process through a pidfd or a re-checked identity; False when it is gone."""

    def signal_group(self, tree: Tree, signum: int) -> int:
        """Signal the run's process group while its leader is provably ours; else each known member. Returns
        how many.
        """

    def members(self, tree: Tree) -> list[ProcId]:
        """Every living process of the tree (no zombies). A full look costs about 1 ms per 120 processes."""

    def empty(self, tree: Tree) -> bool | None:
        """Is nothing left of the tree? Cheap: one cgroup.events read, or None when only a full look could
        tell.
        """

    def end(self, tree: Tree, polite: float, verify: float) -> Ended:
        """End everything of the tree and verify it. *blocking*, at most `polite + verify` seconds.

        polite > 0: TERM to every member and wait so long first. Then freeze (where possible), KILL all
        (cgroup.kill or pidfds) until two empty scans, verify."""

    def freeze(self, tree: Tree) -> str:
        """Bring everybody of the tree to a halt: "cgroup", "stop" (SIGSTOP to each), or "" nobody. *blocking*"""

    def thaw(self, tree: Tree, spare: tuple[ProcId, ...] = ()) -> None:
        """Undo `freeze`; who is in `spare` stood still before and goes on doing so. *blocking*"""

    def stopped(self, tree: Tree) -> tuple[ProcId, ...]:
        """Who of the tree stands still by a stop signal or a debugger: to be spared by `thaw`. *blocking*"""

    def scene(self, tree: Tree, seconds: float) -> dict[str, Any]:
        """Reads only: its groups' files, limits, shared memory, the host at this moment. For JSON. *blocking*"""

    def stills(self, tree: Tree, seconds: float) -> dict[str, Any]:
        """Of a tree that stands still: largest mappings, kernel stacks where permitted. *blocking*"""

    def tracing(self) -> str:
        """May we read another process of ours from inside (py-spy)? "yes", or the reason why not."""

    def rehearse(self) -> dict[str, str]:
        """Freeze, kill, reap a dummy tree of our own: rung -> "yes", or what is done instead and why. *blocking* <= 1 s
        """

    def release(self, containment: Containment) -> None:
        """Remove the run's cgroups by their recorded names; silent when they are gone or still populated.
        *blocking*
        """

    def oom_kills(self, containment: Containment) -> int | None:
        """The OOM-kill counter of the run's own memory cgroup (fresh cgroup: the delta is the value), None:
        absent.
        """

    def oom_by(self, containment: Containment) -> str:
        """A user-space OOM killer that has left its mark on the run's group, as a subject for a sentence; "" none."""

    def sees_kernel_log(self) -> bool:
        """Is the kernel's log readable, and are its pids ours? Then a kill it does not name was no OOM kill."""

    def kernel_oom(self, pids: set[int], since: float) -> str | None:
        """The kernel's own line about an OOM kill of one of these pids since awake time `since`, when
        readable. *blocking*
        """

    def held(self, tree: Tree) -> Reading:
        """Held memory of the tree in bytes: RssAnon + RssShmem + VmSwap (+ hugetlb), summed: an upper bound
        for more than one process.
        """

    def held_one(self, pid: int) -> Reading:
        """Held memory of one process."""

    def meter(self, tree: Tree) -> Meter:
        """A meter for the tree: for those who look often. Handles belong to (pid, start), never to a recycled pid."""

    def confirm(self, tree: Tree, seconds: float) -> Reading:
        """Held memory with each shared page counted once (Pss of anonymous and shared memory, and swap), largest
        process first. Out of time: "approximate", the rest counted whole. Locks each address space for 8 ms per GiB.
        *blocking*
        """

    def host_sample(self) -> HostSample:
        """The machine's memory and pressure now, with the limit that holds for us."""

    def memory_basis(self) -> tuple[int, str]:
        """The smallest of MemTotal, our own cgroup's and all its ancestors' limits, and which one that is."""

    def pressure(self) -> int | None:
        """A descriptor that polls POLLPRI, at most every 2 s, when tasks stalled for memory 200 ms of 2 s; the caller
        closes it. None: there is none here, poll `host_sample`.
        """

    def counter_error(self) -> int:
        """Bytes by which one process's reading may be wrong on this kernel; measured once."""

    def open_fds(self, pid: int) -> tuple[int | None, int | None]:
        """Number of open descriptors and their soft limit; None each when not readable."""

    def listener_in_tree(self, tree: Tree, host: str, port: int) -> bool | None:
        """Does the listener of this loopback port belong to the tree (HLT-2)? None: cannot be told."""

    def listeners(self, port: int, owners: bool = True) -> list[Listener]:
        """Every listener on this TCP port: all addresses, v4 and v6. *blocking* with `owners` when there is one
        (all processes are looked through for it, at most a second); without, `pids` is () and it takes 0.1 ms.
        """

    def owns(self, tree: Tree, listener: Listener) -> bool | None:
        """Does somebody of the tree hold exactly this socket? None: it cannot be told."""

    def serving(self, tree: Tree) -> dict[int, tuple[int, ...]]:
        """Who of the tree listens on TCP, and on which ports: only those who do and may be looked at."""

    def bindable(self, port: int) -> bool:
        """Would a bind with SO_REUSEADDR work, on both wildcards? Never listens. Only "in use" is False."""

    def blockers(self, port: int) -> str:
        """When a port is not bindable and nobody listens: what holds it, in words, "" when that cannot be told.
        *blocking*
        """

    def holder(self, pid: int) -> Holder | None:
        """Who is that? None: no such process."""

    def find(self, marker: str, fifos: tuple[str, ...]) -> list[ProcId]:
        """Living processes that bear this marker (or one inside it: `marker/...`), or hold one of these FIFOs open.
        Never this process nor the keeper. An empty marker finds nobody. *blocking*
        """

    def find_all(self, wanted: dict[str, tuple[str, ...]]) -> dict[str, list[ProcId]]:
        """`find` for many at once (marker -> its FIFOs), at the price of one: a walk through all processes. *blocking*
        """

    def inspect_tree(self, tree: Tree, pids: tuple[int, ...] = (), seconds: float = 2.0) -> dict[str, Any]:
        """What a person needs to understand a hang: per process state, threads, descriptors, sockets. *blocking*

        `pids`: also these. At most `seconds` and 256 KiB of JSON; "missing" says what is left out and why."""

    def fd_snapshot(self, tree: Tree) -> FdSnapshot | None:
        """What the main process has open, by target and kind, with half-closed sockets and deleted files. None: it may
        not be looked at, or not here. *blocking* <= 1 s
        """

    def openers(self, paths: tuple[str, ...]) -> dict[str, list[Opener]]:
        """Who of all processes that we may look at has these files open, the oldest first. *blocking* ~0.1 s"""

    def remote(self, path: str) -> str:
        """The type of the file system it is on, where that is another machine's or a virtual machine's host's; else "".
        *blocking*
        """

    def suspended(self) -> float:
        """Seconds this machine has slept since it was booted; 0 where that is unknown."""

    def settle(self) -> str:
        """Make room for runs' cgroups: where a manager delegated our own cgroup to us, move keeper and engine into
        a leaf "midwatch" of it. Once, before anything is spawned. Words about what was done, "" nothing. *blocking*
        """

    def free_bytes(self, path: str) -> int | None:
        """Free bytes for us on the file system of `path`."""
