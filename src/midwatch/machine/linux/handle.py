"""One process under the meter: its memory, read again only when it can have changed.

statm (1 us on a kept-open descriptor) says whether anything moved; only then status (10-15 us) is parsed for RssAnon,
RssShmem, VmSwap and HugetlbPages. A kept-open descriptor belongs to one process for ever: after its end reads give
ESRCH, never a stranger's numbers. What is read by path counts only if that descriptor still answers afterwards,
because a pid is given away only after its process was reaped. Beyond the budget of descriptors the start time is
checked instead. Must not know trees. Tests: tests/machine/test_handle.py.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
import time

from midwatch.machine.linux import files, procfs

_SMALL = 256  # bytes: all of statm
_STATUS = 8192
_NOTHING = b"0 0 0"  # statm of one without memory of its own: a zombie, or a leader that left its threads


class Budget:
    """How many descriptors the meters of one machine may keep open."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self._lock = threading.Lock()  # meters are read in a thread while others are made and closed

    def open(self, path: str, flags: int = os.O_RDONLY) -> int | None:
        """A descriptor to keep; None when there is no room. Raises OSError."""
        if self.used >= self.most:
            return None
        try:
            fd = os.open(path, flags | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                return None  # somebody else has used them up: nothing of ours is gone
            raise
        with self._lock:
            self.used += 1
        return fd

    def close(self, fd: int | None) -> None:
        """Give one back."""
        if fd is not None:
            os.close(fd)
            with self._lock:
                self.used -= 1


class Process:
    """One process. `start` None: whoever has this pid now; else raises ProcessLookupError when it is another."""

    __slots__ = (
        "_base",
        "_budget",
        "_clock",
        "_fd",
        "_moved",
        "_statm",
        "_status_fd",
        "cpu_ns",
        "held",
        "pid",
        "read",
        "rss_only",
        "start",
        "swap",
        "threads",
        "whole",
        "written",
    )  # fmt: skip

    def __init__(self, pid: int, start: int | None, budget: Budget, proc: str = "/proc") -> None:
        """Open it. Raises OSError when it is gone."""
        self.pid, self.start = pid, start
        self._base = f"{proc}/{pid}"
        self._budget = budget
        self._clock = (~pid << 3) | 2  # the kernel's name for the CPU clock of all its threads
        self._statm, self._moved = b"", False
        self._status_fd: int | None = None
        self.held: int | None = None
        self.swap = 0
        self.whole = self.rss_only = False
        self.threads: int | None = None
        self.cpu_ns = 0
        self.read: int | None = None
        self.written: int | None = None
        self._fd = budget.open(f"{self._base}/statm")
        if start is not None or self._fd is None:
            now = self._now()
            if now is None or start not in (None, now):
                self.close()
                raise ProcessLookupError(pid)
            self.start = now

    def _now(self) -> int | None:
        stat = procfs.stat(files.read_record(f"{self._base}/stat") or b"")
        return stat.start if stat else None

    def close(self) -> None:
        """Give the descriptors back."""
        self._budget.close(self._fd)
        self._budget.close(self._status_fd)
        self._fd = self._status_fd = None

    def _memory(self) -> bytes | None:
        """statm, None: it is gone."""
        if self._fd is None:
            data = files.read_record(f"{self._base}/statm")
            return data if data and self._now() == self.start else None
        try:
            return os.pread(self._fd, _SMALL, 0)
        except OSError:
            return None

    def there(self) -> bool:
        """Is it still the same process? Then everything read by path before was its own."""
        return self._memory() is not None

    def look(self, anyway: bool = False) -> bool | None:
        """Read what has changed: True something has, False nothing, None it is gone (a zombie is)."""
        try:  # in line: this is what happens to each process in each pass
            text = os.pread(self._fd, _SMALL, 0) if self._fd is not None else self._memory()
        except OSError:
            return None
        if text is None:
            return None
        if text == self._statm and not anyway:
            self._moved = False
            return False
        data = self._status()
        if data is None:
            return None
        if text.startswith(_NOTHING) and b"\nState:\tZ" in data:
            return self._follow(data)
        return self._take(text, data)

    def _status(self) -> bytes | None:
        """status; its descriptor is kept while the process moves at each look, which saves 4 us."""
        try:
            if self._status_fd is not None:
                return os.pread(self._status_fd, _STATUS, 0)  # bound to the process itself: needs no check
            path = f"{self._base}/status"
            self._status_fd = self._budget.open(path) if self._moved else None
            self._moved = True
            if self._status_fd is not None:
                data: bytes | None = os.pread(self._status_fd, _STATUS, 0)
            else:
                data = files.read_record(path)
        except OSError:
            return None
        return data if self.there() else None

    def _take(self, text: bytes, data: bytes) -> bool:
        before = self.held, self.swap
        parts = procfs.held(data)
        self.held, self.swap = parts.total, parts.swap or 0
        self.whole = None not in (parts.anon, parts.shmem, parts.swap)
        self.rss_only = False
        if self.held is None:  # no such lines (Linux < 4.5, another kernel's /proc): all resident pages, a bound
            rss = procfs.kib(data, b"\nVmRSS:")
            if rss is not None:
                self.held, self.rss_only = rss + self.swap, True
        self.threads = procfs.count(data, b"\nThreads:")
        self._statm = text
        return before != (self.held, self.swap)

    def _follow(self, data: bytes) -> bool | None:
        """The leader is a zombie: with threads left these still own the memory, and one of them is read instead."""
        if (procfs.count(data, b"\nThreads:") or 0) <= 1 or "/task/" in self._base:
            return None
        try:
            names = os.listdir(f"{self._base}/task")
        except OSError:
            return None
        for name in names[:64]:
            base = f"{self._base}/task/{name}"
            if not (files.read_record(f"{base}/statm") or _NOTHING).startswith(_NOTHING):
                return self._move(base)
        return None

    def _move(self, base: str) -> bool | None:
        leader, self._base = self._base, base
        kept = self._fd is not None
        self.close()
        try:
            self._fd = self._budget.open(f"{base}/statm") if kept else None
        except OSError:
            return None
        if not kept:
            self.start = self._now()
        found = self.look()
        if found is None:  # that thread left, too: perhaps another is there at the next look
            self._base = leader
        return found

    def quiet(self) -> None:
        """Nothing has moved for long: give the descriptor of status back."""
        if not self._moved:
            self._budget.close(self._status_fd)
            self._status_fd = None

    def ran(self) -> bool:
        """Has it used the CPU since the last call? Takes its CPU time over (0.4 us)."""
        try:
            used = time.clock_gettime_ns(self._clock)
        except OSError:
            return False
        if used == self.cpu_ns or not self.there():
            return False
        self.cpu_ns = used
        return True

    def count_io(self) -> None:
        """Bytes it caused to be read from and written to devices, where we may know that."""
        data = files.read_record(f"{self._base}/io")
        if data and self.there():
            self.read = procfs.count(b"\n" + data, b"\nread_bytes:")
            self.written = procfs.count(b"\n" + data, b"\nwrite_bytes:")


def descriptors(pid: int, sized: bool) -> int | None:
    """How many descriptors it has open; `sized`: this kernel (>= 6.2) says it as the size of the folder."""
    path = f"/proc/{pid}/fd"
    try:
        return os.stat(path).st_size if sized else len(os.listdir(path))
    except OSError:
        return None


def descriptor_limit(pid: int) -> int | None:
    """Its soft limit of open files. Of a process of another user it can only be read, which takes 20 times as long."""
    try:
        soft = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
        return soft if soft >= 0 else None
    except (OSError, ValueError):
        pass
    data = files.read_record(f"/proc/{pid}/limits")
    return procfs.open_files_limit(data) if data else None
