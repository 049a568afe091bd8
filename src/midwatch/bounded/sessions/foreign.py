"""Stores that other programs wrote, read only: docker-agent's session.db in both of its shapes.

Older: `sessions.messages`, one JSON array a session, any size. Newer: `session_items`, a row an item with
`message_json`. Rows are read by pages; one over 256 KiB is shown by both its ends with a reference to what is
stored, so that no row bricks a session. The file is never written. Must not know our own tables. Tests:
tests/bounded/sessions/test_foreign.py.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from midwatch.bounded.limits import DEFAULTS, Limits
from midwatch.bounded.sessions import assemble, export, pages, slices
from midwatch.bounded.sessions.assemble import Assembly
from midwatch.bounded.sessions.connect import Connections
from midwatch.bounded.sessions.errors import Missing, NotOurs, told
from midwatch.bounded.sessions.files import Header, look, read_schema
from midwatch.bounded.sessions.shapes import Shape, plain
from midwatch.bounded.sessions.showing import HOW, Seekable
from midwatch.bounded.sessions.slices import Place, Slice
from midwatch.bounded.sessions.values import ROLES, Info, Item, Listing, Page
from midwatch.bounded.sessions.wide import Widths
from midwatch.policy import defaults_sessions as d

Decoded = tuple[str, bytes, tuple[str, ...], str]
_KINDS = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool_result"}


def open(path: str | os.PathLike[str], *, limits: Limits = DEFAULTS) -> ForeignStore:  # noqa: A001
    """Open somebody else's store for reading. Raises NotOurs when its tables are not known, Corrupt, Missing."""
    return ForeignStore(os.fspath(path), limits)


class ForeignStore:
    """`list`, `session`, `close`, as `Store`; nothing that writes."""

    def __init__(self, path: str, limits: Limits) -> None:
        self.path = os.path.abspath(path)
        self.limits = limits
        with told(self.path, "open"):
            header: Header = look(self.path)
        tables = read_schema(self.path) if header.size else set()
        if "sessions" not in tables:
            raise NotOurs(f"open: {self.path} is no store of an agent that is known here. Nothing was done with it")
        self.connections = Connections(self.path, readonly=True)
        self.by_rows = "session_items" in tables
        with self.connections.reader("open") as connection:
            columns = {row[1] for row in connection.execute("PRAGMA table_info(sessions)")}
        self.by_column = "messages" in columns
        self.titled = "title" in columns

    def list(self, *, after: str | None = None, limit: int = 50) -> Listing:
        """A page of sessions in the order of their rows, the newest row first; counters are not known (0)."""
        title = "title" if self.titled else "''"
        with self.connections.reader("list sessions") as connection:
            rows = connection.execute(
                f"SELECT rowid, id, substr({title}, 1, 500), created_at FROM sessions "  # noqa: S608
                "WHERE rowid < ? ORDER BY rowid DESC LIMIT ?",
                (int(after) if after else 1 << 62, max(1, min(limit, d.BATCH_ROWS))),
            ).fetchall()
        found = [_info(str(row[1]), str(row[2] or ""), str(row[3] or "")) for row in rows]
        return Listing(found, str(rows[-1][0]) if len(rows) == limit else None)

    def session(self, id: str) -> ForeignSession:  # noqa: A002
        """Raises Missing."""
        with self.connections.reader("read a session") as connection:
            row = connection.execute("SELECT rowid FROM sessions WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise Missing(f"no session {id!r} in {self.path}. 'midwatch sessions list' names them")
        return ForeignSession(self, id, row[0])

    def close(self) -> None:
        self.connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ForeignSession:
    """`items`, `read`, `assemble`, `export`, as `Session`. An item's stored form is its JSON; short texts are
    decoded."""

    def __init__(self, store: ForeignStore, session: str, row: int) -> None:
        self.id = session
        self._store = store
        self._connections = store.connections
        self._row = row
        self._places: list[Place] | None = None

    def items(self, after: int = 0, limit: int = d.BATCH_ROWS) -> list[Item]:
        """Up to `limit` items behind a position, with their texts where those are short."""
        return [self._item(pos, place, light=False) for pos, place in self._page(after + 1, min(limit, d.BATCH_ROWS))]

    def read(self, pos: int, offset: int = 0, length: int = d.LEVELS[0], *, raw: bool = False) -> Page:
        """A stretch of what is stored: of the decoded text of a short row, of a long row's JSON."""
        item = self._one(pos)
        return pages.page(item.ref, self.body(item), item.size, offset, length, self._store.limits.inline_cap, raw=raw)

    def assemble(
        self, *, items: int | None = None, bytes: int | None = None, tokens: int | None = None,  # noqa: A002
        shape: Shape = plain, how: str = HOW,
    ) -> Assembly:  # fmt: skip
        """As `Session.assemble`."""
        return assemble.assemble(self, assemble.budget(self._store.limits, items, bytes, tokens), shape, how)

    def export(self, write: Callable[[bytes], object]) -> int:
        """As `Session.export`; a long row's body is its stored JSON."""
        total = 0
        for piece in export.lines(self._each(), self.body):
            write(piece)
            total += len(piece)
        return total

    def before(self, pos: int, limit: int) -> list[Item]:
        """For `assemble`."""
        first = max(1, min(pos, self._count() + 1) - limit)
        found = [self._item(at, place, light=True) for at, place in self._page(first, limit) if at < pos]
        return found[::-1]

    def anchor(self, kind: str, *, last: bool) -> Item | None:
        """For `assemble`: looked for among the first or last 200 items."""
        page = self.before(1 << 62, d.BATCH_ROWS) if last else self._first()
        return next((item for item in page if item.kind == kind), None)

    def systems(self, limit: int) -> list[Item]:
        """For `assemble`."""
        return [item for item in self._first() if item.kind == "system"][:limit]

    def body(self, item: Item) -> Seekable:
        """For `assemble` and `export`."""
        if item.body is not None:
            return io.BytesIO(item.body)
        place = self._place(item.pos)
        if place.end - place.begin > d.FOREIGN_ROW:
            return Slice(self._connections, place)
        return io.BytesIO(self._short(place)[1])

    def _first(self) -> list[Item]:
        return [self._item(pos, place, light=True) for pos, place in self._page(1, d.BATCH_ROWS)]

    def _each(self) -> Iterator[Item]:
        after = 0
        while page := self.items(after, 20):
            yield from page
            after = page[-1].pos

    def _one(self, pos: int) -> Item:
        return self._item(pos, self._place(pos), light=False)

    def _place(self, pos: int) -> Place:
        found = self._page(pos, 1)
        if not found:
            raise Missing(f"no item {pos} in session {self.id!r} of {self._store.path}")
        return found[0][1]

    def _count(self) -> int:
        if self._by_rows():
            with self._connections.reader("read a session") as connection:
                query = "SELECT COUNT(*) FROM session_items WHERE session_id = ?"
                row = connection.execute(query, (self.id,)).fetchone()
            return int(row[0])
        return len(self._elements())

    def _by_rows(self) -> bool:
        return self._store.by_rows and (not self._store.by_column or not self._elements())

    def _elements(self) -> list[Place]:
        """Where each item of the array lies: two numbers an item, found in one pass."""
        if self._places is None:
            size = slices.length(self._connections, "sessions", "messages", self._row) if self._store.by_column else 0
            text = Slice(self._connections, Place("sessions", "messages", self._row, 0, size))
            self._places = [Place("sessions", "messages", self._row, *ends) for ends in slices.elements(text)]
        return self._places

    def _page(self, first: int, limit: int) -> list[tuple[int, Place]]:
        """Items number `first` and on; items are numbered from 1."""
        if not self._by_rows():
            return list(enumerate(self._elements()[first - 1 : first - 1 + limit], first))
        with self._connections.reader("read a session") as connection:
            rows = connection.execute(
                "SELECT rowid FROM session_items WHERE session_id = ? ORDER BY position, rowid LIMIT ? OFFSET ?",
                (self.id, limit, first - 1),
            ).fetchall()
        return [(at, self._in_row(row[0])) for at, row in enumerate(rows, first)]

    def _in_row(self, row: int) -> Place:
        for column in ("message_json", "summary_text"):
            if size := slices.length(self._connections, "session_items", column, row):
                return Place("session_items", column, row, 0, size)
        return Place("session_items", "message_json", row, 0, 0)

    def _item(self, pos: int, place: Place, *, light: bool) -> Item:
        text = Slice(self._connections, place)
        size = place.end - place.begin
        if size > d.FOREIGN_ROW:
            return self._long(pos, text, size)
        kind, body, calls, name = self._short(place)
        widths = Widths()
        widths.feed(body, last=True)
        short = body if not light and len(body) <= self._store.limits.item_inline else None
        return Item(
            session=self.id, pos=pos, kind=kind, role=ROLES[kind], name=name, calls=calls, tokens=widths.tokens,
            size=len(body), wide=widths.wide, body=short,
        )  # fmt: skip

    def _short(self, place: Place) -> Decoded:
        text, size = Slice(self._connections, place), place.end - place.begin
        if place.column == "summary_text":
            return "summary", text.read(size), (), ""
        try:
            return _decoded(slices.whole(text, size)) if size else ("note", b"", (), "")
        except ValueError:  # no JSON: a note with the bytes as they are
            return "note", slices.stored(text, size), (), ""

    def _long(self, pos: int, text: Slice, size: int) -> Item:
        """By both ends: the fields in front of the content, and those behind it."""
        head = text.read(4096)
        text.seek(size - 4096)
        tail = text.read(4096)
        kind = _KINDS.get(slices.field(head, "role"), "assistant")
        call = slices.field(tail, "tool_call_id") or slices.field(head, "tool_call_id")
        kind = "note" if kind == "tool_result" and not call else kind
        return Item(
            session=self.id, pos=pos, kind=kind, role=ROLES[kind], calls=(call,) if call else (), tokens=-(-size // 4),
            size=size, mime="text/plain", more={"stored": "json"},
        )  # fmt: skip


def _decoded(value: Any) -> Decoded:
    """Kind, text, call ids, name of a stored message; what is not known is a note with its JSON."""
    if not isinstance(value, dict):
        return "note", json.dumps(value).encode(), (), ""
    if isinstance(value.get("summary"), str) and value["summary"]:
        return "summary", value["summary"].encode("utf-8", "backslashreplace"), (), ""
    inner = value.get("message")
    if isinstance(inner, dict) and isinstance(inner.get("message"), dict):
        inner = inner["message"]
    message = inner if isinstance(inner, dict) else value
    kind = _KINDS.get(str(message.get("role")), "note")
    calls = message.get("tool_calls") if isinstance(message.get("tool_calls"), list) else []
    ids = tuple(str(call["id"]) for call in calls or [] if isinstance(call, dict) and call.get("id"))
    if kind == "tool_result":
        ids = (str(message["tool_call_id"]),) if message.get("tool_call_id") else ()
        kind = kind if ids else "note"
    content = message.get("content")
    shown = calls or message.get("multi_content") or message
    text = content if isinstance(content, str) and content else json.dumps(shown)
    name = str(calls[0].get("function", {}).get("name", "")) if calls and isinstance(calls[0], dict) else ""
    return kind, text.encode("utf-8", "backslashreplace"), ids[: d.CALLS], name[:100]


def _info(session: str, title: str, created: str) -> Info:
    try:
        at = dt.datetime.fromisoformat(created).timestamp()
    except ValueError:
        at = 0.0
    return Info(id=session, title=title, agent="", created=at, updated=at, items=0, bytes=0, tokens=0, last=0)
