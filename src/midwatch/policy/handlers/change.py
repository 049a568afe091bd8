"""The world around a service changed: its rules (reload), its precondition (held), or the engine (resumed).

Rules apply live; only changed spawn facts (`respawn`) replace a living run, through the whole stop ladder, and are
a new chance for one that waits. A held service starts only when its precondition changed. A new engine repeats what
may not have happened. Tests: tests/policy/test_rules.py, test_held.py, test_resume.py.
"""

from __future__ import annotations

from midwatch.model.action import Kill, Precheck, Watch
from midwatch.model.event import NewRules, Prechecked, Resumed, Tick
from midwatch.policy import moves
from midwatch.policy.budget import heal_at
from midwatch.policy.draft import Draft
from midwatch.policy.handlers.ask import fresh_chance


def _adopt(d: Draft, e: NewRules) -> None:
    d.set(rules=e.rules)
    d.note("service.rules", respawn=e.respawn, job=e.job)


def rules_living(d: Draft, e: NewRules) -> None:
    """A run exists or is being made."""
    before = d.rules
    if e.respawn:
        moves.unwatch(d)  # by the old rules: those probes are what is going on
        _adopt(d, e)
        d.take(e.job)
        d.set(why_stopping="requested", respawn=True, plan=None, hurry=False)
        moves.begin_stop(d, "reload", "")
        moves.ladder(d)
        return
    _adopt(d, e)
    if d.s.phase == "starting" and d.s.pid is not None and before.ready != e.rules.ready:
        moves.await_ready(d)
    elif d.s.phase == "up":
        if before.health != e.rules.health:
            d.do(Watch(d.run, "health" if e.rules.health else None))
            d.set(health="unknown", probe_failures=0, probe_detail="")
        d.set(wake_at=heal_at(d))
    d.answer(e.job, True, "new rules are in force, the run goes on")


def rules_noted(d: Draft, e: NewRules) -> None:
    """Nothing runs, or it is being stopped: a run that follows is made from the new facts anyway."""
    _adopt(d, e)
    if e.respawn and d.s.respawn:
        d.take(e.job)
    else:
        d.answer(e.job, True, "new rules are in force; new spawn facts are used at the next start")


def rules_waiting(d: Draft, e: NewRules) -> None:
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


def recheck(d: Draft, _: Tick) -> None:
    """Held for another minute: look again."""
    d.do(Precheck())
    d.set(wake_at=d.now + d.rules.backoff.recheck)


def prechecked(d: Draft, e: Prechecked) -> None:
    """After a failed spawn the problem has to be gone, after a permanent code something has to differ."""
    changed = e.fingerprint != d.s.fingerprint
    starts = e.problem is None and (changed or d.s.last_cause == "spawn-failed")
    if not starts and not changed:
        return
    words = f"it changed, but still: {e.problem}" if not starts else "the precondition is cured, starting"
    d.set(fingerprint=e.fingerprint, decision=words)
    d.note("service.recheck", changed=changed, problem=e.problem, decision=words)
    if starts:
        moves.spawn(d)


def resumed(d: Draft, e: Resumed) -> None:
    """Probe again, signal again (it may never have been sent), kill again. Deadlines stay where they were.

    A run that is not alive, or a spawn whose outcome is unknown, waits: `Exited`, `Spawned` or `SpawnFailed` follows.
    """
    d.note("service.resumed", phase=d.s.phase, alive=e.alive, run_id=d.run)
    there, ends = e.alive and d.s.pid is not None, d.s.wake_at
    if d.s.phase == "held":
        d.do(Precheck())
    elif d.s.phase == "killing":
        abrupt = d.s.hurry or d.s.pid is not None
        d.do(Kill(d.run, 0.0 if abrupt else d.rules.stop.grace, d.rules.stop.verify))
    elif there and d.s.phase == "stopping":
        moves.ladder(d)
        d.set(wake_at=ends)
    elif there and d.s.phase == "up" and d.rules.health:
        d.do(Watch(d.run, "health"))
    elif there and d.s.phase == "starting" and d.rules.ready:
        d.do(Watch(d.run, "ready"))
