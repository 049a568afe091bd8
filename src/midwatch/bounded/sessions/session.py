"""One session of a store: append, stream, read on, assemble, branch, export. A light handle; it holds no items.

Public through `midwatch.sessions`. Every method is one or a few short transactions; none gives a whole session.
Tests: tests/bounded/sessions/test_store.py.
"""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from midwatch.bounded.sessions import (
    adopting,
    append,
    assemble,
    branch,
    draft,
    export,
    history,
    listing,
    pages,
    payload,
)
from midwatch.bounded.sessions import pictures as pics
from midwatch.bounded.sessions.append import Words
from midwatch.bounded.sessions.assemble import Assembly
from midwatch.bounded.sessions.draft import Draft
from midwatch.bounded.sessions.errors import told
from midwatch.bounded.sessions.live import Ring
from midwatch.bounded.sessions.payload import Body
from midwatch.bounded.sessions.shapes import Shape, plain
from midwatch.bounded.sessions.showing import HOW, Seekable
from midwatch.bounded.sessions.values import Draft as Left
from midwatch.bounded.sessions.values import Info, Item, Page
from midwatch.policy import defaults_sessions as d

if TYPE_CHECKING:
    from midwatch.bounded.sessions.store import Store


class Session:
    """Made by `Store.create` and `Store.session`. `id` names it in this store."""

    def __init__(self, store: Store, session: str) -> None:
        self.id = session
        self._store = store
        self._connections = store.connections

    def append(
        self, kind: str, body: Body, *, role: str = "", agent: str = "", name: str = "",
        calls: str | tuple[str, ...] | list[str] = (), mime: str = "text/plain", tokens: int | None = None,
        covers: int | None = None, more: dict[str, Any] | None = None,
    ) -> Item:  # fmt: skip
        """Store one item behind the last one. It is in the store when this returns.

        kind: system, user, assistant, tool_use, tool_result, summary (`covers`: the last position it stands for, by
        default the one before it), note (kept, never sent). body: text, bytes, or a binary file that is read to its
        end. calls: the ids that tie uses to results; an assistant's item may carry several. tokens: if you know them.
        Costs O(this body). Raises Busy, DiskFull, TooLarge, Missing (the session was deleted), ValueError; then
        nothing was stored.
        """
        if tokens is None and mime.startswith("image/") and isinstance(body, bytes | bytearray | memoryview):
            tokens = pics.tokens(bytes(memoryview(body)[: pics.LOOK]), len(body))
        said = append.words(kind, role, agent, name, calls, mime, tokens, covers, more)
        return self._append(said, body)

    def adopt(self, kind: str, spools: adopting.Spools, ref: str, **words: Any) -> Item:
        """Append a spool's whole text by reference: no byte is copied. `words` as for `append`. Raises SpoolError,
        too."""
        said = {"role": "", "agent": "", "name": "", "calls": (), "mime": "text/plain", "tokens": None, "covers": None,
                "more": None, **words}  # fmt: skip
        checked = append.words(kind, **said)
        with told(self._store.path, "adopt a spool"):
            file = adopting.take(self._store.path, spools, ref)
        return self._append(checked, b"", adopted=(str(file.path), file.size, file.sha256), inline=-1)

    def draft(self, kind: str = "assistant", *, stream: str = "", **words: Any) -> Draft:
        """A streamed answer: `add` its deltas, then `done`. `stream`: go on with one that a crash left (`drafts`)."""
        said = {"role": "", "agent": "", "name": "", "calls": (), "mime": "text/plain", "tokens": None, "covers": None,
                "more": None, **words}  # fmt: skip
        checked = append.words(kind, **said)

        def finish(body: Body, remove: Callable[[sqlite3.Connection, int], None]) -> Item:
            return self._append(checked, body, also=remove)

        one = Draft(self._connections, self.id, kind, checked.role, finish, stream)
        self._store.upkeep.follow(one)
        return one

    def drafts(self) -> list[Left]:
        """Answers that were begun and not finished, by this process or one that died."""
        return draft.left(self._connections, self.id)

    def items(self, after: int = 0, limit: int = d.BATCH_ROWS) -> list[Item]:
        """Up to `limit` (at most 200) items behind position `after`, oldest first; bodies only where they are short.

        For more, give the last position: `after=page[-1].pos`. There is no call for all of them.
        """
        return history.page_after(self._connections, self.id, after, max(1, min(limit, d.BATCH_ROWS)))

    def open(self, pos: int) -> io.BufferedIOBase | io.RawIOBase:
        """An item's whole body as a binary file: read, seek. One `read(size)` gives at most a row of it (256 KiB);
        `read()` gives all that is left, as of any file."""
        body = self._body(history.one(self._connections, self.id, pos))
        assert isinstance(body, io.BufferedIOBase | io.RawIOBase)
        return body

    def read(self, pos: int, offset: int = 0, length: int = d.LEVELS[0], *, raw: bool = False) -> Page:
        """A stretch of an item's body for a model: at most 40 KiB of JSON, whole characters, base64 if it is no
        text."""
        item = history.one(self._connections, self.id, pos)
        cap = self._store.limits.inline_cap
        return pages.page(item.ref, self._body(item), item.size, offset, length, cap, raw=raw)

    def assemble(
        self, *, items: int | None = None, bytes: int | None = None, tokens: int | None = None,  # noqa: A002
        shape: Shape = plain, how: str = HOW,
    ) -> Assembly:  # fmt: skip
        """The context for the next request, as fragments of one JSON array: at most so many items, bytes, tokens.

        Defaults: 400 items, 1,572,864 bytes, as many tokens as that holds. shape: the JSON around a body. how: what
        a model is told to call for the rest, with {ref} and {offset}. Raises TooLarge when not even what must stay
        fits, ValueError for a bound that is none.
        """
        budget = assemble.budget(self._store.limits, items, bytes, tokens)
        return assemble.assemble(_Source(self), budget, shape, how)

    def branch(self, at: int | None = None, *, id: str = "", title: str = "") -> Session:  # noqa: A002
        """Another session that shares everything up to and with position `at` (the last one). Costs one row."""
        at = self.info().last if at is None else at
        name = self._store.fresh_id(id)
        branch.branch(self._connections, self.id, at, name, title)
        return Session(self._store, name)

    def info(self) -> Info:
        """Its counters. Raises Missing when it was deleted."""
        return listing.info(self._connections, self.id)

    def export(self, write: Callable[[bytes], object]) -> int:
        """Every item as a line of JSON, in pieces, to `write` (of a file opened for bytes). Returns the bytes."""
        total = 0
        for piece in export.lines(self._all(), self._body):
            write(piece)
            total += len(piece)
        return total

    def ring(self) -> Ring:
        """The last 50 items for a screen; follow `Store.subscribe(session)` to keep it up."""
        last = history.page_before(self._connections, self.id, 1 << 62, d.RING)
        first = last[-1].pos - 1 if last else 0
        return Ring(self.items(first, d.RING))

    def _all(self) -> Iterable[Item]:
        return history.each(self._connections, self.id, 0, d.BATCH_ROWS // 4)

    def _body(self, item: Item, parts: history.Parts | None = None) -> Seekable:
        if item.payload is not None:
            return payload.Reader(self._connections, item.payload)
        body = item.body
        if body is None:
            body = history.one(self._connections, self.id, item.pos, parts=parts).body
        return io.BytesIO(body or b"")

    def _append(
        self, said: Words, body: Body, *, inline: int | None = None,
        adopted: tuple[str, int, str] | None = None, also: Callable[[sqlite3.Connection, int], None] | None = None,
    ) -> Item:  # fmt: skip
        store = self._store
        most = store.limits.item_inline if inline is None else inline
        if adopted is None and isinstance(body, str | bytes | bytearray | memoryview) and len(body) > most:
            store.upkeep.before_payload()
        item = append.append(
            self._connections, self.id, said, body, inline=most, counter=store.count_tokens, adopted=adopted, also=also
        )
        store.bus.appended(item)
        return item


class _Source:
    """What `assemble` reads of a session; whose parts it has is asked once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._connections = session._connections  # noqa: SLF001  one class in two parts
        self._parts = history.lineage(self._connections, session.id)

    def before(self, pos: int, limit: int) -> list[Item]:
        return history.page_before(self._connections, self._session.id, pos, limit, parts=self._parts)

    def anchor(self, kind: str, *, last: bool) -> Item | None:
        return history.anchor(self._connections, self._session.id, kind, last=last, parts=self._parts)

    def systems(self, limit: int) -> list[Item]:
        return history.anchors(self._connections, self._session.id, "system", limit, parts=self._parts)

    def body(self, item: Item) -> Seekable:
        return self._session._body(item, self._parts)  # noqa: SLF001
