"""Bringing an older store up to this version, in place, so that it is a store at every moment or says that it is
not.

First the room on the disk is checked and a dated backup made through SQLite's backup interface, 256 pages at a
time. Then 200 rows a transaction, with the place kept in the same transaction: killed anywhere, the next open goes
on there. A failure stops with the backup's name; nothing is ever replaced by an empty store. Tests:
tests/bounded/sessions/test_migrate.py.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from midwatch.bounded.sessions import payload, schema, wide
from midwatch.bounded.sessions.connect import Connections, connect
from midwatch.bounded.sessions.errors import DiskFull, NotOurs, StoreError, told
from midwatch.policy import defaults_sessions as d
from midwatch.policy.defaults_bounded import ITEM_INLINE

Progress = Callable[[str], None]
_V0 = {"session", "item"}  # session(id TEXT, title, created), item(id, session, pos, kind, role, at, body)


def migrate(path: str, version: int, say: Progress) -> None:
    """From `version` to the present one. Raises StoreError; then the store is as far as it got, and its backup is
    whole."""
    if version == schema.VERSION:
        return
    if version != 0:
        raise NotOurs(f"open: {path} has version {version}, which no release has written. Nothing was done with it")
    with told(path, "migrate"), _alone(path):
        connections = Connections(path)
        try:
            if _version(connections) == schema.VERSION:  # another process was quicker
                return
            with connections.reader("migrate") as connection:
                names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            if "v0_item" not in names:
                if not names >= _V0:
                    raise NotOurs(f"open: {path} has no version and not the tables of one. Nothing was done with it")
                kept = backup(path, say)
                _begin(connections, kept)
            _half_written(connections)
            _sessions(connections)
            while moved := _items(connections):
                say(f"migrate {path}: item {moved}")
            _end(connections)
        finally:
            connections.close()


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """One process migrates, others wait and find it done."""
    lock = os.open(f"{path}.migrating", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        with suppress(FileNotFoundError):  # who waited for us has the same file, and may have removed it
            os.unlink(f"{path}.migrating")
    finally:
        os.close(lock)


def _version(connections: Connections) -> int:
    with connections.reader("migrate") as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def backup(path: str, say: Progress) -> str:
    """A whole copy beside the store, by its name and the time; returns its path. Raises DiskFull before anything is
    written."""
    size = os.stat(path).st_size
    room = os.statvfs(os.path.dirname(path) or ".")
    if room.f_bavail * room.f_frsize < size * d.MIGRATE_ROOM:
        raise DiskFull(
            f"migrate: {path} has {size:,} bytes and needs {int(size * d.MIGRATE_ROOM):,} more while it is brought "
            f"up to date, {room.f_bavail * room.f_frsize:,} are free. Nothing was done; make room and open it again"
        )
    target = f"{path}.{time.strftime('%Y%m%d-%H%M%S')}.backup"
    say(f"migrate {path}: backup to {target}")
    source = connect(path, d.READER_CACHE, readonly=True)
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    copy = sqlite3.connect(target)
    try:
        source.backup(copy, pages=d.BACKUP_PAGES, sleep=0.0)
        copy.execute("PRAGMA journal_mode = DELETE")
    except BaseException:
        copy.close()
        os.unlink(target)
        raise
    finally:
        copy.close()
        source.close()
    return target


def _begin(connections: Connections, kept: str) -> None:
    """The old tables get other names and the new ones their places, in one transaction."""
    with connections.writer("migrate") as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        old = "ALTER TABLE session RENAME TO v0_session;\nALTER TABLE item RENAME TO v0_item;\n"
        note = "INSERT INTO meta VALUES ('migrated', 0);\n"
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{old}{schema.script(0)}{note}COMMIT;")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('backup', ?)", (kept,))
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _half_written(connections: Connections) -> None:
    """A long body that was being written when a migration was killed: its pages are used again. Nobody else writes."""
    with connections.transaction("migrate") as connection:
        connection.execute("UPDATE payload SET writer = NULL WHERE refs = 0")
    while payload.sweep(connections):
        pass


def _sessions(connections: Connections) -> None:
    with connections.transaction("migrate") as connection:
        connection.execute(
            "INSERT INTO session (ref, created, updated, title) "
            "SELECT o.id, o.created, o.created, COALESCE(o.title, '') "
            "FROM v0_session o WHERE NOT EXISTS (SELECT 1 FROM session s WHERE s.ref = o.id)"
        )


def _items(connections: Connections) -> int:
    """The next rows, at most 200 and at most one long body; returns the old number of the last one, 0 when all are
    done."""
    with connections.transaction("migrate") as connection:
        done = connection.execute("SELECT value FROM meta WHERE name = 'migrated'").fetchone()[0]
        rows = connection.execute(
            "SELECT o.id, s.id, o.pos, o.kind, o.role, o.at FROM v0_item o JOIN session s ON s.ref = o.session "
            "WHERE o.id > ? ORDER BY o.id LIMIT ?", (done, d.BATCH_ROWS)
        ).fetchall()  # fmt: skip
        long = None
        for row in rows:
            with connection.blobopen("v0_item", "body", row[0], readonly=True) as blob:
                if len(blob) > ITEM_INLINE:
                    long = row
                    break
                _put(connection, row, blob.read(), None, len(blob), len(blob))
            done = row[0]
        connection.execute("UPDATE meta SET value = ? WHERE name = 'migrated'", (done,))
    return _long(connections, long) if long else (rows[-1][0] if rows else 0)


def _long(connections: Connections, row: tuple[int, int, int, str, str, float]) -> int:
    """One body that leaves its row: written like any payload, read by pages."""
    widths = wide.Widths()
    written = payload.write(connections, _Old(connections, row[0]), widths)
    with connections.transaction("migrate") as connection:
        key = payload.finish(connection, written)
        _put(connection, row, None, key, written.size, written.wide)
        connection.execute("UPDATE meta SET value = ? WHERE name = 'migrated'", (row[0],))
    return row[0]


class _Old:
    """A body in its old row, as a source."""

    def __init__(self, connections: Connections, row: int) -> None:
        self._connections, self._row, self._at = connections, row, 0

    def read(self, size: int, /) -> bytes:
        with self._connections.reader("migrate") as connection:
            connection.execute("SELECT 1 FROM v0_item LIMIT 1").fetchall()  # blobopen does not learn of renamed tables
            with connection.blobopen("v0_item", "body", self._row, readonly=True) as blob:
                blob.seek(self._at)
                data = blob.read(size)
        self._at += len(data)
        return data


def _put(
    connection: sqlite3.Connection, row: tuple[int, int, int, str, str, float], body: bytes | str | None,
    key: int | None, size: int, width: int,
) -> None:  # fmt: skip
    _, session, pos, kind, role, at = row
    if body is not None:
        data = body.encode("utf-8", "backslashreplace") if isinstance(body, str) else body
        widths = wide.Widths()
        widths.feed(data, last=True)
        body, width = data, widths.wide
    upto = connection.execute("SELECT upto FROM session WHERE id = ?", (session,)).fetchone()[0]
    connection.execute(
        "INSERT INTO item (session, pos, size, wide, tokens, upto, at, payload, kind, role, mime, agent, name, calls, "
        "body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'text/plain', '', '', '', ?)",
        (session, pos, size, width, -(-size // 4), upto + size, at, key, kind, role, body),
    )
    connection.execute("UPDATE session SET updated = MAX(updated, ?) WHERE id = ?", (at, session))


def _end(connections: Connections) -> None:
    """Nothing may be missing; then the old rows go, in steps, and the version is written last."""
    with connections.reader("migrate") as connection:
        old = connection.execute("SELECT COUNT(*) FROM v0_item o JOIN session s ON s.ref = o.session").fetchone()[0]
        new = connection.execute("SELECT COUNT(*) FROM item").fetchone()[0]
    if new < old:
        raise StoreError(f"migrate: {connections.path}: {old} items became {new}. Nothing was removed; keep the backup")
    while True:
        with connections.transaction("migrate") as connection:
            gone = connection.execute(
                "DELETE FROM v0_item WHERE id IN (SELECT id FROM v0_item ORDER BY id DESC LIMIT ?)", (d.BATCH_ROWS,)
            ).rowcount
            if gone < d.BATCH_ROWS:
                for word in ("DROP TABLE v0_item", "DROP TABLE v0_session", f"PRAGMA user_version = {schema.VERSION}"):
                    connection.execute(word)
                return
