"""process_mrelease: take the memory of a process that is dying, while it cannot do so itself (Linux >= 5.15).

A killed process gives its memory back on its own way out. One that is stuck in the kernel, frozen or without CPU time
does not, and then another may do it for it. The call can last as long as the whole unmapping, so it happens in a thread
of its own, and only for those that are still there a moment after their KILL: ctypes is loaded by then and not before.
Run as a program it tries the call on a child of its own and says "yes" or why not (rehearsal.py). Standard library
only. Must not kill anybody. Tests: tests/machine/test_mrelease.py.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from typing import Literal

CALL = 448  # the same number on every processor
_TRIES = 3
_PAUSE = 0.02  # seconds between two tries
_MOST = 64  # processes of one order: the largest few are what matters

Outcome = Literal["done", "again", "never", "refused"]


def outcome(number: int) -> Outcome:
    """What an errno of the call means: 0 and ESRCH are both "its memory is gone, or going"."""
    if number in (0, errno.ESRCH):
        return "done"
    if number in (errno.EINVAL, errno.EAGAIN, errno.EINTR):
        return "again"  # it is not dying yet; the memory is locked
    return "never" if number == errno.ENOSYS else "refused"


def system_call(fd: int) -> int:
    """The call itself; its errno, 0 when it worked. Loads ctypes (2 ms, 0.4 MB, once)."""
    import ctypes

    syscall = ctypes.CDLL(None, use_errno=True).syscall
    return 0 if syscall(CALL, fd, 0) == 0 else ctypes.get_errno()


class Releaser:
    """Releases in the background. `why`: why this kernel will never do it, "" while nothing speaks against it."""

    def __init__(self, call: Callable[[int], int] = system_call) -> None:
        self.why = ""
        self._call = call
        self._busy = False

    def start(self, fds: list[int]) -> bool:
        """Begin with these pidfds, which are ours to close from now on. False: nothing was begun."""
        if not fds or self.why or self._busy:
            _close(fds)
            return False
        self._busy = True
        try:
            threading.Thread(target=self._work, args=(fds,), name="mrelease", daemon=True).start()
        except RuntimeError:  # no room for a thread: they die on their own way
            self._busy = False
            _close(fds)
            return False
        return True

    def _work(self, fds: list[int]) -> None:
        try:
            for fd in fds[:_MOST]:
                self.release(fd)
        except (OSError, ImportError) as error:
            self.why = f"{error}"
        finally:
            self._busy = False
            _close(fds)

    def release(self, fd: int) -> Outcome:
        """One process, by its pidfd, with at most `_TRIES` tries."""
        result: Outcome = "refused"
        for attempt in range(_TRIES):
            if self.why:
                return "never"
            if attempt:
                time.sleep(_PAUSE)
            number = self._call(fd)
            result = outcome(number)
            if result != "again":
                break
        if result == "never":
            self.why = "needs Linux 5.15"
        return result


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def main() -> None:
    """Try it on a child that has just been killed."""
    import signal

    child = os.fork()
    if child == 0:
        time.sleep(5)
        os._exit(0)
    fd = os.pidfd_open(child)
    os.kill(child, signal.SIGKILL)
    releaser = Releaser()
    last = releaser.release(fd)
    os.waitpid(child, 0)
    os.write(1, ("yes" if last == "done" else releaser.why or "refused by this system").encode())


if __name__ == "__main__":
    main()
