"""A streamed answer: its deltas are written together, twice a second or every 4 KiB, and become one item at the
end.

Each write appends one small row, so that an answer costs its own bytes twice, whatever the session holds. A crash
costs the last half second; what is left is found by `Session.drafts` and can be gone on with. Must not know the
network. Tests: tests/bounded/sessions/test_store.py.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from midwatch.bounded.sessions import values
from midwatch.bounded.sessions.connect import Connections
from midwatch.bounded.sessions.errors import Missing, StoreError
from midwatch.bounded.sessions.payload import Body
from midwatch.bounded.sessions.values import Item
from midwatch.policy import defaults_sessions as d

Finish = Callable[[Body, Callable[[sqlite3.Connection, int], None]], Item]


class Draft:
    """`add` deltas, then `done` for the item, or `drop`. Leaving a `with` block by an error keeps what was written."""

    def __init__(
        self, connections: Connections, session: str, kind: str, role: str, finish: Finish, stream: str
    ) -> None:
        self.stream = stream or os.urandom(16).hex()
        self._connections = connections
        self._session = session
        self._kind, self._role = kind, role
        self._finish = finish
        self._lock = threading.Lock()
        self._parts: list[str] = []
        self._size = 0
        self._since = 0.0  # when the oldest unwritten delta came
        self._seq = _next_seq(connections, session, stream) if stream else 0
        self._open = True

    def add(self, delta: str) -> None:
        """Take a piece of the answer. Written at once when 4 KiB or half a second are together."""
        now = time.monotonic()
        with self._lock:
            if not self._open:
                raise StoreError(f"draft {self.stream} of session {self._session} is done: start another one")
            if not self._parts:
                self._since = now
            self._parts.append(delta)
            self._size += len(delta)
            if self._size >= d.DRAFT_BYTES or now - self._since >= d.DRAFT_S:
                self._flush()

    @property
    def open(self) -> bool:
        """Neither done nor dropped."""
        return self._open

    def due(self, now: float) -> None:
        """Write what has waited for half a second, or will have at the next look."""
        with self._lock:
            if not self._open or not self._parts or now - self._since < d.DRAFT_S - d.DRAFT_LOOK:
                return
            try:
                self._flush()
            except Missing:  # its session was deleted: said once
                self._open = False
                raise

    def done(self) -> Item:
        """The whole answer as one item; the draft is gone in the same transaction."""
        with self._lock:
            self._flush()
            self._open = False
            source = Text(self._connections, self._session, self.stream)
            return self._finish(source, self._remove)

    def drop(self) -> None:
        """Forget it."""
        with self._lock:
            self._open = False
            self._parts.clear()
            with self._connections.transaction("drop a draft") as connection:
                row = connection.execute("SELECT id FROM session WHERE ref = ?", (self._session,)).fetchone()
                if row:
                    self._remove(connection, row[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._open:
            self.done()
        elif self._open:
            with self._lock:
                self._flush()
                self._open = False

    def _flush(self) -> None:
        if not self._parts:
            return
        data = "".join(self._parts).encode("utf-8", "backslashreplace")
        with self._connections.transaction("write a draft") as connection:
            row = connection.execute(
                "SELECT id FROM session WHERE ref = ? AND deleted = 0", (self._session,)
            ).fetchone()
            if row is None:
                raise Missing(f"draft: session {self._session!r} is not in {self._connections.path}: deleted?")
            connection.execute(
                "INSERT INTO draft (session, stream, seq, at, kind, role, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row[0], self.stream, self._seq, time.time(), self._kind, self._role, data),
            )
        self._seq += 1
        self._parts.clear()
        self._size = 0

    def _remove(self, connection: sqlite3.Connection, session: int) -> None:
        connection.execute("DELETE FROM draft WHERE session = ? AND stream = ?", (session, self.stream))


class Text:
    """What was written of a draft, as a source: one row in memory at a time."""

    def __init__(self, connections: Connections, session: str, stream: str) -> None:
        self._connections = connections
        self._key = (session, stream)
        self._seq = -1
        self._kept = b""

    def read(self, size: int, /) -> bytes:
        if not self._kept:
            with self._connections.reader("read a draft") as connection:
                row = connection.execute(
                    "SELECT d.seq, d.data FROM draft d JOIN session s ON s.id = d.session "
                    "WHERE s.ref = ? AND d.stream = ? AND d.seq > ? ORDER BY d.seq LIMIT 1",
                    (*self._key, self._seq),
                ).fetchone()
            if row is None:
                return b""
            self._seq, self._kept = row
        data, self._kept = self._kept[:size], self._kept[size:]
        return data


def left(connections: Connections, session: str) -> list[values.Draft]:
    """Unfinished answers of a session, the oldest first; at most 200."""
    query = (
        "SELECT d.stream, MIN(d.kind), MIN(d.role), SUM(LENGTH(d.data)), MAX(d.at) FROM draft d "
        "JOIN session s ON s.id = d.session WHERE s.ref = ? GROUP BY d.stream ORDER BY 5 LIMIT ?"
    )
    with connections.reader("read drafts") as connection:
        rows = connection.execute(query, (session, d.BATCH_ROWS)).fetchall()
    return [values.Draft(stream=one[0], kind=one[1], role=one[2], bytes=one[3], at=one[4]) for one in rows]


def _next_seq(connections: Connections, session: str, stream: str) -> int:
    with connections.reader("read a draft") as connection:
        row = connection.execute(
            "SELECT MAX(d.seq) FROM draft d JOIN session s ON s.id = d.session WHERE s.ref = ? AND d.stream = ?",
            (session, stream),
        ).fetchone()
    if row[0] is None:
        raise Missing(f"draft: no draft {stream!r} in session {session!r}. Session.drafts() names those that are left")
    return int(row[0]) + 1
