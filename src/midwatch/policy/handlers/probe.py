"""Ready and healthy: answers of probes, the deadline of a start, restarts of an unhealthy run.

A run is unhealthy after so many failures in a row, or when it is not ready in time. Such a restart has its own
budget; when that is spent the run is left alone, loudly, until the window has room again. Must not probe.
Tests: tests/policy/test_health.py.
"""

from __future__ import annotations

from midwatch.model.event import Probed, Tick
from midwatch.model.state import Plan
from midwatch.model.units import format_seconds
from midwatch.policy import moves
from midwatch.policy.budget import episode, heal, heal_at, may_restart_unhealthy, room_at, spend_slow
from midwatch.policy.draft import Draft


def ready(d: Draft, e: Probed) -> None:
    """The answer of a run that is starting. A failure is written down when its reason is a new one."""
    if e.ok:
        d.note("run.ready", run_id=e.run, ready_ms=round(d.age * 1000))
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
