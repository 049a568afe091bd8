"""Ready and healthy: answers of probes, the deadline of a start, restarts of an unhealthy run.

A run is unhealthy after so many failures in a row, or when it is not ready in time. Such a restart has its own budget;
when that is spent the run is left alone, loudly, until the window has room again. Must not probe. Tests:
tests/policy/test_health.py.
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
        born = d.now if d.s.spawned_at is None else d.s.spawned_at
        d.note("run.ready", run_id=e.run, ready_ms=round((d.now - born) * 1000))
        moves.came_up(d)
    elif e.detail != d.s.probe_detail:
        d.set(probe_detail=e.detail)
        d.note("probe.failed", run_id=e.run, kind="ready", detail=e.detail)


def not_ready_in_time(d: Draft, e: Tick) -> None:
    """The deadline of the start has passed."""
    within = d.rules.ready.within if d.rules.ready else 0.0
    words = f"not ready within {format_seconds(within)}" + (f": {d.s.probe_detail}" if d.s.probe_detail else "")
    _failing(d, "not_ready", None, words)
    if not _restart(d, words):
        d.set(wake_at=room_at(d, "unhealthy"))


def health(d: Draft, e: Probed) -> None:
    """The answer of a run that is up."""
    if e.ok:
        _healthy(d, e)
        return
    enough = d.rules.health.failures if d.rules.health else 1
    count = d.s.probe_failures + 1
    if count < enough:
        d.set(probe_failures=count, probe_detail=e.detail)
        d.note("probe.failed", run_id=e.run, kind="health", count=count, of=enough, detail=e.detail)
        return
    if d.s.health != "failing":
        d.set(probe_failures=enough, probe_detail=e.detail)
    words = f"{enough} health probe(s) failed in a row" + (f": {d.s.probe_detail}" if d.s.probe_detail else "")
    _failing(d, "health", enough, words)
    _restart(d, words)


def _healthy(d: Draft, e: Probed) -> None:
    if d.s.health == "failing":
        d.note("health.recovered", run_id=e.run, budget="unhealthy")
        episode(d, "unhealthy", 0)
    elif d.s.health == "unknown" or d.s.probe_failures:
        d.note("probe.ok", run_id=e.run, kind="health")
    else:
        return
    d.set(health="ok", probe_failures=0, probe_detail="")


def _failing(d: Draft, reason: str, count: int | None, words: str) -> None:
    if d.s.health != "failing":
        d.set(health="failing", decision=words)
        d.note("health.failed", run_id=d.run, reason=reason, count=count, detail=d.s.probe_detail, decision=words)


def _restart(d: Draft, words: str) -> bool:
    if not may_restart_unhealthy(d):
        return False
    window = d.rules.budgets.unhealthy
    if window is not None:
        used = len(d.s.windows["unhealthy"])
        words += f"; restart {used} of {window.limit} in {format_seconds(window.seconds)}, at once"
    d.actions += spend_slow(d, "unhealthy")
    d.set(why_stopping="unhealthy", plan=Plan("starting", 0.0, "unhealthy", words), respawn=False, hurry=False)
    moves.begin_stop(d, "unhealthy", "")
    d.set(decision=words)
    moves.ladder(d)
    return True


def healed(d: Draft, e: Tick) -> None:
    """The run has lived long enough to close an episode."""
    heal(d)
    d.set(wake_at=heal_at(d))
