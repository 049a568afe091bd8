"""The guard on the machine: is memory running out, and which of our own trees has to give some back?

Pressure (PSI) alone is a permission to look; a level below the reserve with a second sign is danger, below half of it
critical. One victim at a time, then a pause, because averages lag. Only runs of ours are ever proposed; with nobody
worth ending it says so once and does nothing. All services over the machine budget: the same rule. Must not end
anything. Tests: tests/policy/test_guard_host.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from midwatch.model.action import Note
from midwatch.model.event import Tripped
from midwatch.model.sample import HostSample, Quality
from midwatch.model.units import format_bytes
from midwatch.policy import defaults as f
from midwatch.policy.guard import Arm, Confirm, arm

Level = Literal["ok", "pressure", "danger", "critical"]
Proposal = Note | Tripped | Confirm
Proposals = tuple[Proposal, ...]
_RANKS = {"expendable": 0, "normal": 1, "protected": 2}


class Tree(msgspec.Struct, frozen=True):
    """One of our runs that may be ended. `held`: the best guess (`sure`: no upper bound); `growth`: in a minute."""

    run: str
    service: str
    held: int
    sure: bool = True
    hard: int | None = None
    growth: int = 0
    priority: Literal["expendable", "normal", "protected"] = "normal"
    quality: Quality = "exact"


class HostState(msgspec.Struct, frozen=True, omit_defaults=True):
    """`level` of the last look; `victim` is being ended since `chosen`, and was `gone` at; `urgent`: critical since."""

    level: Level = "ok"
    arms: dict[str, Arm] = {}
    victim: str | None = None
    chosen: float = 0.0
    gone: float | None = None
    urgent: float | None = None
    nobody: bool = False

    @property
    def polite(self) -> float:
        """Seconds a run may take to leave now."""
        return {"danger": 2.0, "critical": 0.0}.get(self.level, f.POLITE)


def available(sample: HostSample) -> int | None:
    """What can still be had here: of the machine, and of the cgroup that limits us, if one does."""
    free, limit, used = sample.available_bytes, sample.limit_bytes, sample.limit_used_bytes
    return free if limit is None or used is None else min(limit - used, limit if free is None else free)


def level_of(sample: HostSample, reserve: int) -> Level:
    """The state of the machine. What cannot be read never makes it worse."""
    free, swap = available(sample), sample.swap_total_bytes
    squeezed = (sample.full or 0.0) > f.PSI_LOOK
    if free is not None and free < reserve / 2:
        return "critical"
    left = sample.swap_free_bytes
    no_swap = swap == 0 or (swap is not None and left is not None and left < f.SWAP_LOW * swap)
    if free is not None and free < reserve and (squeezed or no_swap):
        return "danger"
    stalled = squeezed or (sample.some or 0.0) >= f.PSI_LOOK
    return "pressure" if stalled or (free is not None and free < reserve) else "ok"


def order(trees: Sequence[Tree], total: int) -> list[tuple[Tree, str]]:
    """Who has to go first, and why: over its own line, then the fastest grower, then by priority the largest."""
    able = [t for t in trees if t.held >= f.VICTIM_LEAST * total or (t.hard is not None and t.held >= t.hard)]

    def key(t: Tree) -> tuple[int, int, int]:
        if t.hard is not None and t.held >= t.hard:
            return 0, 0, t.hard - t.held
        if t.held > f.VICTIM_SHARE * total and t.growth >= f.VICTIM_GROWTH:
            return 1, 0, -t.growth
        return 2, _RANKS[t.priority], -t.held

    why = ("it is over its own line", "it grows fastest", "it is the largest of the lowest priority")
    return [(t, why[key(t)[0]]) for t in sorted(able, key=key)]


def judge(
    state: HostState, sample: HostSample, reserve: int, trees: Sequence[Tree], budget: int
) -> tuple[HostState, Proposals]:
    """One look at the machine and at all our trees."""
    level, used = level_of(sample, reserve), sum(t.held for t in trees)
    dire = level == "critical" or (level == "danger" and state.level in ("danger", "critical"))
    over = used > budget and all(t.sure for t in trees)
    told: list[Proposal] = []
    arms = dict(state.arms)
    for name, high, calm in (("host", level != "ok", level == "ok"), ("budget", over, used < f.DISARM * budget)):
        was = arms.get(name, Arm())
        new = arm(was, sample.at, high, calm, f.ARM_SAMPLES, f.ARM_SECONDS)
        arms[name] = new = replace(new, on=new.on or (name == "host" and dire))
        if new.on != was.on:
            told.append(_said(name, new.on, level, sample, reserve, used, budget))
    urgent = (sample.at if state.urgent is None else state.urgent) if level == "critical" else None
    nobody = state.nobody and any(a.on for a in arms.values())
    state = _look_for(replace(state, level=level, arms=arms, urgent=urgent, nobody=nobody), sample.at, trees)
    unsure = [t.run for t in sorted(trees, key=lambda t: -t.held) if not t.sure] if used > budget else []
    if (dire or (over and arms["budget"].on)) and _may(state, sample.at):
        return _choose(state, sample, reserve if dire else 0, trees, budget, told)
    return state, (*told, *map(Confirm, unsure[:1]))


def _choose(
    state: HostState, sample: HostSample, reserve: int, trees: Sequence[Tree], budget: int, told: list[Proposal]
) -> tuple[HostState, Proposals]:
    """One victim, a closer look at it first, or nobody. `reserve` 0: it is for the budget."""
    used, free = sum(t.held for t in trees), available(sample) or 0
    chosen = order(trees, sample.limit_bytes or sample.total_bytes or 0)[:1]
    if not chosen:
        words = f"no service of ours is worth ending, all of them hold {format_bytes(used)}: nothing is done"
        fields = {"level": state.level, "available_bytes": free, "reserve_bytes": reserve, "held_bytes": used}
        said = () if state.nobody else (Note("host.nobody", {**fields, "decision": words}),)
        return replace(state, nobody=True), (*told, *said)
    victim, why = chosen[0]
    if not victim.sure and state.level != "critical":
        return state, (*told, Confirm(victim.run))
    what = f"all services together hold {format_bytes(used)} of their budget of {format_bytes(budget)}"
    if reserve:
        what = f"{format_bytes(free)} of memory are available here, {format_bytes(reserve)} are kept in reserve"
    words = f"{what}; this one holds {format_bytes(victim.held)}: {why}"
    trip = Tripped(victim.run, "host", "hard", victim.held, reserve or budget, victim.quality, words, state.polite)
    return replace(state, victim=victim.run, chosen=sample.at, gone=None), (*told, trip)


def _look_for(state: HostState, at: float, trees: Sequence[Tree]) -> HostState:
    """Is the last victim gone?"""
    if state.victim is None or state.gone is not None:
        return state
    left = any(t.run == state.victim for t in trees)
    return state if left and at - state.chosen < f.HOST_STUCK else replace(state, gone=at)


def _may(state: HostState, at: float) -> bool:
    """One at a time, then a pause; it is cut short when memory was freed and that did not help."""
    if state.victim is None:
        return True
    if state.gone is None:
        return False
    lasting = state.urgent is not None and at - max(state.urgent, state.gone) >= f.HOST_AGAIN
    return lasting or at - state.gone >= f.HOST_PAUSE


def _said(name: str, on: bool, level: Level, s: HostSample, reserve: int, used: int, budget: int) -> Note:
    """The line at the beginning, or at the end, of an episode."""
    if name == "budget":
        return Note("budget.over", {"held_bytes": used, "budget_bytes": budget, "over": not on})
    known = {"available_bytes": available(s), "some": s.some, "full": s.full, "swap_free_bytes": s.swap_free_bytes}
    there = {key: value for key, value in known.items() if value is not None}
    fields = {"level": level, "reserve_bytes": reserve, **there}
    return Note("host.pressure", fields) if on else Note("host.ok", fields)
