"""Something around a run changed: the rules, a held precondition, the engine itself.

Rules apply live; only changed spawn facts (`respawn`) replace a run, and are a new chance for one that waits. A run of
a schedule is left to its end. A new engine repeats what may not have happened. Must not look itself.
Tests: tests/policy/test_rules.py, test_held.py, test_resume.py.
"""

from __future__ import annotations

from midwatch.model.action import Kill, Precheck, Watch
from midwatch.model.event import NewRules, Prechecked, Resumed, Tick
from midwatch.model.service import Rules
from midwatch.model.state import Plan
from midwatch.policy import moves
from midwatch.policy.budget import heal_at
from midwatch.policy.draft import Draft
from midwatch.policy.handlers.ask import fresh_chance


def rules(d: Draft, e: NewRules) -> None:
    """Reload. Changed spawn facts replace what lives, and are a new chance at once for what waits."""
    before, phase = d.rules, d.s.phase
    armed = e.rules.schedule is not None and before.schedule is None
    replaced = phase in ("starting", "up") and (armed or (e.respawn and e.rules.schedule is None))
    if replaced:
        moves.unwatch(d)  # by the old rules: those probes are what is going on
    d.set(rules=e.rules)
    d.note("service.rules", respawn=e.respawn, job=e.job)
    if replaced:
        d.take(e.job)
        plan = Plan("pending") if armed else None
        d.set(why_stopping="requested", respawn=not armed, plan=plan, hurry=False)
        moves.begin_stop(d, "reload", "")
        moves.ladder(d)
    elif phase == "scheduled" and e.rules.schedule is None:
        d.take(e.job)
        moves.spawn(d)
    elif e.respawn and phase in ("backoff", "degraded", "waiting", "held", "gave_up"):
        d.take(e.job)
        fresh_chance(d)
        moves.retry(d)
    elif e.respawn and d.s.respawn:  # a restart is under way: the run that follows is made from the new facts
        d.take(e.job)
    else:
        _apply_live(d, before, e.rules)
        d.answer(e.job, True, "new rules are in force" + ("; new spawn facts at the next start" if e.respawn else ""))


def _apply_live(d: Draft, before: Rules, after: Rules) -> None:
    start = (before.ready, before.schedule) != (after.ready, after.schedule)
    if d.s.phase == "held":
        d.do(Precheck())
    elif d.s.phase == "starting" and d.s.pid is not None and start:
        moves.await_ready(d)
    elif d.s.phase == "up":
        if before.watching != after.watching:
            d.do(Watch(d.run, "health" if after.watching else None))
            d.set(health="unknown", failing="", probe_failures=0, deep_failures=0, probe_detail="")
        moves.alarm(d, heal_at(d))


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
        moves.retry(d)


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
    elif there and d.s.phase == "up" and d.rules.watching:
        d.do(Watch(d.run, "health"))
    elif there and d.s.phase == "starting" and d.rules.ready:
        d.do(Watch(d.run, "ready"))
