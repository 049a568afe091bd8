"""Opening and making the file of a store: whose it is is told from its header before SQLite touches it.

A damaged, foreign or newer file is left exactly as it is and never replaced by an empty one; a log without its
store is refused. A new file is 0600 and made in one transaction, so that several processes may make it at once.
Must not migrate. Tests: tests/bounded/sessions/test_open.py.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import NamedTuple

from midwatch.bounded.sessions import schema
from midwatch.bounded.sessions.connect import connect, is_open
from midwatch.bounded.sessions.errors import Corrupt, Missing, NotOurs, TooNew, Unwritable, told
from midwatch.policy import defaults_sessions as d
from midwatch.record.files import make_folder

_MAGIC = b"SQLite format 3\0"
_FILE_MODE = 0o600


class Header(NamedTuple):
    """What the first 100 bytes say. `size` 0: an empty file."""

    size: int
    application: int
    version: int


def prepare(path: str, *, create: bool, readonly: bool) -> Header:
    """Check the file, or make it. Afterwards it is a store of ours, of this version or an older one. Raises
    StoreError."""
    with told(path, "open"):
        try:
            header = look(path)
        except FileNotFoundError:
            _refuse_lone_log(path)
            if not create or readonly:
                raise Missing(f"open: no session store at {path}. Check the path, or let it be made (create)") from None
            header = _new_file(path)
        if header.size == 0:
            _refuse_lone_log(path)
            if not create or readonly:
                raise NotOurs(f"open: {path} is empty, so it is no session store. Nothing was done with it")
            _make(path)
            header = look(path)
        _check(path, header)
        return header


def look(path: str) -> Header:
    """Whose file it is, read with plain reads. Raises OSError, Corrupt, NotOurs.

    Not when this process has it open: closing any descriptor of it would drop the locks that SQLite holds.
    """
    if opened := is_open(path):
        return _ask(opened)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise NotOurs(f"open: {path} is no regular file. Nothing was done with it")
        head = os.pread(fd, 100, 0)
    finally:
        os.close(fd)
    if not head:
        return Header(0, 0, 0)
    if len(head) < 100 or not head.startswith(_MAGIC):
        raise Corrupt(
            f"open: {path} does not begin like a database: damaged, or something else. It was left as it is. "
            "Restore a backup beside it, or name another file"
        )
    page = int.from_bytes(head[16:18], "big") or 65536
    if page < 512 or page & (page - 1) or head[21:24] != b"\x40\x20\x20":
        raise Corrupt(f"open: the first page of {path} is damaged. It was left as it is. Restore a backup beside it")
    return Header(facts.st_size, int.from_bytes(head[68:72], "big"), int.from_bytes(head[60:64], "big"))


def _ask(path: str) -> Header:
    """The same through SQLite."""
    connection = connect(path, d.READER_CACHE, readonly=True)
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    finally:
        connection.close()
    return Header(os.stat(path).st_size, application, version)


def _check(path: str, header: Header) -> None:
    if header.application != schema.APPLICATION:
        raise NotOurs(
            f"open: {path} is a database of another program; nothing was done with it. "
            "'midwatch sessions list' reads stores of agents it knows; name another file for a new store"
        )
    if header.version > schema.VERSION:
        raise TooNew(
            f"open: {path} has version {header.version}, this program knows up to {schema.VERSION}; "
            "nothing was done with it. Update Midwatch"
        )
    read_schema(path)


def read_schema(path: str) -> set[str]:
    """The tables' names, read through a connection that cannot write. Raises Corrupt and the like."""
    with told(path, "open"):
        connection = connect(path, d.READER_CACHE, readonly=True)
        try:
            names = {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            for name in sorted(names & {"session", "item", "payload"}):
                connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchall()  # noqa: S608  three words of ours
        finally:
            connection.close()
    return names


def _refuse_lone_log(path: str) -> None:
    try:
        size = os.stat(f"{path}-wal").st_size
    except OSError:
        return
    if size:
        raise Corrupt(
            f"open: {path} is gone or empty, but its log {path}-wal holds {size} bytes. Nothing was made in its place. "
            "Restore the file beside its log, or move the log away"
        )


def _new_file(path: str) -> Header:
    from pathlib import Path

    make_folder(Path(path).parent)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE))
    except FileExistsError:  # another process was quicker; or a dangling link
        if os.path.islink(path):
            raise Unwritable(f"open: {path} is a symbolic link to nothing. Name the file itself") from None
    return look(path)


def _make(path: str) -> None:
    """The tables, in one exclusive transaction; who comes second finds them there."""
    connection = sqlite3.connect(path, timeout=d.BUSY_S, isolation_level=None)
    try:
        for pragma in ("page_size = 4096", "auto_vacuum = INCREMENTAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")
        try:
            connection.executescript(f"BEGIN EXCLUSIVE;\n{schema.script()}COMMIT;")
        except sqlite3.OperationalError:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if not connection.execute("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'meta'").fetchone()[0]:
                raise
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
