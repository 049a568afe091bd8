"""For a process that runs one command and nothing else (`midwatch exec`): whoever loses its parent falls to it.

So even a process that cleared its environment, left the session and closed its output is found when the run is ended.
Never in somebody else's program, whose children are its own. Must not be used with more than one run at a time. Tests:
tests/system/test_bounded_death.py.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SET_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_PAUSE = 0.005  # s
_adopting = False
helpers: set[int] = set()  # children of ours that are none of the command's


@contextmanager
def adopting() -> Iterator[None]:
    """Meanwhile orphans below this process become its children. Who is its child already (a job of the shell that has
    become this program) is none of the command's.
    """
    global _adopting  # noqa: PLW0603  a property of the process, as the kernel's own flag
    if sys.platform != "linux":
        yield
        return
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    helpers.update(_children())
    _adopting = prctl(_SET_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        prctl(_SET_SUBREAPER, 0, 0, 0, 0)
        _adopting = False


def end(main: int, seconds: float) -> None:
    """KILL all of them but the command itself, again and again, because the children of each fall to us, too."""
    until = time.monotonic() + seconds
    while _adopting and (left := _children() - helpers - {main}) and time.monotonic() < until:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)  # our child: nobody else can have its number before we have reaped it
                os.waitpid(pid, os.WNOHANG)
            except OSError:
                pass
        time.sleep(_PAUSE)


def _children() -> set[int]:
    found: set[int] = set()
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children", "rb") as file:
                found.update(map(int, file.read().split()))
    except OSError:
        pass  # gone, or a kernel that does not say
    return found
