"""Wide pipes, as many as are fair: when a user's pipes together pass a line of the kernel's, each new one of that user,
in whatever program, shrinks to 8 KiB. All of ours stay below a quarter of it.

Must not know what runs through them. Tests: tests/bounded/test_pipes.py.
"""

from __future__ import annotations

import fcntl
import os
import threading

from midwatch.policy import defaults_bounded as d

_SET_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 0)
_SOFT = "/proc/sys/fs/pipe-user-pages-soft"
_PAGES = 16384  # the kernel's default, where it is not said or switched off
_lock = threading.Lock()
_wide = 0  # bytes of all that were widened and not given back


def widen(fd: int) -> int:
    """Make this pipe PIPE_BYTES wide if there is room; how many bytes that took, for `give_back`."""
    global _wide  # noqa: PLW0603  one share for the whole process, as the kernel counts
    with _lock:
        if not _SET_SIZE or _wide + d.PIPE_BYTES > _share():
            return 0
        try:
            fcntl.fcntl(fd, _SET_SIZE, d.PIPE_BYTES)
        except OSError:
            return 0  # the user's share is used up by others
        _wide += d.PIPE_BYTES
        return d.PIPE_BYTES


def give_back(count: int) -> None:
    """Such a pipe has been closed."""
    global _wide  # noqa: PLW0603
    with _lock:
        _wide -= count


def _share() -> int:
    try:
        with open(_SOFT, "rb") as file:
            pages = int(file.read()) or _PAGES
    except (OSError, ValueError):
        pages = _PAGES
    return pages * os.sysconf("SC_PAGE_SIZE") // 4
