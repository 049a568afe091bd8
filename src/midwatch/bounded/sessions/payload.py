"""Bodies that are too long for their row: written in rows of 256 KiB, read a stretch at a time, shared by hash.

A payload is written in transactions of at most 4 MiB and becomes complete together with the item that refers to it,
so a writer that dies leaves an orphan, never an item with half a body. Nobody holds the write lock while a slow
source is read. Reading needs no open cursor. Must not know sessions. Tests: tests/bounded/sessions/test_payload.py.
"""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple, Protocol

from midwatch.bounded.sessions import adopting
from midwatch.bounded.sessions.connect import Connections
from midwatch.bounded.sessions.errors import Missing, StoreError, TooLarge, need_room, told
from midwatch.bounded.sessions.wide import Widths
from midwatch.policy import defaults_sessions as d
from midwatch.policy.defaults_bounded import PAYLOAD_CHUNK

_TOUCH = "UPDATE payload SET touched = ?, size = ? WHERE id = ?"
_CHUNK = "INSERT INTO chunk (payload, seq, data) VALUES (?, ?, ?)"


class Source(Protocol):
    """What a body can be read from: binary, at most as many bytes as asked for."""

    def read(self, size: int, /) -> bytes: ...


Body = str | bytes | bytearray | memoryview | Source


class Written(NamedTuple):
    """A payload whose bytes are in the store; `finish` makes it an item's."""

    id: int
    sha256: bytes
    size: int
    wide: int
    tokens: int


def pieces(body: Body, size: int = PAYLOAD_CHUNK) -> Iterator[bytes | memoryview]:
    """The body in pieces of at most `size` bytes; a long text is never encoded as a whole."""
    if isinstance(body, str):
        step = size // 4
        for at in range(0, len(body), step):
            yield body[at : at + step].encode("utf-8", "backslashreplace")
    elif isinstance(body, bytes | bytearray | memoryview):
        view = memoryview(body).cast("B")
        for at in range(0, len(view), size):
            yield view[at : at + size]
    else:
        while data := body.read(size):
            yield data


def rows(body: Body) -> Iterator[bytes]:
    """The same in the store's rows: each but the last exactly full."""
    kept = bytearray()
    for piece in pieces(body):
        kept += piece
        while len(kept) >= PAYLOAD_CHUNK:
            yield bytes(kept[:PAYLOAD_CHUNK])
            del kept[:PAYLOAD_CHUNK]
    if kept:
        yield bytes(kept)


def write(connections: Connections, body: Body, widths: Widths) -> Written:
    """Store the bytes. Until `finish` they are an orphan of this process. Raises StoreError; then they are swept."""
    in_memory = isinstance(body, str | bytes | bytearray | memoryview)
    most = (d.BATCH_BYTES if in_memory else d.STREAM_BYTES) // PAYLOAD_CHUNK
    payload, seq, size, digest, source = 0, 0, 0, hashlib.sha256(), rows(body)
    while True:
        try:
            batch: Iterable[bytes] = islice(source, most)
            batch = batch if in_memory else list(batch)  # nobody waits for a slow source while we hold the lock
            need_room(connections.path, d.ROOM_LEFT + 2 * most * PAYLOAD_CHUNK)
            with connections.transaction("append a payload") as connection:
                payload = payload or _begin(connection)
                before = seq
                for data in batch:
                    connection.execute(_CHUNK, (payload, seq, data))
                    digest.update(data)
                    widths.feed(data)
                    size, seq = size + len(data), seq + 1
                if size > d.PAYLOAD_MOST:
                    raise TooLarge(f"append: a body has at most {d.PAYLOAD_MOST:,} bytes; keep it in a file")
                connection.execute(_TOUCH, (time.time(), size, payload))
        except BaseException:
            _abandon(connections, payload)
            raise
        if seq - before < most:
            widths.end()
            return Written(payload, digest.digest(), size, widths.wide, widths.tokens)


def _begin(connection: sqlite3.Connection) -> int:
    statement = "INSERT INTO payload (storage, touched, writer) VALUES ('chunks', ?, ?)"
    return int(connection.execute(statement, (time.time(), _myself())).lastrowid or 0)


@contextmanager
def given_up(connections: Connections, written: Written | None) -> Iterator[None]:
    """An error in the block makes a payload that was written for it an orphan at once."""
    try:
        yield
    except BaseException:
        _abandon(connections, written.id if written else 0)
        raise


def _abandon(connections: Connections, payload: int) -> None:
    if payload:
        try:
            with connections.transaction("give a payload up") as connection:
                connection.execute("UPDATE payload SET writer = NULL, touched = 0 WHERE id = ?", (payload,))
        except StoreError:  # then it is swept when this process is gone, or after an hour
            pass


def finish(connection: sqlite3.Connection, written: Written) -> int:
    """In the item's transaction: the number its row refers to, an equal one's if there is one. Then ours is an
    orphan."""
    if found := shared(connection, written.sha256, written.size):
        return found
    connection.execute(
        "UPDATE payload SET complete = 1, sha256 = ?, wide = ?, writer = NULL WHERE id = ?",
        (written.sha256, written.wide, written.id),
    )
    return written.id


def shared(connection: sqlite3.Connection, sha256: bytes, size: int, storage: str = "chunks") -> int | None:
    """A complete payload with the same bytes."""
    query = "SELECT id FROM payload WHERE complete = 1 AND sha256 = ? AND size = ? AND storage = ?"
    row = connection.execute(query, (sha256, size, storage)).fetchone()
    return int(row[0]) if row else None


def adopt(connection: sqlite3.Connection, path: str, size: int, sha256: bytes) -> int:
    """A file that stays where it is becomes a payload: nothing is copied."""
    if found := shared(connection, sha256, size, "file"):
        connection.execute("UPDATE payload SET path = ? WHERE id = ?", (path, found))
        return found
    statement = "INSERT INTO payload (sha256, size, complete, storage, touched, path) VALUES (?, ?, 1, 'file', ?, ?)"
    return int(connection.execute(statement, (sha256, size, time.time(), path)).lastrowid or 0)


class Reader(io.RawIOBase):
    """A body as a file: read, seek, tell. Holds one row of it at most; no query stays open between two reads."""

    def __init__(self, connections: Connections, payload: int) -> None:
        super().__init__()
        self._connections = connections
        self._payload = payload
        self._at = 0
        self._row: tuple[int, bytes] = (-1, b"")
        query = "SELECT size, storage, path FROM payload WHERE id = ?"
        with connections.reader("read a payload") as connection:
            row = connection.execute(query, (payload,)).fetchone()
        if row is None:
            raise Missing(f"read: payload {payload} is not in {connections.path} any more. Its session was deleted")
        self.size, self._path = int(row[0]), row[2] if row[1] == "file" else None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._at, self.size)[whence]
        self._at = max(0, min(self.size, base + offset))
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, and then never more than 256 KiB at once; without a size all that is left."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(PAYLOAD_CHUNK), b""))
        room = min(self.size - self._at, size, PAYLOAD_CHUNK)
        if room <= 0:
            return b""
        data = self._of_file(room) if self._path else self._of_rows(room)
        self._at += len(data)
        return data

    def _of_rows(self, room: int) -> bytes:
        seq, inside = divmod(self._at, PAYLOAD_CHUNK)
        if self._row[0] != seq:
            self._row = (-1, b"")
            with self._connections.reader("read a payload") as connection:
                row = connection.execute(
                    "SELECT data FROM chunk WHERE payload = ? AND seq = ?", (self._payload, seq)
                ).fetchone()
            if row is None:
                raise Missing(f"read: payload {self._payload} of {self._connections.path} was deleted meanwhile")
            self._row = (seq, row[0])
        return self._row[1][inside : inside + room]

    def _of_file(self, room: int) -> bytes:
        assert self._path is not None
        with told(self._path, "read a spool that the session refers to"):
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                data = os.pread(fd, room, self._at)
            finally:
                os.close(fd)
        if not data:
            raise StoreError(f"read: {self._path} is shorter than the {self.size} bytes that were adopted")
        return data


def sweep(connections: Connections, *, age: float = d.ORPHAN_S) -> bool:
    """Remove one step of a payload that nobody refers to. False: there is none. Whoever still writes one keeps it."""
    file = None
    with connections.transaction("remove a payload") as connection:
        rows_ = connection.execute(
            "SELECT id, complete, writer, touched, path FROM payload WHERE refs = 0 ORDER BY touched LIMIT 20"
        ).fetchall()
        for number, complete, writer, touched, path in rows_:
            if not complete and writer and _writes_still(writer, time.time() - touched, age):
                continue
            connection.execute("UPDATE payload SET complete = 0, writer = NULL WHERE id = ?", (number,))
            gone = connection.execute(
                "DELETE FROM chunk WHERE id IN (SELECT id FROM chunk WHERE payload = ? ORDER BY seq LIMIT ?)",
                (number, d.SWEEP_CHUNKS),
            ).rowcount
            if gone < d.SWEEP_CHUNKS:
                connection.execute("DELETE FROM payload WHERE id = ?", (number,))
                file = path
            break
        else:
            return False
    if file is not None and adopting.is_own(connections.path, file):
        adopting.remove(file)
    return True


def _myself() -> str:
    return f"{os.getpid()}:{_started(os.getpid())}"


def _writes_still(writer: str, silent: float, age: float) -> bool:
    pid, _, started = writer.partition(":")
    if silent > age:
        return False
    return not pid.isdigit() or _started(int(pid)) == started


def _started(pid: int) -> str:
    """When the process began, in the kernel's words; "?" where that cannot be read, "" when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except OSError:
            pass
        return "?"
