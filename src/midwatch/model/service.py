"""What a service is: the facts it is spawned from, and the rules that govern its life.

`Launch` (what makes a new process different) is kept apart from `Rules` (what the policy reads): the policy
and its journal never see an environment value. Must not parse TOML (config/) nor spawn (keeper/).
Every default in here comes from policy/defaults.py through config/.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Need = Literal["started", "ready", "completed"]


class Window(msgspec.Struct, frozen=True):
    """`limit` occurrences within `seconds`: the budget "10 in 60s"."""

    limit: int
    seconds: float


class Budgets(msgspec.Struct, frozen=True, omit_defaults=True):
    """One budget per cause: a fast window that changes delays, and a slow one that only alerts.

    None switches a window off. `crash` counts consecutive crashes and is reset by a run longer than
    `stable_after` seconds; the others are sliding windows.
    """

    crash: int
    stable_after: float
    clean: Window | None
    drain: Window | None
    unhealthy: Window | None
    memory: Window | None
    killed: Window | None
    crash_slow: Window | None = None
    clean_slow: Window | None = None
    drain_slow: Window | None = None
    unhealthy_slow: Window | None = None
    memory_slow: Window | None = None
    killed_slow: Window | None = None
    fds: Window | None = None
    fds_slow: Window | None = None
    crash_hard: int | None = None  # give up after this many consecutive crashes; None: never


class Backoff(msgspec.Struct, frozen=True):
    """Delays in seconds between runs; `jitter` is the upward share, e.g. 0.1 for [0, 10 %)."""

    first: float  # after the first crash; doubles
    most: float  # ceiling inside the budget
    jitter: float
    drain: float  # after a drain exit, always
    over: float  # first delay over a window budget; doubles up to `most`
    degraded_first: float  # crash budget spent
    degraded_most: float
    recheck: float  # a held service's precondition
    port: float = 5.0  # first delay while somebody else holds the port; doubles
    port_most: float = 60.0


class Stop(msgspec.Struct, frozen=True):
    """The first signal, how long the tree has to leave, how long the kill has to be verified (seconds)."""

    signal: int
    grace: float
    verify: float


class Probe(msgspec.Struct, frozen=True, omit_defaults=True):
    """One question put to a run. Exactly one of the targets is set.

    `within`: seconds a start may take to become ready (ready probes). `every`, `timeout`: seconds.
    `failures`: consecutive failures that mean unhealthy (health probes).
    """

    http: str | None = None
    tcp: str | None = None  # HOST:PORT
    command: tuple[str, ...] | None = None
    log: str | None = None  # regular expression on one line of output
    file: str | None = None  # exists (ready) / touched within `every` x `failures` (health)
    notify: bool = False  # READY=1 on NOTIFY_SOCKET
    json_status: str | None = None  # path of a JSON field that must equal "ok"
    json_counter: str | None = None  # path of a JSON number that has to rise between two health probes
    json_waiting: str | None = None  # path of a number: `json_counter` has to rise only while it is above 0
    json_active: str | None = None  # path of a number: while it is above 0 something is being done
    any_owner: bool = False  # also an answer by a process outside the run's tree counts
    within: float = 25.0
    every: float = 0.4
    timeout: float = 2.0
    failures: int = 3


class Schedule(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a service runs that does not run all the time: five cron fields in a time zone (None: the machine's).

    `deadline`: seconds one run may take. `catch_up`: one run makes up for all that were slept through.
    """

    cron: str
    zone: str | None = None
    deadline: float | None = None
    catch_up: bool = True


class FileWatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """Restart when one of these absolute paths changes; quiet for `debounce` seconds first.

    `ignore`: glob patterns of paths below them that do not count.
    """

    paths: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    debounce: float = 0.5


class MemoryLines(msgspec.Struct, frozen=True, omit_defaults=True):
    """Lines on the held memory of a run's tree, in bytes. "auto": its share of the machine budget.

    At `soft` it is asked to drain, at `hard` it is ended. Without a hard line it is warned at its share.
    """

    soft: int | None = None
    hard: int | Literal["auto"] | None = None


class DrainRules(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a run is asked to finish its work and leave, and how many seconds it has. One of both, or neither.

    The exit code it then leaves with is `Rules.drain_code`, or 0.
    """

    signal: int | None = None
    command: tuple[str, ...] | None = None
    within: float = 30.0


class FdRules(msgspec.Struct, frozen=True, omit_defaults=True):
    """Open descriptors: shares of the soft limit that warn and act, and what acting is.

    `pools`: file name -> how many handles of it are meant to be open.
    """

    warn: float = 0.7
    act: float = 0.85
    pools: dict[str, int] = {}
    action: Literal["warn", "restart"] = "warn"
    per_unit: float | None = None  # descriptors that one unit under way takes (FDW-4)


class Rules(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything the policy may read about a service. Pure data; goes into journal snapshots."""

    budgets: Budgets
    backoff: Backoff
    stop: Stop
    oneshot: bool = False
    on_clean: Literal["restart", "stop"] = "restart"
    drain_code: int | None = None
    permanent_codes: tuple[int, ...] = (78,)
    ready: Probe | None = None
    health: Probe | None = None
    needs: dict[str, Need] = {}  # service id -> what it has to be before this one starts
    deep: Probe | None = None  # a second, slower health question that exercises what the first one does not
    watchdog: float | None = None  # seconds within which it has to say WATCHDOG=1 on NOTIFY_SOCKET
    backlog: Literal["off", "warn", "restart"] = "warn"  # connections that nobody accepts (HLT-6)
    launcher: Literal["follow", "refuse"] = "follow"  # it exits 0 and leaves a process that serves its port
    dump_signal: int | None = None  # makes it write its threads' stacks: only for a service that declares it (HLT-8)
    schedule: Schedule | None = None
    file_watch: FileWatch | None = None
    memory: MemoryLines | None = None
    drain: DrainRules | None = None
    fds: FdRules | None = None
    sqlite: tuple[str, ...] = ()  # its databases, relative to its folder: their write-ahead logs are watched
    sqlite_probe: bool = False  # SQLite itself may be asked about them, by a process of its own
    priority: Literal["expendable", "normal", "protected"] = "normal"  # who goes first when the machine needs memory

    @property
    def watching(self) -> tuple[object, ...]:
        """What a run that is up is watched for; empty: nothing."""
        found = (self.health, self.deep, self.watchdog, None if self.backlog == "off" else self.backlog)
        return found if any(found) else ()


class Launch(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything a new process is made from. A change of any field restarts the service on reload."""

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str] = {}  # complete: what the child gets, before our own MIDWATCH_* markers
    env_files: tuple[str, ...] = ()
    user: str | None = None
    umask: int | None = None
    nice: int | None = None
    oom_score_adj: int | None = None
    rlimits: dict[str, tuple[int | None, int | None]] = {}  # "nofile" -> soft, hard (None: unlimited)
    memory_hard: int | None = None  # bytes; the kernel's limit of the run's own cgroup
    contain: Literal["auto", "cgroup", "none"] = "auto"
    stderr: Literal["merge", "own"] = "merge"
    pty: bool = False
    stdin: Literal["null", "inherit"] = "null"
    port: int | None = None
    listen: tuple[str, ...] = ()  # HOST:PORT or a path: sockets that the keeper holds and passes on (LISTEN_FDS)
    pass_manager: tuple[str, ...] = ()  # variables of the outer manager that are let through (SVC-10)
    trace: bool = False  # declare the keeper as its tracer, so that py-spy may read its stacks (Yama)
    ambient: tuple[str, ...] = ()  # names in `env` that only mirror the caller's shell: no reason to restart


class Logs(msgspec.Struct, frozen=True):
    """Bounds of one service's output on disk: bytes per file, number of full-size files kept."""

    file_bytes: int
    files: int
    compress: bool


class ServiceSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """One service of one project. `id` is "project/name" and is what every other layer keys by."""

    project: str
    name: str
    launch: Launch
    rules: Rules
    logs: Logs
    source: str = ""  # "FILE:LINE" of its table, for messages
    autostart: bool = True

    @property
    def id(self) -> str:
        """The service id, unique in the daemon."""
        return f"{self.project}/{self.name}"
