"""Adding one item to a session: the cost is that of the item, whatever the session holds.

A short body stands in its row, a long one is written before, in batches, the row last. Items are never changed.
Must not know branches or drafts. Tests: tests/bounded/sessions/test_store.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from midwatch.bounded.sessions import payload, wide
from midwatch.bounded.sessions.connect import Connections
from midwatch.bounded.sessions.errors import Missing, TooLarge
from midwatch.bounded.sessions.payload import Body, Written
from midwatch.bounded.sessions.values import KINDS, ROLES, Item
from midwatch.policy import defaults_sessions as d

_INSERT = """
INSERT INTO item (session, pos, size, wide, tokens, upto, at, payload, covers, kind, role, mime, agent, name, calls,
  more, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SESSION = "SELECT id, last, upto, updated FROM session WHERE ref = ? AND deleted = 0"


class Words(NamedTuple):
    """What is said about an item besides its body; checked."""

    kind: str
    role: str
    agent: str
    name: str
    calls: tuple[str, ...]
    mime: str
    tokens: int | None
    covers: int | None
    more: dict[str, Any] | None


def words(kind: str, role: str, agent: str, name: str, calls: str | tuple[str, ...] | list[str], mime: str,
          tokens: int | None, covers: int | None, more: dict[str, Any] | None) -> Words:  # fmt: skip
    """Raises ValueError for an unknown kind, TooLarge for names that are no names."""
    if kind not in KINDS:
        raise ValueError(f"append: no kind of item is called {kind!r}; there are {', '.join(KINDS)}")
    ids = (calls,) if isinstance(calls, str) and calls else tuple(calls)
    short = (("role", role), ("agent", agent), ("name", name), ("mime", mime), *(("call", one) for one in ids))
    for label, value in short:
        if len(value.encode()) > d.FIELD_BYTES or "\n" in value:
            raise TooLarge(f"append: {label} is one line of at most {d.FIELD_BYTES} bytes; put long text into the body")
    if len(ids) > d.CALLS:
        raise TooLarge(f"append: {len(ids)} calls in one item, at most {d.CALLS}; append them as several items")
    if kind in ("tool_use", "tool_result") and not ids:
        raise ValueError(f"append: a {kind} needs the id of its call (calls=...) to stay with its other half")
    if more is not None and len(_packed(more) or "") > d.MORE_BYTES:
        raise TooLarge(f"append: more has at most {d.MORE_BYTES} bytes of JSON; put long text into the body")
    return Words(kind, role or ROLES[kind], agent, name, ids, mime, tokens, covers, more)


def append(connections: Connections, session: str, said: Words, body: Body, *, inline: int,
           counter: wide.Counter | None, adopted: tuple[str, int, str] | None = None,
           also: Callable[[sqlite3.Connection, int], None] | None = None) -> Item:  # fmt: skip
    """Store it; returns it as it is in the store. `also` runs in the same transaction. Raises StoreError: not
    stored."""
    first, rest = _short(body, inline)
    widths = wide.Widths(None if said.tokens is not None or not said.mime.startswith("text/") else counter)
    written, known = None, None
    if first is not None:
        widths.feed(first, last=True)
    elif adopted is None:
        known = _hash(rest) if isinstance(rest, str | bytes | bytearray | memoryview) else None
        if known is None or not (written := _again(connections, *known, widths)):
            written = payload.write(connections, rest, widths)
    with payload.given_up(connections, written), connections.transaction("append") as connection:
        row = connection.execute(_SESSION, (session,)).fetchone()
        if row is None:
            raise Missing(f"append: no session {session!r} in {connections.path}. Create it first; was it deleted?")
        number, last, upto, updated = row
        size, tokens = len(first or b""), widths.tokens
        width: int | None = widths.wide
        key: int | None = None
        if adopted is not None:
            path, size, sha256 = adopted
            key, width, tokens = payload.adopt(connection, path, size, bytes.fromhex(sha256)), None, -(-size // 4)
        elif written is not None:
            key, size = payload.finish(connection, written), written.size
        if said.mime.startswith("image/"):
            width = wide.of_picture(size)
        now = time.time()
        item = Item(
            session=session, pos=last + 1, kind=said.kind, role=said.role, agent=said.agent, name=said.name,
            calls=said.calls, mime=said.mime, tokens=tokens if said.tokens is None else max(0, said.tokens), size=size,
            wide=width, at=now, covers=said.covers, more=said.more, body=first, payload=key, upto=upto + size,
        )  # fmt: skip
        connection.execute(_INSERT, (
            number, item.pos, size, width, item.tokens, item.upto, now, key, said.covers, said.kind, said.role,
            said.mime, said.agent, said.name, "\n".join(said.calls), _packed(said.more), first,
        ))  # fmt: skip
        if now - updated >= d.TOUCH_S:
            connection.execute("UPDATE session SET updated = ? WHERE id = ?", (now, number))
        if also is not None:
            also(connection, number)
    return item


def _short(body: Body, inline: int) -> tuple[bytes | None, Body]:
    """The bytes when they fit into the row; else None and the body to be read from its start."""
    if isinstance(body, str):
        if len(body) <= inline and len(data := body.encode("utf-8", "backslashreplace")) <= inline:
            return data, b""
        return None, body
    if isinstance(body, bytes | bytearray | memoryview):
        return (bytes(body), b"") if memoryview(body).nbytes <= inline else (None, body)
    if not hasattr(body, "read") or isinstance(body, io.TextIOBase):
        kind = type(body).__name__
        raise TypeError(f"append: a body is text, bytes or a file open for bytes, not {kind}; for a value: json.dumps")
    start = bytearray()
    while len(start) <= inline and (data := body.read(inline + 1 - len(start))):
        start += data
    return (bytes(start), b"") if len(start) <= inline else (None, _Chained(bytes(start), body))


class _Chained:
    """What was read already, then the rest of the source."""

    def __init__(self, start: bytes, source: Any) -> None:
        self._start, self._source = start, source

    def read(self, size: int, /) -> bytes:
        if self._start:
            data, self._start = self._start[:size], self._start[size:]
            return data
        return bytes(self._source.read(size))


def _hash(body: Body) -> tuple[bytes, int]:
    digest, size = hashlib.sha256(), 0
    for piece in payload.pieces(body):
        digest.update(piece)
        size += len(piece)
    return digest.digest(), size


def _again(connections: Connections, sha256: bytes, size: int, widths: wide.Widths) -> Written | None:
    """The same bytes are in the store already: nothing has to be written. Its tokens are counted by its length."""
    with connections.reader("append") as connection:
        number = payload.shared(connection, sha256, size)
        row = connection.execute("SELECT wide FROM payload WHERE id = ?", (number,)).fetchone() if number else None
    if row is None or row[0] is None:
        return None
    widths.wide, widths.tokens = int(row[0]), -(-size // 4)
    return Written(int(number or 0), sha256, size, widths.wide, widths.tokens)


def _packed(more: dict[str, Any] | None) -> str | None:
    return None if more is None else json.dumps(more, separators=(",", ":"), ensure_ascii=False)
