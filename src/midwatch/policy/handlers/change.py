"""Something around a run changed: a probe's answer, a deadline, the rules, a held precondition, the engine itself.

A run is unhealthy after so many failures in a row, or when it is not ready in time; such a restart has its own budget,
and when that is spent the run is left alone, loudly. Rules apply live; only changed spawn facts (`respawn`) replace a
run, and are a new chance for one that waits. A new engine repeats what may not have happened. Must not probe or look.
Tests: tests/policy/test_health.py, test_rules.py, test_held.py, test_resume.py.
"""

from __future__ import annotations

from midwatch.model.action import Kill, Precheck, Watch
from midwatch.model.event import NewRules, Prechecked, Probed, Resumed, Tick
from midwatch.model.service import Rules
from midwatch.model.state import Plan
from midwatch.model.units import format_seconds
from midwatch.policy import moves
from midwatch.policy.budget import episode, heal, heal_at, may_restart_unhealthy, room_at, spend_slow
from midwatch.policy.draft import Draft
from midwatch.policy.handlers.ask import fresh_chance


def ready(d: Draft, e: Probed) -> None:
    """The answer of a run that is starting. A failure is written down when its reason is a new one."""
    if e.ok:
        d.note("run.ready", run_id=e.run, ready_ms=round(d.age * 1000), detail=e.detail)
        _recovered(d, e)
        moves.came_up(d)
    elif e.detail != d.s.probe_detail:
        d.set(probe_detail=e.detail)
        d.note("probe.failed", run_id=e.run, kind="ready", detail=e.detail)


def not_ready_in_time(d: Draft, _: Tick) -> None:
    """The deadline of the start has passed."""
    _unhealthy(d, "not_ready", None, f"not ready within {format_seconds(d.age)}")
    if d.s.phase == "starting":
        d.set(wake_at=room_at(d, "unhealthy"))


def health(d: Draft, e: Probed) -> None:
    """The answer of a run that is up."""
    if d.rules.health is None:
        return  # the answer of a probe that a reload has removed
    if e.ok:
        _healthy(d, e)
        return
    enough = d.rules.health.failures
    count = d.s.probe_failures + 1
    if d.s.health != "failing":
        d.set(probe_failures=count, probe_detail=e.detail)
    if count >= enough:
        _unhealthy(d, "health", enough, f"{enough} health probe(s) failed in a row")
    else:
        d.note("probe.failed", run_id=e.run, kind="health", count=count, of=enough, detail=e.detail)


def _healthy(d: Draft, e: Probed) -> None:
    if d.s.health == "ok" and not d.s.probe_failures:
        return
    if not _recovered(d, e):
        d.note("probe.ok", run_id=e.run, kind="health")
    d.set(health="ok", probe_failures=0, probe_detail="")


def _recovered(d: Draft, e: Probed) -> bool:
    if d.s.health != "failing":
        return False
    d.note("health.recovered", run_id=e.run, budget="unhealthy")
    episode(d, "unhealthy", 0)
    return True


def _unhealthy(d: Draft, reason: str, count: int | None, words: str) -> None:
    """Say it once, then restart if the budget allows it."""
    words += f": {d.s.probe_detail}" if d.s.probe_detail else ""
    if d.s.health != "failing":
        d.set(health="failing", decision=words)
        d.note("health.failed", run_id=d.run, reason=reason, count=count, detail=d.s.probe_detail, decision=words)
    if not may_restart_unhealthy(d):
        return
    if window := d.rules.budgets.unhealthy:
        used = len(d.s.windows["unhealthy"])
        words += f"; restart {used} of {window.limit} in {format_seconds(window.seconds)}, at once"
    d.actions += spend_slow(d, "unhealthy")
    d.set(why_stopping="unhealthy", plan=Plan("starting", 0.0, "unhealthy", words), respawn=False, hurry=False)
    moves.begin_stop(d, "unhealthy", "")
    d.set(decision=words)
    moves.ladder(d)


def healed(d: Draft, _: Tick) -> None:
    """The run has lived long enough to close an episode."""
    heal(d)
    d.set(wake_at=heal_at(d))


def rules(d: Draft, e: NewRules) -> None:
    """Reload. Changed spawn facts replace what lives, and are a new chance at once for what waits."""
    before, phase = d.rules, d.s.phase
    if e.respawn and phase in ("starting", "up"):
        moves.unwatch(d)  # by the old rules: those probes are what is going on
    d.set(rules=e.rules)
    d.note("service.rules", respawn=e.respawn, job=e.job)
    if e.respawn and phase in ("starting", "up"):
        d.take(e.job)
        d.set(why_stopping="requested", respawn=True, plan=None, hurry=False)
        moves.begin_stop(d, "reload", "")
        moves.ladder(d)
    elif e.respawn and phase in ("backoff", "degraded", "held", "gave_up"):
        d.take(e.job)
        fresh_chance(d)
        moves.spawn(d)
    elif e.respawn and d.s.respawn:  # a restart is under way: the run that follows is made from the new facts
        d.take(e.job)
    else:
        _apply_live(d, before, e.rules)
        d.answer(e.job, True, "new rules are in force" + ("; new spawn facts at the next start" if e.respawn else ""))


def _apply_live(d: Draft, before: Rules, after: Rules) -> None:
    if d.s.phase == "held":
        d.do(Precheck())
    elif d.s.phase == "starting" and d.s.pid is not None and before.ready != after.ready:
        moves.await_ready(d)
    elif d.s.phase == "up":
        if before.health != after.health:
            d.do(Watch(d.run, "health" if after.health else None))
            d.set(health="unknown", probe_failures=0, probe_detail="")
        d.set(wake_at=heal_at(d))


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
