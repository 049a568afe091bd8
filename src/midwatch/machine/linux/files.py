"""Small kernel files: read, write, count. Nothing here interprets a byte.

/proc and cgroup files are read with one open/read/close (7 us); a missing process is an answer (None), not an
exception, because between any two system calls a process may be gone. Must not know what the files mean.
"""

from __future__ import annotations

import os

_BLOCK = 65536


def read(path: str, most: int = 1 << 22) -> bytes:
    """The content of a kernel file, at most `most` bytes. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts: list[bytes] = []
        while most > 0:
            block = os.read(fd, min(_BLOCK, most))
            if not block:
                break
            parts.append(block)
            most -= len(block)
        return b"".join(parts)
    finally:
        os.close(fd)


def read_record(path: str) -> bytes | None:
    """A file that fits in one read (stat, statm, cgroup.events); None when it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, 8192)
    except OSError:
        return None
    finally:
        os.close(fd)


def read_or_none(path: str) -> bytes | None:
    """The content, or None when the file is gone or not ours to read."""
    try:
        return read(path)
    except OSError:
        return None


def write(path: str, text: str) -> None:
    """One write(2) of a whole value, never creating the file. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
