"""What can go wrong with a session store, each with a class and a stable code; messages say what, where, what to do.

`told` turns what SQLite and the system raise into them. Must not know what a store holds. Tests:
tests/bounded/sessions/test_errors.py.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from types import TracebackType
from typing import Literal

_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _TOOBIG, _NOTADB = 5, 6, 8, 10, 11, 13, 14, 18, 26
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LEAST_ROOM = 1 << 20


class StoreError(Exception):
    """Something is wrong with a session store; nothing that was stored is lost by it. `code` is stable."""

    code = "store"


class Busy(StoreError):
    """Somebody else held the store for longer than a write waits. Nothing was written: try again."""

    code = "busy"


class Corrupt(StoreError):
    """The file is damaged. It was left as it is."""

    code = "corrupt"


class DiskFull(StoreError):
    """No room on the disk. What was written before is still there, this write is not."""

    code = "disk_full"


class TooLarge(StoreError):
    """More than a bound allows."""

    code = "too_large"


class NotOurs(StoreError):
    """The file is no session store of this program, or of a newer version."""

    code = "not_ours"


class TooNew(NotOurs):
    """The store was written by a newer version."""

    code = "too_new"


class Missing(StoreError):
    """There is no such store, session, item or payload."""

    code = "missing"


class Unwritable(StoreError):
    """The store may not be written."""

    code = "unwritable"


class Closed(StoreError):
    """The store was closed."""

    code = "closed"


class told:  # noqa: N801  read as a word: `with told(path, "append"):`
    """In its block, what SQLite and the system raise becomes a StoreError that names the store and what was done."""

    __slots__ = ("doing", "path")

    def __init__(self, path: str, doing: str) -> None:
        self.path = path
        self.doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if isinstance(error, sqlite3.Error | OSError):
            raise translated(error, self.path, self.doing) from error
        return False


def translated(error: sqlite3.Error | OSError, path: str, doing: str) -> StoreError:
    """The same trouble in our words."""
    if isinstance(error, OSError):
        return _of_system(error, path, doing)
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    where = f"{doing}: session store {path}"
    if primary in (_BUSY, _LOCKED):
        return Busy(f"{where} is held by another writer; nothing was written. Try again, or look who holds it (fuser)")
    if primary == _FULL or (primary == _IOERR and _no_room(path)):
        return DiskFull(f"{where}: no room on its disk; this write was undone. Make room or prune sessions")
    if primary in (_CORRUPT, _NOTADB):
        return Corrupt(f"{where} is damaged ({error}); the file was left as it is. Restore a backup beside it")
    if primary in (_READONLY, _CANTOPEN, 3, 23):
        return Unwritable(f"{where} cannot be written ({error}). Check owner and mode of the file and its folder")
    if primary == _TOOBIG:
        return TooLarge(f"{where}: a value is larger than the database takes ({error}). Store it as a payload")
    return StoreError(f"{where}: {error}. Nothing was changed; report this if it comes again")


def _of_system(error: OSError, path: str, doing: str) -> StoreError:
    name = error.filename or path
    if error.errno in _NO_ROOM:
        return DiskFull(f"{doing}: session store {path}: no room on the disk for {name}. Make room or prune sessions")
    if error.errno == errno.ENOENT:
        return Missing(f"{doing}: {name} is not there. Check the path")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP):
        return Unwritable(f"{doing}: {name}: {error.strerror}. Check its owner, its mode, and that it is no link")
    return StoreError(f"{doing}: session store {path}: {error}. Nothing was changed")


def need_room(path: str, size: int) -> None:
    """Raises DiskFull unless so many bytes are free: a payload stops before the room that deleting needs is gone,
    too."""
    if _room(path) < size:
        raise DiskFull(
            f"append: session store {path}: less than {size:,} bytes are free on its disk, nothing was stored. "
            "Make room or prune sessions"
        )


def _no_room(path: str) -> bool:
    """Is the disk full? An I/O error of the shared-memory file does not say it."""
    return _room(path) < _LEAST_ROOM


def _room(path: str) -> int:
    try:
        room = os.statvfs(os.path.dirname(path) or ".")
    except OSError:
        return 1 << 62
    return room.f_bavail * room.f_frsize
