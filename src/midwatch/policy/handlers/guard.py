"""A guard proposes, this decides: say it, ask the run to drain, or end it. Each level is written once an episode.

The intent is written before anything is signalled, so that the exit is never blamed on somebody else. What is over its
hard memory line is ended whatever its budget says, and then waits longer; descriptors end a run only where that was
asked for and while their own budget has room. None of this spends the crash budget. Must not measure.
Tests: tests/policy/test_guard.py.
"""

from __future__ import annotations

from typing import Literal

from midwatch.model.action import Capture, Drain, Note
from midwatch.model.event import Eased, Tripped
from midwatch.model.state import Plan
from midwatch.model.units import format_seconds
from midwatch.policy import moves
from midwatch.policy.budget import episode, judge, may_restart
from midwatch.policy.defaults import FREEZE_BELOW
from midwatch.policy.draft import Draft

_RANKS = {"warn": 1, "soft": 2, "hard": 3}


def tripped(d: Draft, e: Tripped) -> None:
    """A line was crossed. Descriptors are only spoken of, unless `fds.action` says otherwise."""
    name, rank = f"guard.{e.guard}", _RANKS[e.level]
    if d.s.pid is None or rank <= d.s.episodes.get(name, 0):
        return
    if rank == 2 and d.s.drain_by is not None:
        return  # asked already, for another reason
    silent = e.guard == "fds" and (d.rules.fds is None or d.rules.fds.action == "warn")
    if rank == 3 and not silent:
        if e.guard != "fds" or may_restart(d, "fds", "fds_slow"):
            episode(d, name, rank)
            _end(d, e)
        return
    episode(d, name, rank)
    if rank == 1 or silent:
        _say(d, e, "warn", e.words)
    else:
        _ask(d, e)


def _say(d: Draft, e: Tripped, action: str, words: str, within: float | None = None) -> None:
    names = ("open", "limit") if e.guard == "fds" else ("held_bytes", "line_bytes")
    within_ms = None if within is None else round(within * 1000)
    d.set(decision=words)
    d.note(
        "guard.tripped", run_id=d.run, guard=e.guard, level=e.level, quality=e.quality, action=action,
        within_ms=within_ms, evidence=action in ("stop", "kill") or None, decision=words,
        **dict(zip(names, (e.value, e.line), strict=True)),
    )  # fmt: skip


def _ask(d: Draft, e: Tripped) -> None:
    """The soft line: it may finish its work and leave by itself, if it has said how it is to be asked."""
    drain = d.rules.drain
    if drain is None or (drain.signal is None and drain.command is None):
        hard = "before its hard line" if d.rules.memory and d.rules.memory.hard else "about it"
        _say(d, e, "warn", f"{e.words}; nothing is done {hard}: drain.signal or drain.command would say how to ask it")
        return
    words = f"{e.words}; asked to drain, it has {format_seconds(drain.within)} to leave"
    _say(d, e, "drain", words, drain.within)
    d.do(Drain(d.run))
    d.set(drain_by=d.now + drain.within, drain_why=e.words)
    moves.alarm(d, d.s.wake_at)


def drain_is_over(d: Draft) -> bool:
    """It was asked to leave and is still there: the ladder."""
    if d.s.drain_by is None or d.now < d.s.drain_by:
        return False
    cause: Literal["memory-guard", "fd-guard"] = "memory-guard"
    if "guard.fds" in d.s.episodes and "guard.memory" not in d.s.episodes:
        cause = "fd-guard"
    plan, warnings = judge(d, cause, d.age)
    within = d.rules.drain.within if d.rules.drain else 0.0
    words = f"{d.s.drain_why}; it did not leave within {format_seconds(within)} after it was asked to drain"
    d.note("guard.drain", run_id=d.run, outcome="late", waited_ms=round(within * 1000), decision=words)
    _stop(d, cause, "drain", words, d.rules.stop.grace, plan, warnings)
    return True


def _end(d: Draft, e: Tripped) -> None:
    """The hard line, or the machine needs the memory: the intent, evidence, the ladder."""
    cause: Literal["memory-guard", "fd-guard"] = "fd-guard" if e.guard == "fds" else "memory-guard"
    plan, warnings = Plan("starting", 0.0, "fds", "restarted at once"), list[Note]()
    if cause == "memory-guard" or d.rules.schedule is not None:  # the budget of the other one is spent already
        plan, warnings = judge(d, cause, d.age)
    _say(d, e, "stop" if e.polite > 0 else "kill", f"{e.words}; {plan.message}")
    _stop(d, cause, e.guard, e.words, min(e.polite, d.rules.stop.grace), plan, warnings)


def _stop(
    d: Draft, cause: Literal["memory-guard", "fd-guard"], reason: str, words: str, grace: float, plan: Plan,
    warnings: list[Note],
) -> None:  # fmt: skip
    d.actions += warnings
    d.do(Capture(d.run, reason, freeze=grace < FREEZE_BELOW, stage=1 if grace <= 0 and reason == "host" else 3))
    d.set(why_stopping=cause, plan=plan, respawn=False, hurry=grace <= 0, probe_detail=words)
    moves.begin_stop(d, cause.replace("-", "_"), "", grace)
    moves.ladder(d, grace=grace)


def hurried(d: Draft, e: Tripped) -> None:
    """It is leaving already, but what it holds is needed sooner."""
    if e.level != "hard" or e.guard == "fds" or d.s.hurry or d.s.pid is None:
        return
    if e.polite <= 0:
        d.set(hurry=True)
        moves.kill(d, 0.0, e.words)
    elif d.s.phase == "stopping" and d.s.wake_at is not None:
        d.set(wake_at=min(d.s.wake_at, d.now + e.polite))


def eased(d: Draft, e: Eased) -> None:
    """Well below the line again."""
    if f"guard.{e.guard}" in d.s.episodes:
        episode(d, f"guard.{e.guard}", 0)
        d.note("guard.eased", run_id=d.run, guard=e.guard)
