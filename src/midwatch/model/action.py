"""What the policy wants done: the closed union that `engine/perform.py` carries out.

The outcome of each is again an event. Must not know how anything is done.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class _Action(msgspec.Struct, frozen=True, tag_field="a", omit_defaults=True):
    pass


class Spawn(_Action, frozen=True, tag="spawn"):
    """Start run `run`. Outcome: `Spawned` or `SpawnFailed`."""

    run: str


class Signal(_Action, frozen=True, tag="signal"):
    """Send `signum` to every process of the run's group (the first rung of the stop ladder). No outcome."""

    run: str
    signum: int


class Kill(_Action, frozen=True, tag="kill"):
    """End everything of the run's tree and verify it. `polite` > 0: TERM first and wait so many seconds.

    Outcome: `TreeGone`. Takes at most `polite + verify` seconds.
    """

    run: str
    polite: float = 0.0
    verify: float = 5.0


class Watch(_Action, frozen=True, tag="watch"):
    """Probe the run from now on: "ready" until ready, then "health" (with it the deep probe, the watchdog and the
    backlog); None stops all of it. Outcome: `Probed`, `Wedged`."""

    run: str
    kind: Literal["ready", "health"] | None


class Capture(_Action, frozen=True, tag="capture"):
    """Write evidence about the living run to disk. Signals and kills of the run wait for it (bounded). No outcome.

    `freeze`: it grows too fast to be looked at while it runs; stop the tree first where that can be undone.
    `stage`: how far to go: 1 only reads, 2 pauses the run, 3 asks for Python's stacks too.
    """

    run: str
    reason: str
    freeze: bool = False
    stage: int = 3


class Drain(_Action, frozen=True, tag="drain"):
    """Ask the run to finish and leave: send `rules.drain.signal` to its main process, or run `rules.drain.command`.
    Outcome: `Exited`, or its deadline passes. No outcome of its own."""

    run: str


class Follow(_Action, frozen=True, tag="follow"):
    """From now on `pid` is the main process of the run: its launcher has left. Its exit is told as the run's."""

    run: str
    pid: int


class Precheck(_Action, frozen=True, tag="precheck"):
    """Look at the precondition of a held service. Outcome: `Prechecked`."""


class Settle(_Action, frozen=True, tag="settle"):
    """A job is finished. `ok` False: it failed or a newer intent replaced it."""

    job: str
    ok: bool
    message: str


class Note(_Action, frozen=True, tag="note"):
    """One line for the journal: `event` is a noun.verb of the closed set in policy/events.py."""

    event: str
    fields: dict[str, Any] = {}


Action = Spawn | Signal | Kill | Watch | Capture | Drain | Follow | Precheck | Settle | Note
