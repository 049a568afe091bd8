"""One thread that makes written files durable, so that the loop never waits for a disk.

A path asked for twice before its turn is flushed once (coalesced); the thread starts with the first request.
It opens the path itself: no descriptor is kept for a request, and a file replaced meanwhile is flushed in its
newest shape. A failing fsync is only counted: durability is best effort, correctness never depends on it.
Must not know what the files mean. Tests: tests/record/test_flush.py.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

MOST_WAITING = 4096  # paths; a disk that hangs must not grow us


def start_thread(run: Callable[[], None], name: str) -> threading.Thread | None:
    """A daemon thread, or None when the system gives none now (EAGAIN by a pids limit): the next need tries again."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


class Flusher:
    """fsync by path in a lazily started daemon thread."""

    def __init__(self) -> None:
        self._wanted: dict[str, bool] = {}  # path -> flush its folder too (an ordered set)
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._closed = False
        self.failed = 0
        self.dropped = 0

    def ask(self, path: str | Path, *, folder: bool = False) -> None:
        """Flush `path` soon; with `folder` also the entry that names it (after a rename). Never blocks on the
        disk.
        """
        with self._wake:
            if self._closed:
                return
            name = os.fspath(path)
            if name not in self._wanted and len(self._wanted) >= MOST_WAITING:
                self.dropped += 1
                return
            self._wanted[name] = folder or self._wanted.get(name, False)
            if self._thread is None:
                self._thread = start_thread(self._run, "midwatch-flush")
            self._wake.notify()

    def drain(self, timeout: float = 5.0) -> bool:
        """Wait until everything asked for so far is on disk; False when the disk is too slow."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._wanted and not self._busy, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Flush what is waiting and end the thread; gives up after `timeout` (a hanging disk)."""
        with self._wake:
            self._closed = True
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                self._wake.notify_all()
                self._wake.wait_for(lambda: bool(self._wanted) or self._closed)
                if not self._wanted:
                    return
                batch, self._wanted = self._wanted, {}
                self._busy = True
            folders = {os.path.dirname(path) for path, folder in batch.items() if folder}
            for path in [*batch, *sorted(folders)]:
                self._flush(path)

    def _flush(self, path: str) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return  # removed meanwhile: nothing left to keep
        except OSError:
            self.failed += 1
            return
        try:
            os.fsync(fd)
        except OSError:
            self.failed += 1
        finally:
            os.close(fd)
