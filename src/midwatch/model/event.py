"""What can happen to one service: the closed union that `policy.step` consumes.

Every value is small, serialisable and free of secrets, because the journal keeps it and `replay` feeds it
back. Must not know who produced it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from midwatch.model.exit import ExitFacts
from midwatch.model.sample import Quality
from midwatch.model.service import Rules

Verb = Literal["start", "stop", "restart", "reset"]


class _Event(msgspec.Struct, frozen=True, tag_field="e", omit_defaults=True):
    pass


class Ask(_Event, frozen=True, tag="ask"):
    """A person or the outer manager wants something. `job` is settled exactly once.

    `signalled`: the terminal has already delivered the stop signal to the run (Ctrl-C), do not repeat it.
    `now`: a stop that skips the rest of the grace.
    """

    verb: Verb
    job: str
    by: str
    signalled: bool = False
    now: bool = False


class Permit(_Event, frozen=True, tag="permit"):
    """The fleet says: everything this service needs is there, it may start."""


class Spawned(_Event, frozen=True, tag="spawned"):
    """The run exists (its gate was opened)."""

    run: str
    pid: int


class SpawnFailed(_Event, frozen=True, tag="spawn_failed"):
    """The run never started. `lasting`: time alone cannot cure it (ENOENT, EACCES, ENOEXEC, a bad cwd or user)."""

    run: str
    error: str  # errno name, e.g. "ENOENT"
    phase: Literal["lookup", "prepare", "fork", "place", "exec"]
    message: str
    lasting: bool
    fingerprint: str = ""  # of the precondition, to compare with later `Prechecked`


class Probed(_Event, frozen=True, tag="probed"):
    """One probe of the current run ended. `extend`: no answer yet, the start asks for so many seconds from now."""

    run: str
    kind: Literal["ready", "health", "deep"]
    ok: bool
    detail: str = ""
    extend: float = 0.0


class Exited(_Event, frozen=True, tag="exited"):
    """The main process of the run is gone."""

    run: str
    facts: ExitFacts
    fingerprint: str = ""  # of the precondition at that moment; used when the cause is `permanent`


class TreeGone(_Event, frozen=True, tag="tree_gone"):
    """A `Kill` action has ended. `left` processes could not be ended (0 is the truth "nothing is left").

    `verified_by`: "cgroup", "tree", "marker", or "not provable".
    """

    run: str
    verified_by: Literal["cgroup", "tree", "marker", "not provable"]
    ended: int = 0
    left: int = 0


class Prechecked(_Event, frozen=True, tag="prechecked"):
    """The precondition of a held service was looked at again."""

    fingerprint: str
    problem: str | None = None


class NewRules(_Event, frozen=True, tag="rules"):
    """Reload: other rules. `respawn`: the spawn facts changed too, so a living run has to be replaced."""

    rules: Rules
    respawn: bool
    job: str = ""


class Resumed(_Event, frozen=True, tag="resumed"):
    """The engine was restarted. `alive`: the keeper still holds the current run; False: it never started or is gone
    without an exit we could read (then `Exited` with status None follows)."""

    alive: bool


class PortBusy(_Event, frozen=True, tag="port_busy"):
    """Nothing was spawned: the run's port is taken. `owner` says in words by whom; `klass` of ORP-1."""

    run: str
    port: int
    klass: Literal["ours", "orphan", "manager", "stranger", "unknown", "wedged"]
    owner: str
    pid: int | None = None
    do: str = ""  # what frees it, as a command where there is one


class Wedged(_Event, frozen=True, tag="wedged"):
    """The run is alive and does not work: proven without asking it (no vote of several needed).

    Told again while it lasts, and once with `over` when it works again.
    """

    run: str
    reason: Literal["watchdog", "backlog"]
    detail: str
    over: bool = False


class Tripped(_Event, frozen=True, tag="tripped"):
    """A guard's proposal: `value` has reached `line` (bytes; descriptors for "fds"). `words` say what was measured.

    "warn" is only said, "soft" asks the service to drain, "hard" ends the run with `polite` seconds between the stop
    signal and the kill. "host": the machine, or all services together, need the memory back from this one.
    """

    run: str
    guard: Literal["memory", "fds", "host", "leak"]
    level: Literal["warn", "soft", "hard"]
    value: int
    line: int
    quality: Quality = "exact"
    words: str = ""
    polite: float = 10.0


class Eased(_Event, frozen=True, tag="eased"):
    """The episode of that guard is over for this run."""

    run: str
    guard: Literal["memory", "fds", "host", "leak"]


class Due(_Event, frozen=True, tag="due"):
    """A scheduled time has come. `slot` is its wall time, `missed` how many earlier ones had nobody to run them.

    `late`: seconds since the slot, more than a moment only after a sleep or an absence of ours. `begin`: nothing has
    come; it has just got this schedule, and times count from `slot` on.
    """

    slot: float
    missed: int = 0
    late: float = 0.0
    begin: bool = False


class Changed(_Event, frozen=True, tag="changed"):
    """Watched files changed (at most ten are named)."""

    paths: tuple[str, ...]
    count: int


class Woke(_Event, frozen=True, tag="woke"):
    """The machine slept, or we were stopped with everything: `gap` seconds in which nobody can be blamed.

    `awake`: how much of it the awake clock counted (0 for a suspend, the whole gap for a pause).
    """

    gap: float
    awake: float


class Tick(_Event, frozen=True, tag="tick"):
    """`wake_at` has come."""


Event = (
    Ask | Permit | Spawned | SpawnFailed | PortBusy | Probed | Wedged | Exited | TreeGone | Prechecked | NewRules
    | Resumed | Due | Changed | Woke | Tripped | Eased | Tick
)  # fmt: skip
