"""How we create files and folders: 0600 and 0700, never through somebody else's symbolic link, never
inherited.

Every file that we write is opened here. Must not know what is in them. Tests: tests/record/test_files.py.
"""

from __future__ import annotations

import os
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # NONBLOCK: a FIFO planted at our path must not hang us


def make_folder(path: Path) -> None:
    """Create `path` and its parents as needed; those that we create are 0700 whatever the umask."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        os.mkdir(path, FOLDER_MODE)
    except FileExistsError:
        if not path.is_dir():
            raise


def open_append(path: str | Path) -> int:
    """Open for appending, creating it; raises OSError (ELOOP for a symbolic link)."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _SAFE, FILE_MODE)


def open_update(path: str | Path) -> int:
    """Open for reading and writing in place, creating it."""
    return os.open(path, os.O_RDWR | os.O_CREAT | _SAFE, FILE_MODE)


def open_fresh(path: str | Path) -> int:
    """Open an empty file for writing; anything that stood there (a link, a leftover) is removed first."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE
    try:
        return os.open(path, flags, FILE_MODE)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, flags, FILE_MODE)


def open_read(path: str | Path) -> int:
    """Open one of our files for reading; never blocks on a planted FIFO."""
    return os.open(path, os.O_RDONLY | _SAFE)


def write_all(fd: int, data: bytes) -> None:
    """Write everything or raise OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_fresh(path: str | Path, data: bytes) -> None:
    """A file of ours with exactly this content; whatever stood there is gone. Raises OSError."""
    fd = open_fresh(path)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def replace(path: str | Path, data: bytes) -> None:
    """The same in one step: a reader sees the old content or the new. Raises OSError, then the old one stays."""
    draft = f"{path}.new"
    write_fresh(draft, data)
    os.rename(draft, path)


def read_small(path: str | Path, limit: int) -> bytes:
    """At most `limit` bytes of a small file of ours, in one go."""
    fd = open_read(path)
    try:
        return os.read(fd, limit)
    finally:
        os.close(fd)
