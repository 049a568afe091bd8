"""Is the living run well? Probes, deadlines, and the proofs that need no vote (a silent watchdog, a full accept queue).

A run is unhealthy after so many failures in a row, when it is not ready in time, or at once when it is proven to be
wedged. Such a restart has its own budget, and when that is spent the run is left alone, loudly. Evidence is captured
before anything is stopped (HLT-7). What made it unhealthy has to be well again before it is called healthy. Must not
probe. Tests: tests/policy/test_health.py, test_wedged.py, test_schedule.py.
"""

from __future__ import annotations

from midwatch.model.action import Capture
from midwatch.model.event import Probed, Tick, Wedged
from midwatch.model.service import Probe
from midwatch.model.state import Plan
from midwatch.model.units import format_seconds
from midwatch.policy import moves
from midwatch.policy.budget import episode, heal, heal_at, judge, may_restart, room_at, spend_slow
from midwatch.policy.draft import Draft
from midwatch.policy.handlers.guard import drain_is_over


def ready(d: Draft, e: Probed) -> None:
    """The answer of a run that is starting. A failure is written down when its reason is a new one."""
    if e.ok:
        d.note("run.ready", run_id=e.run, ready_ms=round(d.age * 1000), detail=e.detail)
        _recovered(d, "not_ready")
        moves.came_up(d)
    elif e.extend:
        moves.alarm(d, max(d.s.wake_at or 0.0, d.now + e.extend))
    elif e.detail != d.s.probe_detail:
        d.set(probe_detail=e.detail)
        d.note("probe.failed", run_id=e.run, kind="ready", detail=e.detail)


def not_ready_in_time(d: Draft, _: Tick) -> None:
    """The deadline of the start has passed."""
    if not _out_of_time(d):
        _unhealthy(d, "not_ready", None, f"not ready within {format_seconds(d.age)}", d.s.probe_detail)
        if d.s.phase == "starting":
            moves.alarm(d, room_at(d, "unhealthy"))


def healed(d: Draft, _: Tick) -> None:
    """The run has lived long enough to close an episode."""
    if not _out_of_time(d):
        heal(d)
        moves.alarm(d, heal_at(d))


def _out_of_time(d: Draft) -> bool:
    """A scheduled run has to be done by its deadline, well or not; one that drains by the end of that."""
    if drain_is_over(d):
        return True
    if d.now < moves.deadline(d):
        return False
    plan, warnings = judge(d, "unhealthy", d.age)
    words = f"not done within {format_seconds(d.age)}, its deadline"
    d.set(health="failing", failing="deadline", probe_detail=words)
    d.note("health.failed", run_id=d.run, reason="deadline", decision=words)
    d.actions += warnings
    moves.stop_unhealthy(d, "deadline", words, plan)
    return True


def health(d: Draft, e: Probed) -> None:
    """The answer of a run that is up; that of a probe that a reload has removed does not count."""
    if d.rules.health is not None:
        _probed(d, e, d.rules.health, "probe_failures")


def deep(d: Draft, e: Probed) -> None:
    """The answer to the slower question, with a count of its own (HLT-4)."""
    if d.rules.deep is not None:
        _probed(d, e, d.rules.deep, "deep_failures")


def _probed(d: Draft, e: Probed, probe: Probe, counter: str) -> None:
    if e.ok:
        _well(d, e, counter)
        return
    count, enough = getattr(d.s, counter) + 1, probe.failures
    if count < enough or d.s.health != "failing":
        d.set(**{counter: count}, probe_detail=e.detail)
    if count >= enough:
        _unhealthy(d, e.kind, enough, f"{enough} {e.kind} probe(s) failed in a row", e.detail)
    else:
        d.note("probe.failed", run_id=e.run, kind=e.kind, count=count, of=enough, detail=e.detail)


def _well(d: Draft, e: Probed, counter: str) -> None:
    failed = getattr(d.s, counter) > 0 or d.s.health == "unknown"
    if not _recovered(d, e.kind):
        if not failed:
            return
        d.note("probe.ok", run_id=e.run, kind=e.kind)
    d.set(**{counter: 0}, health="failing" if d.s.failing else "ok", probe_detail="")


def _recovered(d: Draft, what: str) -> bool:
    """Is this the answer that was missing? A good shallow answer does not cure a bad deep one."""
    if d.s.health != "failing" or d.s.failing not in (what, ""):
        return False
    d.set(health="ok", failing="", probe_detail="")
    d.note("health.recovered", run_id=d.run, budget="unhealthy")
    episode(d, "unhealthy", 0)
    return True


def _unhealthy(d: Draft, reason: str, count: int | None, words: str, detail: str) -> None:
    """Say it once, then restart if the budget allows it."""
    words += f": {detail}" if detail else ""
    if d.s.health != "failing":
        d.set(health="failing", failing=reason, probe_detail=detail, decision=words)
        d.note("health.failed", run_id=d.run, reason=reason, count=count, detail=detail, decision=words)
    if not may_restart(d, "unhealthy"):
        return
    plan = Plan("starting", 0.0, "unhealthy")
    if d.rules.schedule is not None:
        plan, warnings = judge(d, "unhealthy", d.age)
        d.actions += warnings
    elif window := d.rules.budgets.unhealthy:
        used = len(d.s.windows["unhealthy"])
        words += f"; restart {used} of {window.limit} in {format_seconds(window.seconds)}, at once"
    d.actions += spend_slow(d, "unhealthy")
    d.set(probe_detail=detail)
    moves.stop_unhealthy(d, reason, words, Plan(plan.phase, plan.delay, plan.reason, plan.message or words))


def wedged(d: Draft, e: Wedged) -> None:
    """Proven: it does not ping its watchdog, or nobody accepts its connections (HLT-6)."""
    mode = d.rules.backlog if e.reason == "backlog" else "off" if d.rules.watchdog is None else "restart"
    if e.over:
        _recovered(d, e.reason)
        if e.reason in d.s.episodes:
            episode(d, e.reason, 0)
            d.note("health.recovered", run_id=e.run, budget=e.reason)
    elif mode == "restart":
        what = "nobody accepts its connections" if e.reason == "backlog" else "its watchdog"
        _unhealthy(d, e.reason, None, what, e.detail)
    elif mode == "warn" and e.reason not in d.s.episodes:
        episode(d, e.reason, 1)
        words = f'nobody accepts its connections: {e.detail}; only said, because backlog = "warn"'
        d.set(decision=words)
        d.note("health.warn", run_id=e.run, reason=e.reason, budget=e.reason, decision=words)
        d.do(Capture(e.run, e.reason, stage=1))
