"""A held service: looked at again every minute, started only when its precondition has changed.

After a permanent exit code the fingerprint has to differ and no problem be found; after a failed spawn the problem
has to be gone. Must not look itself: `Precheck` does. Tests: tests/policy/test_held.py.
"""

from __future__ import annotations

from midwatch.model.action import Precheck
from midwatch.model.event import Prechecked, Tick
from midwatch.policy import moves
from midwatch.policy.draft import Draft


def recheck(d: Draft, e: Tick) -> None:
    """A minute is over."""
    d.do(Precheck())
    d.set(wake_at=d.now + d.rules.backoff.recheck)


def prechecked(d: Draft, e: Prechecked) -> None:
    """What the look found."""
    changed = e.fingerprint != d.s.fingerprint
    if e.problem is None and (changed or d.s.last_cause == "spawn-failed"):
        words = "the precondition is different now, starting" if changed else "the problem is gone, starting"
        d.set(decision=words)
        d.note("service.recheck", changed=changed, decision=words)
        moves.spawn(d)
    elif changed:
        words = f"it changed, but still: {e.problem}"
        d.set(fingerprint=e.fingerprint, decision=words)
        d.note("service.recheck", changed=True, problem=e.problem, decision=words)
