"""A session's context as a stream of JSON fragments: chosen from small columns, bodies read one after another.

At most one piece of one body is in memory, whatever the session holds. An assembly can be gone through as often as
needed: a retry, or a first time for the length. Must not know a provider; shapes.py does. Tests:
tests/bounded/sessions/test_assemble.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from midwatch.bounded.limits import Limits, positive
from midwatch.bounded.sessions.choose import Budget, Choice, Shown, choose
from midwatch.bounded.sessions.errors import StoreError
from midwatch.bounded.sessions.shapes import Shape, plain
from midwatch.bounded.sessions.showing import HOW, Seekable, escape, fragments
from midwatch.bounded.sessions.values import Item
from midwatch.policy import defaults_sessions as d

Frame = Callable[[Item], int]
_SYSTEMS = 16
_END = 1 << 62


def budget(limits: Limits, items: int | None, bytes: int | None, tokens: int | None) -> Budget:  # noqa: A002
    """What was asked for, or what the store's limits say. Raises ValueError for a bound that is none."""
    for name, value in (("items", items), ("bytes", bytes), ("tokens", tokens)):
        if value is not None:
            positive(name, value, whole=True)
    return Budget(items or limits.ctx_items, bytes or limits.ctx_bytes, tokens)


class Readable(Protocol):
    """What can be assembled: a session of ours, or one that another program wrote."""

    def before(self, pos: int, limit: int) -> list[Item]: ...
    def anchor(self, kind: str, *, last: bool) -> Item | None: ...
    def systems(self, limit: int) -> list[Item]: ...
    def body(self, item: Item) -> Seekable: ...


class Assembly:
    """Iterate over it for the bytes of a JSON array. `shown`, `left_out`: what was chosen. `bytes`: at most so
    many."""

    def __init__(self, source: Readable, choice: Choice, shape: Shape, how: str, frame: Frame) -> None:
        self._source = source
        self._shape = shape
        self._how = how
        self.shown: list[Shown] = choice.shown
        self.left_out = choice.left_out
        self.level = choice.level
        self.bytes = sum(one.room + frame(one.item) for one in self.shown) + 2
        self.tokens = sum(one.tokens for one in self.shown)

    def __iter__(self) -> Iterator[bytes]:
        yield b"["
        for number, one in enumerate(self.shown):
            before, behind = self._shape(one.item, one.whole and one.item.picture)
            yield (("," if number else "") + before).encode()
            yield from filter(None, self._body(one))  # an empty chunk would end an HTTP body
            yield behind.encode()
        yield b"]"

    def length(self) -> int:
        """Exactly how many bytes the iteration gives, for a Content-Length: the bodies are read once more for it."""
        return sum(len(fragment) for fragment in self)

    def _body(self, one: Shown) -> Iterator[bytes]:
        """A body that cannot be read any more costs itself, never the context."""
        try:
            yield from fragments(one, self._source.body(one.item), self._how)
        except StoreError as error:
            yield escape(f"[this item's text cannot be read: {error}]"[: d.NOTICE_BYTES])


def assemble(source: Readable, budget: Budget, shape: Shape = plain, how: str = HOW) -> Assembly:
    """Choose from the newest items back to the last summary; reads a bounded number of small rows and no body."""
    found = candidates(source, budget.items)
    sizes: dict[int, int] = {}

    def frame(item: Item) -> int:
        if item.pos not in sizes:  # asked for again at each level
            sizes[item.pos] = frame_bytes(shape, item)
        return sizes[item.pos]

    return Assembly(source, choose(found, budget, frame), shape, how, frame)


def candidates(source: Readable, items: int) -> list[Item]:
    """The newest items, and wherever they are: prompts, the last summary, the first and the latest request."""
    summary = source.anchor("summary", last=True)
    end = 0 if summary is None else summary.pos - 1 if summary.covers is None else min(summary.covers, summary.pos - 1)
    found: list[Item] = []
    before = _END
    while len(found) < items + d.CALLS:
        page = source.before(before, d.BATCH_ROWS)
        found += [item for item in page if item.pos > end and item.kind != "note"]
        if not page or page[-1].pos <= end + 1:
            break
        before = page[-1].pos
    anchors = [summary, source.anchor("user", last=False), source.anchor("user", last=True), *source.systems(_SYSTEMS)]
    return found + [item for item in anchors if item is not None]


def frame_bytes(shape: Shape, item: Item) -> int:
    """Bytes of JSON around a body, the comma counted."""
    before, behind = shape(item, item.picture)
    return len(before.encode()) + len(behind.encode()) + 1
