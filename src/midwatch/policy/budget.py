"""What an exit costs and what follows from it: windows, episodes, and the plan with its arithmetic in words.

Each cause spends the budget that `classify.COSTS` names. A window budget changes delays and warns once an episode;
its slow twin only warns. Crashes are counted consecutively, reset by a run strictly longer than `stable_after`.
An episode (over budget) ends when a run lives long enough: `heal_at`, `heal`. Must not know how a stop or a
spawn is done. Tests: tests/policy/test_budgets.py.
"""

from __future__ import annotations

import re
from math import inf
from typing import cast

from midwatch.model.action import Note
from midwatch.model.exit import Cause
from midwatch.model.service import Window
from midwatch.model.state import Plan
from midwatch.model.units import format_seconds
from midwatch.policy.backoff import crash_delay, degraded_delay, doubled, memory_delay, over_delay
from midwatch.policy.classify import COSTS, port_words
from midwatch.policy.defaults import PORT_EARLY
from midwatch.policy.draft import Draft

Notes = list[Note]

_LABELS = {"clean": "clean exit", "drain": "drain", "killed": "killed from outside", "memory": "out of memory",
           "fds": "descriptor guard"}  # fmt: skip
_AGE = re.compile(r", [0-9][0-9a-z. ]* old\b")  # in the words for a process
_CLEAN_LOOP = "clean_restart_budget_exceeded"


def window_of(d: Draft, name: str) -> Window | None:
    """The window called `name`, fast or slow ("clean", "crash_slow"); None when it is off."""
    return cast("Window | None", getattr(d.rules.budgets, name, None))


def recent(times: tuple[float, ...], window: Window, now: float) -> tuple[float, ...]:
    """What of `times` still counts: strictly younger than the window is long."""
    return tuple(t for t in times if t > now - window.seconds)


def push(d: Draft, name: str, window: Window) -> int:
    """Spend one of the window now; returns how many count. Never keeps more than limit + 1 times."""
    times = (*recent(d.s.windows.get(name, ()), window, d.now), d.now)[-(window.limit + 1) :]
    d.set(windows={**d.s.windows, name: times})
    return len(times)


def episode(d: Draft, name: str, over: int) -> None:
    """Remember how many times in a row the budget was over (0 ends the episode)."""
    if d.s.episodes.get(name, 0) != over:
        others = {k: v for k, v in d.s.episodes.items() if k != name}
        d.set(episodes={**others, name: over} if over else others)


def spend_slow(d: Draft, base: str) -> Notes:
    """Spend one of the slow window of `base`; warns "flapping" once an episode, changes nothing else."""
    name = base + "_slow"
    window = window_of(d, name)
    if window is None:
        return []
    count = push(d, name, window)
    if count < window.limit:
        episode(d, name, 0)
    elif name not in d.s.episodes:
        episode(d, name, 1)
        words = "not stable, although each run lives long enough"
        return [_warning("flapping", name, count, window, f"{count} in {format_seconds(window.seconds)}: {words}")]
    return []


def judge(d: Draft, cause: Cause, duration: float, planned: bool = False) -> tuple[Plan, Notes]:
    """Spend the budget of `cause` and say what follows. Warnings are returned, to be written after run.exited.

    `planned`: it left to be started again (75).
    """
    budget = COSTS[cause]
    if cause == "permanent":
        return held(d, "permanent exit code"), []
    if d.rules.schedule is not None:
        return _scheduled(d, cause)
    if budget == "clean" and not planned and (d.rules.oneshot or d.rules.on_clean == "stop"):
        return Plan("done", 0.0, "clean_exit", "ended with 0 as it was meant to, not started again"), []
    named = {"lost": "ended unseen", "memory-guard": "memory guard"}.get(cause, _LABELS.get(budget or "", ""))
    label = "planned restart" if planned else named
    plan, notes = _windowed(d, cause, duration, label) if label else _crash(d, cause, duration)
    return plan, notes + spend_slow(d, budget or "crash")


def held(d: Draft, what: str) -> Plan:
    """Nothing but a change can help: wait for one."""
    every = d.rules.backoff.recheck
    words = f"{what}: a new try cannot help; looked at again every {format_seconds(every)}, started when it changed"
    return Plan("held", every, what, words)


def conflict(d: Draft, owner: str, port: int | None, do: str = "", **known: object) -> tuple[Plan, Notes]:
    """Somebody else holds the port: no crash, said once for each holder, tried again slowly for ever (ORP-6)."""
    over = d.s.episodes.get("port", 0) + 1
    delay = doubled(d.rules.backoff.port, over - 1, d.rules.backoff.port_most)
    words = f"{port_words(port)} is held by {owner}{do and f': {do}'}; {_next(delay)}, no crash counted"
    told = {"run_id": d.run, "port": port, "owner": owner, **known, "do": do, "decision": words}
    known_as = _AGE.sub("", owner)  # the same process grows older
    new = over == 1 or known_as != d.s.blocker
    episode(d, "port", over)
    d.set(blocker=known_as)
    fields = {k: v for k, v in told.items() if v not in (None, "")}
    return Plan("waiting", delay, "port-conflict", words), [Note("port.conflict", fields)] if new else []


def _scheduled(d: Draft, cause: Cause) -> tuple[Plan, Notes]:
    """The next time comes by the clock, whatever happened; failures in a row are said once an episode."""
    if COSTS[cause] in ("clean", "drain"):
        closed = Note("health.recovered", {"run_id": d.run, "budget": "schedule"})
        notes = [closed] if "schedule" in d.s.episodes else []
        episode(d, "schedule", 0)
        d.set(crash_count=0)
        return Plan("scheduled", 0.0, cause, "ended as it was meant to, waits for its next time"), notes
    count = d.s.crash_count + 1
    d.set(crash_count=count)
    words = f"{cause}, failure {count} in a row: not tried again before its next time"
    plan, limit = Plan("scheduled", 0.0, cause, words), d.rules.budgets.crash
    if count < limit or "schedule" in d.s.episodes:
        return plan, []
    episode(d, "schedule", 1)
    fields = {"reason": "schedule_failing", "budget": "schedule", "count": count, "decision": words}
    return plan, [Note("health.warn", fields)]


def _next(delay: float) -> str:
    return f"next try in {format_seconds(delay)}" if delay > 0 else "restarted at once"


def _warning(reason: str, budget: str, count: int, window: Window, words: str) -> Note:
    much = {"count": count, "window_ms": round(window.seconds * 1000), "decision": words}
    return Note("health.warn", {"reason": reason, "budget": budget, **much})


def _crash(d: Draft, cause: Cause, duration: float) -> tuple[Plan, Notes]:
    budgets, backoff = d.rules.budgets, d.rules.backoff
    stable = duration > budgets.stable_after
    count = 1 if stable else d.s.crash_count + 1
    d.set(crash_count=count)
    if count < budgets.crash:
        episode(d, "crash", 0)
    name = "crash" if cause == "crash" else f"{cause}, crash"
    if budgets.crash_hard is not None and count >= budgets.crash_hard:
        words = f"{name} {count} reached the ceiling of {budgets.crash_hard}: gave up; start or reset tries again"
        return Plan("gave_up", 0.0, "crash", words), []
    if count >= budgets.crash:
        return _degraded(d, name, count)
    life = format_seconds(budgets.stable_after)
    if stable:
        words = f"{name} 1 of {budgets.crash} after {format_seconds(duration)} (more than {life}, so counted afresh)"
        return _wait(0.0, "crash", words), []
    delay = crash_delay(backoff, count, f"{d.s.id}:{d.s.run_no}:{count}")
    return _wait(delay, "crash", f"{name} {count} of {budgets.crash}, resets after {life} of life"), []


def _degraded(d: Draft, name: str, count: int) -> tuple[Plan, Notes]:
    limit, over = d.rules.budgets.crash, d.s.episodes.get("crash", 0) + 1
    delay = degraded_delay(d.rules.backoff, over, f"{d.s.id}:{d.s.run_no}:{count}")
    words = f"{name} {count}, the budget of {limit} is spent: degraded, tries for ever, {_next(delay)}"
    fields = {"budget": "crash", "count": count, "limit": limit, "decision": words}
    episode(d, "crash", over)
    return Plan("degraded", delay, "crash", words), [Note("budget.exhausted", fields)] if over == 1 else []


def _wait(delay: float, reason: str, words: str) -> Plan:
    return Plan("backoff" if delay > 0 else "starting", delay, reason, f"{words}, {_next(delay)}")


def _window(d: Draft, name: str, label: str, duration: float) -> tuple[int, str, Notes]:
    """Spend a fast window: times over in a row, the arithmetic in words, the warning of a new episode."""
    window = window_of(d, name)
    if window is None:
        return 0, label, []
    count = push(d, name, window)
    over = d.s.episodes.get(name, 0)
    notes: Notes = []
    if over and duration >= window.seconds:
        over = 0
        notes.append(Note("health.recovered", {"run_id": d.run, "budget": name}))
    words = f"{label} {count} of {window.limit} in {format_seconds(window.seconds)}"
    if over or count > window.limit:
        over += 1
        words = f"{label} over the budget of {window.limit} in {format_seconds(window.seconds)}"
        words += f", {over} in a row" if over > 1 else ""
        if over == 1:
            notes.append(_warning(_CLEAN_LOOP if name == "clean" else f"{name}_loop", name, count, window, words))
    episode(d, name, over)
    return over, words, notes


def _windowed(d: Draft, cause: Cause, duration: float, label: str) -> tuple[Plan, Notes]:
    """Causes with a sliding window: inside it their own delay, over it (drains apart) slower and slower."""
    name = COSTS[cause] or ""
    over, words, notes = _window(d, name, label, duration)
    if name == "drain":
        delay, reason = d.rules.backoff.drain, "drain"
    elif name == "memory":
        delay, reason = memory_delay(d.rules.backoff, over), "memory"
    else:  # clean exits and outside kills: at once inside the window
        delay = over_delay(d.rules.backoff, over)
        first = label.replace(" ", "_") if cause == "clean" else cause  # "clean_exit", "planned_restart"
        reason = "budget_exceeded" if over else first
    return _wait(delay, reason, words), notes


def may_restart(d: Draft, name: str, *windows: str) -> bool:
    """Spend one restart if the window `name` (and each of `windows`) has room; else alert once an episode (>=, G6)."""
    found = {each: window for each in (name, *windows) if (window := window_of(d, each))}
    for each, window in found.items():
        count = len(recent(d.s.windows.get(each, ()), window, d.now))
        if count >= window.limit:
            if name not in d.s.episodes:
                life = format_seconds(window.seconds)
                words = f"{count} of {window.limit} restarts in {life} did not help: left running"
                d.note("budget.exhausted", budget=each, count=count, limit=window.limit, decision=words)
                d.set(decision=words)
                episode(d, name, 1)
            return False
    for each, window in found.items():
        push(d, each, window)
    episode(d, name, 0)
    return True


def room_at(d: Draft, name: str) -> float:
    """When the window called `name` has room again (now, if it has)."""
    window = window_of(d, name)
    times = d.s.windows.get(name, ())
    if window is None or len(times) < window.limit:
        return d.now
    return times[-window.limit] + window.seconds


def _heals_at(d: Draft, name: str) -> float:
    born = d.now - d.age
    if name == "crash":
        return born + d.rules.budgets.stable_after
    if name == "port":  # an answer proves it at once, life alone after a while
        return born if d.s.ready and d.rules.ready else born + PORT_EARLY
    if name.endswith("_slow"):
        return room_at(d, name)
    window = window_of(d, name) if name in _LABELS else None
    return born + window.seconds if window else inf  # the others are closed by a probe, not by time


def heal_at(d: Draft) -> float | None:
    """When the living run will have proven that an episode is over; None without such an episode."""
    at = min((_heals_at(d, name) for name in d.s.episodes), default=inf)
    return None if at == inf else at


def heal(d: Draft) -> None:
    """Close every episode that the living run has outlived, with a closing record for each (G9)."""
    for name in tuple(d.s.episodes):
        if _heals_at(d, name) <= d.now:
            episode(d, name, 0)
            if name == "port":
                d.note("port.free", run_id=d.run)
            else:
                d.note("health.recovered", run_id=d.run, budget=name)
