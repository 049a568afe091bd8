"""What comes from outside the run: a scheduled time, changed files, a machine that slept.

A scheduled time starts a run only when none is there (single flight); what is not run is said. Changed files restart a
run, and are a new chance for one that waits; a service that changes what it watches is recognised and left alone. A gap
in time is nobody's fault: counts begin afresh, patience and windows do not run. Must not know a wall clock or a file.
Tests: tests/policy/test_schedule.py, test_watch.py, test_woke.py.
"""

from __future__ import annotations

from midwatch.model.event import Changed, Due, Woke
from midwatch.model.units import format_seconds
from midwatch.policy import moves
from midwatch.policy.budget import episode, push, recent
from midwatch.policy.defaults import SCHEDULE_LATE, WATCH_EARLY, WATCH_EARLY_LOOP, WATCH_LOOP
from midwatch.policy.draft import Draft
from midwatch.policy.handlers.ask import fresh_chance


def due(d: Draft, e: Due) -> None:
    """Its time has come. Told twice, or to one that nobody wants: ignored."""
    schedule = d.rules.schedule
    if schedule is None or d.s.want == "down" or e.slot == d.s.slot:
        return
    d.set(slot=e.slot)
    if e.begin:
        d.note("schedule.begin", slot=e.slot)
    elif d.s.phase != "scheduled":
        reason = "running" if d.s.pid is not None else d.s.phase
        d.note("schedule.skipped", slot=e.slot, missed=e.missed or None, reason=reason, run_id=d.s.run)
    elif e.late > SCHEDULE_LATE and not schedule.catch_up:
        d.note("schedule.skipped", slot=e.slot, missed=e.missed or None, reason="late")
    else:
        words = "its time has come" if not e.missed else f"its time has come; {e.missed} earlier one(s) were missed"
        words += ", this run stands for all" if e.missed and schedule.catch_up else ""
        d.set(decision=words)
        d.note("schedule.due", slot=e.slot, missed=e.missed or None, decision=words)
        moves.spawn(d)


def changed(d: Draft, e: Changed) -> None:
    """Somebody saved a file: restart, or try again at once. A scheduled run is not disturbed."""
    if d.rules.file_watch is None or d.rules.schedule is not None:
        return
    early = d.s.spawned_at is not None and d.age <= WATCH_EARLY
    if _looping(d, e, early):
        return
    push(d, "watch", WATCH_LOOP)
    if early:
        push(d, "watch_early", WATCH_EARLY_LOOP)
    episode(d, "watch", 0)
    d.note("watch.changed", run_id=d.s.run, paths=e.paths, count=e.count)
    if d.s.phase in ("starting", "up"):
        d.set(why_stopping="requested", respawn=True, plan=None, hurry=False)
        moves.begin_stop(d, "watch", "watch")
        moves.ladder(d)
    else:
        fresh_chance(d)
        moves.spawn(d)


def _looping(d: Draft, e: Changed, early: bool) -> bool:
    """Did its own restarts change the files? Said once; the restarts go on when the window has drained."""
    count = len(recent(d.s.windows.get("watch", ()), WATCH_LOOP, d.now)) + 1
    soon = len(recent(d.s.windows.get("watch_early", ()), WATCH_EARLY_LOOP, d.now)) + 1
    if count <= WATCH_LOOP.limit and not (early and soon >= WATCH_EARLY_LOOP.limit):
        return False
    if "watch" not in d.s.episodes:
        episode(d, "watch", 1)
        rest = format_seconds(WATCH_LOOP.seconds)
        words = f"change {count} in {rest}, {soon if early else 0} right after a start: it seems to change what it"
        words += f" watches ({', '.join(e.paths)}); left alone for {rest}: ignore that path, or restart it by hand"
        d.set(decision=words)
        window = round(WATCH_LOOP.seconds * 1000)
        d.note("watch.loop", run_id=d.s.run, paths=e.paths, count=count, window_ms=window, decision=words)
    return True


def woke(d: Draft, e: Woke) -> None:
    """G12: no verdict on what happened in a gap. A fresh full count is required, and lost time is not counted."""
    before, lost = d.s, max(0.0, e.awake)
    windows = {name: tuple(min(t + lost, d.now) for t in times) for name, times in before.windows.items()}
    d.set(probe_failures=0, deep_failures=0, windows=windows)
    if before.phase in ("starting", "up", "stopping", "killing"):
        d.set(wake_at=None if before.wake_at is None else before.wake_at + lost)
        d.set(drain_by=None if before.drain_by is None else before.drain_by + lost)
        if before.spawned_at is not None:
            d.set(forgiven=before.forgiven + lost)
    if d.s != before:
        d.note("service.forgiven", gap_ms=round(e.gap * 1000))
