"""Reload: other rules, and perhaps other spawn facts (`respawn`), in every phase.

Rules apply live; only changed spawn facts replace a living run, through the whole stop ladder. A service that waits
because trying did not help gets its next try when its spawn facts changed. Tests: tests/policy/test_rules.py.
"""

from __future__ import annotations

from midwatch.model.action import Precheck, Watch
from midwatch.model.event import NewRules
from midwatch.policy import moves
from midwatch.policy.budget import heal_at
from midwatch.policy.draft import Draft
from midwatch.policy.handlers.ask import fresh_chance

_NEXT = "new rules are in force; new spawn facts are used at the next start"


def _adopt(d: Draft, e: NewRules) -> None:
    d.set(rules=e.rules)
    d.note("service.rules", respawn=e.respawn, job=e.job)


def living(d: Draft, e: NewRules) -> None:
    """A run exists or is being made."""
    if e.respawn:
        moves.unwatch(d)  # by the old rules: these probes are what is going on
        _adopt(d, e)
        d.take(e.job)
        d.set(why_stopping="requested", respawn=True, plan=None, hurry=False)
        moves.begin_stop(d, "reload", "")
        moves.ladder(d)
        return
    before = d.rules
    _adopt(d, e)
    if d.s.phase == "starting" and d.s.pid is not None and before.ready != e.rules.ready:
        moves.await_ready(d)
    elif d.s.phase == "up":
        if before.health != e.rules.health:
            d.do(Watch(d.run, "health" if e.rules.health else None))
            d.set(health="unknown", probe_failures=0, probe_detail="")
        d.set(wake_at=heal_at(d))
    d.answer(e.job, True, "new rules are in force, the run goes on")


def ending(d: Draft, e: NewRules) -> None:
    """A run is being stopped; one that follows is made from the new facts anyway."""
    _adopt(d, e)
    if e.respawn and d.s.respawn:
        d.take(e.job)
    else:
        d.answer(e.job, True, _NEXT)


def waiting(d: Draft, e: NewRules) -> None:
    """Backoff, degraded, held, gave_up: changed spawn facts are a new chance, at once."""
    _adopt(d, e)
    if e.respawn:
        d.take(e.job)
        fresh_chance(d)
        moves.spawn(d)
        return
    if d.s.phase == "held":
        d.do(Precheck())
    d.answer(e.job, True, "new rules are in force")


def noted(d: Draft, e: NewRules) -> None:
    """Nothing runs and nothing is due."""
    _adopt(d, e)
    d.answer(e.job, True, _NEXT)
