"""Shows a foreground run's output where `midwatch run` was started, while the pump keeps it on disk.

A thread per stream that reads the log file behind the pump and writes to our own descriptor, so that a slow terminal
stalls nobody. Looks every 2-50 ms: 0.02 s of CPU a minute when idle, less code than a watch per platform.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque

QUICKEST, SLOWEST = 0.002, 0.05  # s between two looks at the file
CHUNK = 1 << 18


class Follower:
    """Copies the files of one stream, in order, to `fd`. `add` names the next file, `finish` waits for the end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._paths: deque[str] = deque()  # the one that is being copied, and those after it
        self._over = threading.Event()
        self.broken = False  # nobody reads `fd` any more
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, path: str) -> None:
        """The pump writes here from now on; the earlier file is complete."""
        self._paths.append(path)

    def finish(self, timeout: float) -> bool:
        """Copy what is left; False when the reader did not take it in time."""
        self._over.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            while not self._paths:
                if self._over.is_set():
                    return
                time.sleep(QUICKEST)
            if not self._copy(self._paths[0]):
                return
            self._paths.popleft()

    def _copy(self, path: str) -> bool:
        """One file to its end; True when the next one is to follow."""
        pause = QUICKEST
        source = -1
        try:
            while True:
                # Asked before reading: what is written before the next file is named, is read.
                last = len(self._paths) > 1 or self._over.is_set()
                if source < 0:
                    source = _open(path)
                data = os.read(source, CHUNK) if source >= 0 else b""
                if data:
                    pause = QUICKEST
                    if not self._write(data):
                        return False
                elif last:
                    return True
                else:
                    time.sleep(pause)
                    pause = min(pause * 2, SLOWEST)
        finally:
            if source >= 0:
                os.close(source)

    def _write(self, data: bytes) -> bool:
        view = memoryview(data)
        while view and not self.broken:
            try:
                view = view[os.write(self._fd, view) :]
            except OSError:
                self.broken = True
        return not self.broken


def _open(path: str) -> int:
    """-1: the pump makes the file with the first byte."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
