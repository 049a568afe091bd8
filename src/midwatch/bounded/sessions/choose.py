"""Which items of a session a model gets to see, and how much of each: decided from small columns, no body is read.

The rules (B7, B8): system prompts always, from a budget of their own; the last summary stands for what it covers; a
tool's use and its result stay or go together; the first and the latest request stay; an item over its share is
shown by both its ends and a reference, never as a bare placeholder, the newest result with at least 4 KiB. Shares
shrink in steps before items are left out, and then the oldest go. Pure. Tests:
tests/bounded/sessions/test_choose.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from midwatch.bounded.sessions.errors import TooLarge
from midwatch.bounded.sessions.values import Item
from midwatch.policy import defaults_sessions as d


class Budget(NamedTuple):
    """Bounds of one context: items, bytes of the whole JSON, tokens (None: as many as the bytes hold)."""

    items: int
    bytes: int
    tokens: int | None = None


class Shown(NamedTuple):
    """An item with the most bytes of JSON that its body takes. `whole`: all of it. `gone`: a picture too old or
    large."""

    item: Item
    room: int
    whole: bool
    gone: str = ""

    @property
    def tokens(self) -> int:
        if self.whole:
            return self.item.tokens
        return min(self.item.tokens, -(-self.item.tokens * self.room // max(1, self.item.size))) + d.NOTICE_BYTES // 4


class Choice(NamedTuple):
    """The items in the order they are sent, how many were left out of those looked at, and the level that was
    reached."""

    shown: list[Shown]
    left_out: int
    level: int


def choose(candidates: Sequence[Item], budget: Budget, frame: Callable[[Item], int]) -> Choice:
    """`candidates` oldest first, with the session's system items, first request and last summary among them. `frame`:
    bytes of JSON around a body. Raises TooLarge when not even what must stay fits."""
    items = _said(candidates)
    fixed = _fixed(items)
    units = _units(items, fixed)
    kept, left = _counted(units, fixed, budget.items)
    for level, request in (*((level, d.USER_SHARE) for level in d.LEVELS), *((one, one) for one in d.LEVELS[-3:])):
        shown = _sized(items, kept, level, request, budget)
        if _fits(shown, budget, frame):
            return Choice(_ordered(shown), left, level)
    level = d.LEVELS[-1]
    for unit in sorted((unit for unit in units if unit <= kept), key=max):
        kept, left = kept - unit, left + len(unit)
        shown = _sized(items, kept, level, level, budget)
        if _fits(shown, budget, frame):
            return Choice(_ordered(shown), left, level)
    least = sum(one.room + frame(one.item) for one in _sized(items, kept, level, level, budget))
    tokens = "" if budget.tokens is None else f", {budget.tokens:,} tokens"
    raise TooLarge(
        f"assemble: the system prompt, the requests and the newest result need {least:,} bytes at least; that does not "
        f"fit into {budget.items:,} items, {budget.bytes:,} bytes{tokens}. Give more, or shorten the prompt"
    )


def _said(candidates: Iterable[Item]) -> list[Item]:
    """Without notes and without what a summary stands for, except prompts and the first request."""
    items = sorted({item.pos: item for item in candidates if item.kind != "note"}.values(), key=lambda item: item.pos)
    summary = next((item for item in reversed(items) if item.kind == "summary"), None)
    if summary is None:
        return items
    covers = summary.pos - 1 if summary.covers is None else min(summary.covers, summary.pos - 1)
    first = next((item for item in items if item.kind == "user"), None)
    return [
        item
        for item in items
        if item in (summary, first) or item.kind == "system" or (item.pos > covers and item.kind != "summary")
    ]


def _fixed(items: list[Item]) -> set[int]:
    """Indexes of what always stays."""
    users = [at for at, item in enumerate(items) if item.kind == "user"]
    return {at for at, item in enumerate(items) if item.kind in ("system", "summary")} | set(users[:1] + users[-1:])


def _units(items: list[Item], fixed: set[int]) -> list[frozenset[int]]:
    """What stays or goes together. A use without a result, or a result without its use, is in none: providers
    refuse it."""
    waiting: dict[str, int] = {}
    group: dict[int, set[int]] = {}
    bad: set[int] = set()
    for at, item in enumerate(items):
        if item.kind == "tool_result":
            uses = [waiting.pop(call, None) for call in item.calls]
            bad |= {at} if None in uses else set()
            for use in uses:
                if use is not None:
                    group.setdefault(use, {use}).add(at)
        else:
            for call in item.calls:
                if call in waiting:
                    bad.add(waiting[call])
                waiting[call] = at
    bad |= set(waiting.values())
    units = [frozenset(members) for members in group.values() if not members & bad]
    together = {at for members in group.values() for at in members} | bad
    return units + [frozenset({at}) for at in range(len(items)) if at not in together and at not in fixed]


def _counted(units: list[frozenset[int]], fixed: set[int], most: int) -> tuple[frozenset[int], int]:
    """As many of the newest units as the number of items allows."""
    kept: set[int] = set(fixed)
    left = 0
    for unit in sorted(units, key=max, reverse=True):
        if left == 0 and len(kept | unit) <= most:
            kept |= unit
        else:
            left += len(unit - kept)
    return frozenset(kept), left


def _sized(items: list[Item], kept: frozenset[int], level: int, request: int, budget: Budget) -> list[Shown]:
    newest = max((at for at in kept if items[at].kind == "tool_result"), default=-1)
    systems = sum(items[at].kind == "system" for at in kept)
    turns, shown = 0, []
    for at in sorted(kept, reverse=True):
        item = items[at]
        if item.picture:
            shown.append(_picture(item, turns, budget))
        elif item.kind == "system":
            shown.append(_text(item, d.SYSTEM_BYTES // systems if request > level else max(level, d.NEWEST_LEAST)))
        elif item.kind in ("user", "summary"):
            shown.append(_text(item, max(level, min(request, budget.bytes // 4))))
        else:
            shown.append(_text(item, max(level, d.NEWEST_LEAST) if at == newest else level))
        turns += item.kind == "user"
    return shown[::-1]


def _text(item: Item, room: int) -> Shown:
    if not item.textual:
        return Shown(item, 2 * d.LEVELS[-1], False)
    if item.wide is not None and item.wide <= room:
        return Shown(item, item.wide, True)
    return Shown(item, room, False)


def _picture(item: Item, turns: int, budget: Budget) -> Shown:
    wide = item.wide or 0
    if turns >= d.IMAGE_TURNS:
        return Shown(item, 2 * d.NOTICE_BYTES, False, "an older picture")
    if wide > budget.bytes * d.IMAGE_SHARE:
        return Shown(item, 2 * d.NOTICE_BYTES, False, "a picture too large to send")
    return Shown(item, wide, True)


def _fits(shown: list[Shown], budget: Budget, frame: Callable[[Item], int]) -> bool:
    if len(shown) > budget.items or sum(one.room + frame(one.item) for one in shown) + 2 > budget.bytes:
        return False
    return budget.tokens is None or sum(one.tokens + frame(one.item) // 4 for one in shown) <= budget.tokens


def _ordered(shown: list[Shown]) -> list[Shown]:
    """A summary comes right behind what it stands for."""

    def place(one: Shown) -> float:
        item = one.item
        return item.covers + 0.5 if item.kind == "summary" and item.covers is not None else item.pos

    return sorted(shown, key=place)
