"""A new engine takes over: what was half done goes on, and nothing is done twice that matters.

Probes are asked for again. A stop signal is sent again, because its sending may not have happened; a kill is repeated.
A spawn whose outcome is unknown waits: `Spawned`, `SpawnFailed` or `Exited` follows. Tests: tests/policy/test_resume.py.
"""

from __future__ import annotations

from midwatch.model.action import Kill, Precheck, Watch
from midwatch.model.event import Resumed
from midwatch.policy import moves
from midwatch.policy.draft import Draft


def _resumed(d: Draft, e: Resumed) -> None:
    d.note("service.resumed", phase=d.s.phase, alive=e.alive, run_id=d.run)


def living(d: Draft, e: Resumed) -> None:
    """Probe again; the deadline of a start stays as it was."""
    _resumed(d, e)
    if e.alive and d.s.phase == "up" and d.rules.health:
        d.do(Watch(d.run, "health"))
    elif e.alive and d.s.phase == "starting" and d.rules.ready and d.s.pid is not None:
        d.do(Watch(d.run, "ready"))


def stopping(d: Draft, e: Resumed) -> None:
    """The signal may never have been sent; what is left of the grace stays."""
    _resumed(d, e)
    ends = d.s.wake_at
    if e.alive and d.s.pid is not None:
        moves.ladder(d)
        if ends is not None and d.s.phase == "stopping":
            d.set(wake_at=ends)


def killing(d: Draft, e: Resumed) -> None:
    """The kill may not have ended: again, politely only where it was polite."""
    _resumed(d, e)
    abrupt = d.s.hurry or d.s.pid is not None
    d.do(Kill(d.run, 0.0 if abrupt else d.rules.stop.grace, d.rules.stop.verify))


def held(d: Draft, e: Resumed) -> None:
    """A start of ours is a good moment to look again."""
    _resumed(d, e)
    d.do(Precheck())
