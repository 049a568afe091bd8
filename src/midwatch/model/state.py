"""Where one service stands: the only memory the policy has.

A value: `step` takes one and returns another. It is written into the journal as a snapshot and read back by
a new engine and by `replay`, so every field is serialisable and every time is awake seconds (model/identity.Now).
Must not hold an environment value, a handle or a task.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from midwatch.model.service import Rules

Phase = Literal[
    "stopped",  # nothing runs and nobody wants it to
    "pending",  # wanted; waits for what it needs
    "starting",  # asked to spawn, or alive and not ready yet
    "up",  # alive and ready
    "stopping",  # the stop signal is out, the grace runs
    "killing",  # the rest of the tree is being ended and verified
    "backoff",  # waits for its next try, inside its budget
    "degraded",  # waits for its next try, crash budget spent
    "waiting",  # somebody else holds its port
    "scheduled",  # waits for its next time
    "held",  # trying again cannot help until something changes
    "gave_up",  # the hard ceiling was reached
    "done",  # it ended cleanly and was meant to
]


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What follows once the tree is gone ("starting": spawn at once; "pending": ask the fleet), and why, in words."""

    phase: Phase
    delay: float = 0.0
    reason: str = ""
    message: str = ""


class ServiceState(msgspec.Struct, frozen=True, omit_defaults=True):
    """One service between two events.

    `want` is the operator's last word and is never changed by a guard. `why_stopping` is the cause that the
    running stop ladder will give to the exit. Windows are tuples of awake times, newest last, pruned on use.
    """

    id: str
    rules: Rules
    phase: Phase = "stopped"
    want: Literal["up", "down"] = "down"
    since: float = 0.0  # awake time of the last change of phase
    wake_at: float | None = None  # when a Tick is wanted
    run: str | None = None  # the current or last run id
    run_no: int = 0
    pid: int | None = None  # of the living main process
    spawned_at: float | None = None
    ready: bool = False
    health: Literal["unknown", "ok", "failing"] = "unknown"
    probe_failures: int = 0
    probe_detail: str = ""
    why_stopping: Literal["requested", "unhealthy", "memory-guard", "fd-guard"] | None = None
    respawn: bool = False  # after the current stop, start again at once
    asked_by: str = ""  # who asked for the current stop
    job: str | None = None  # the job that the current intent will settle
    crash_count: int = 0
    windows: dict[str, tuple[float, ...]] = {}  # budget name -> times spent
    episodes: dict[str, int] = {}  # budget name -> consecutive times over it (0 or absent: no episode)
    restarts: dict[str, int] = {}  # cause -> how often, for ps
    last_cause: str | None = None
    plan: Plan | None = None  # what follows when the tree is gone; None: `want` and `respawn` decide
    hurry: bool = False  # no grace any more in the running stop
    gone: str | None = None  # the tree was verified gone this way, but the main process's exit is not recorded yet
    stopping_since: float | None = None  # awake time of stop.begin
    fingerprint: str = ""  # of the precondition that failed, while held
    failing: str = ""  # what makes `health` failing: "health", "deep", "not_ready", "watchdog", "backlog"
    deep_failures: int = 0
    forgiven: float = 0.0  # seconds of this run in which everything stood still: no life, and nobody's fault
    drain_by: float | None = None  # asked to drain: until this awake time it may leave by itself
    drain_why: str = ""  # the guard's words then
    blocker: str = ""  # who held the port last, in words
    followed: bool = False  # `pid` is what a launcher left behind, not what was spawned
    slot: float | None = None  # wall time of the last scheduled time that was dealt with
    decision: str = ""  # the last decision, in words with its arithmetic


class Stepped(msgspec.Struct, frozen=True):
    """The result of a step: the next state and what is to be done, in order."""

    state: ServiceState
    actions: tuple[object, ...] = ()
