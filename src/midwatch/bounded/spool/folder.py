"""The spool folder: ours, 0700, no link; everything in it is reached through its descriptor, 0600, never through links.

Opened anew for each operation: nothing is inherited by a fork, no descriptor is held between calls. One lock file, held
for milliseconds, orders those who make, reserve and remove. Must not know what the files contain. Tests:
tests/bounded/test_spool_store.py.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from midwatch.bounded.spool.errors import SpoolError
from midwatch.policy import defaults_bounded as d
from midwatch.record.files import make_folder, write_all

LOCK = "lock"
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_PAUSE = 0.005


class Folder:
    """One folder of spools."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def opened(self, *, make: bool = False) -> Iterator[int]:
        """Its descriptor. `make`: it is made when it is missing. Raises SpoolError("folder")."""
        try:
            if make:
                make_folder(self.path)
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise SpoolError("folder", f"cannot use the spool folder {self.path}: {error.strerror}") from None
        try:
            self._check(fd)
            yield fd
        finally:
            os.close(fd)

    def _check(self, fd: int) -> None:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid():
            raise SpoolError("folder", f"the spool folder {self.path} belongs to user {found.st_uid}, not to us")
        if stat.S_IMODE(found.st_mode) & 0o077:
            try:
                os.fchmod(fd, 0o700)
            except OSError as error:
                text = f"the spool folder {self.path} is open to others and cannot be closed: {error.strerror}"
                raise SpoolError("folder", text) from None

    def exists(self) -> bool:
        """Is there anything to read? Raises SpoolError("folder") when that cannot be seen."""
        try:
            return stat.S_ISDIR(os.stat(self.path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise SpoolError("folder", f"cannot use the spool folder {self.path}: {error.strerror}") from None


def create(folder: int, name: str) -> int:
    """A new file, open for reading and writing; raises FileExistsError, whatever stands there."""
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE, 0o600, dir_fd=folder)


def open_file(folder: int, name: str, *, write: bool = False) -> int:
    """One of our files; raises OSError (ELOOP for a link)."""
    fd = os.open(name, (os.O_RDWR if write else os.O_RDONLY) | _SAFE, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{name} is not a regular file")
    return fd


def read_file(folder: int, name: str, most: int) -> bytes:
    """At most `most` bytes of a small file."""
    fd = open_file(folder, name)
    try:
        return os.read(fd, most)
    finally:
        os.close(fd)


def replace_file(folder: int, name: str, data: bytes) -> None:
    """In one step: a reader sees the old content or the new. Raises OSError, then the old one stays."""
    draft = f"{name}.new"
    remove(folder, draft)
    fd = create(folder, draft)
    try:
        write_all(fd, data)
    except OSError:
        remove(folder, draft)
        raise
    finally:
        os.close(fd)
    os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)


def remove(folder: int, name: str) -> bool:
    """Was there such a file?"""
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        return False
    return True


@contextmanager
def locked(folder: int, patience: float = d.SPOOL_LOCK) -> Iterator[None]:
    """Alone among all processes that use this folder. Raises SpoolError("busy" or "disk")."""
    try:
        fd = os.open(LOCK, os.O_RDWR | os.O_CREAT | _SAFE, 0o600, dir_fd=folder)
    except OSError as error:
        raise SpoolError("disk", f"cannot write into the spool folder: {error.strerror}") from None
    try:
        _lock(fd, patience)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, patience: float) -> None:
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                text = f"somebody has held the spool folder's lock for {patience:g} s"
                raise SpoolError("busy", text) from None
        time.sleep(_PAUSE)


def claim(fd: int) -> None:
    """Mark a spool's data as being written, for as long as this descriptor is open."""
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def claimed(fd: int) -> bool:
    """Does somebody write it?"""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False
