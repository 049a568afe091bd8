"""`Cancel`: says from another thread, a task or a signal handler that a run shall end.

Must not know what is run. Tests: tests/system/test_bounded_ends.py.
"""

from __future__ import annotations

import os
import threading
from typing import Self


class Cancel:
    """`fd` is readable from the first `cancel` on. May be given to several runs."""

    def __init__(self) -> None:
        self.fd, self._tell = os.pipe()
        self._lock = threading.RLock()  # a signal handler may come while we hold it
        os.set_blocking(self._tell, False)

    def cancel(self) -> None:
        """End what runs with it. Any number of times, from anywhere; after `close` it does nothing."""
        with self._lock:
            if self._tell >= 0:
                try:
                    os.write(self._tell, b"!")
                except BlockingIOError:
                    pass  # somebody has said it 65,536 times

    def close(self) -> None:
        """Give the descriptors back; only when nothing runs with it any more."""
        with self._lock:
            if self._tell >= 0:
                os.close(self.fd)
                os.close(self._tell)
            self.fd = self._tell = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
