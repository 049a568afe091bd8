"""The numbers of a run's own memory cgroup: what reclaim cannot give back, and the peak since the last look.

v2: anon + shmem + slab_unreclaimable + kernel_stack + pagetables + sock of memory.stat and memory.swap.current. v1:
total_rss + total_shmem + total_swap, because its kernel memory cannot be told from dentries that reclaim would free.
memory.stat costs the kernel a sum over all CPUs, so it is read only when the one small number beside it has moved.
Tests: tests/machine/test_group.py.
"""

from __future__ import annotations

import os

from midwatch.machine.linux import files, procfs
from midwatch.machine.linux.handle import Budget

MOVED = 256 << 10  # bytes by which the usage must have moved for an early look
REREAD = 5.0  # seconds after which any move is enough
_V2 = (b"anon ", b"shmem ", b"slab_unreclaimable ", b"kernel_stack ", b"pagetables ", b"sock ")
_V1 = (b"total_rss ", b"total_shmem ", b"total_swap ")


def held(stat: bytes, swap: bytes | None) -> int | None:
    """What cannot be given back by the memory.stat of a group; None when it does not say."""
    for keys in (_V2, _V1):
        if procfs.number(stat, keys[0]) is not None:
            parts = sum(procfs.number(stat, key) or 0 for key in keys)
            swapped = (swap or b"").strip()
            return parts + (int(swapped) if keys is _V2 and swapped.isdigit() else 0)
    return None


class Group:
    """One memory cgroup under the meter."""

    def __init__(self, directory: str, budget: Budget) -> None:
        """Opens its small files. Never raises: what is not there is absent."""
        self.directory = directory
        self._budget = budget
        self._fd = self._peak_fd = None
        self._resets = False
        self._usage = -1
        self._highest = -1
        self._due = 0.0
        self._held: int | None = None
        for name in ("memory.current", "memory.usage_in_bytes"):
            self._fd = self._fd or self._open(name)
        self._peak_fd = self._open("memory.peak", os.O_RDWR)  # Linux >= 6.12: a write resets it for this descriptor
        self._resets = self._peak_fd is not None
        for name in ("memory.peak", "memory.max_usage_in_bytes"):
            self._peak_fd = self._peak_fd or self._open(name)

    def _open(self, name: str, flags: int = os.O_RDONLY) -> int | None:
        try:
            return self._budget.open(f"{self.directory}/{name}", flags)
        except OSError:
            return None

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in (self._fd, self._peak_fd):
            self._budget.close(fd)
        self._fd = self._peak_fd = None

    def read(self, now: float) -> tuple[int | None, int | None]:
        """(what cannot be given back, the peak of everything charged since the last look); None: not known."""
        usage = _number(self._fd)
        moved = usage is None or abs(usage - self._usage) >= MOVED or (now >= self._due and usage != self._usage)
        if moved:
            stat = files.read_or_none(f"{self.directory}/memory.stat")
            swap = files.read_record(f"{self.directory}/memory.swap.current")
            self._held = held(stat, swap) if stat else None
            self._usage = -1 if usage is None else usage
            self._due = now + REREAD
        return self._held, self._peak()

    def _peak(self) -> int | None:
        """A lifetime peak that has risen was reached since the last look; one that has not says nothing."""
        peak = _number(self._peak_fd)
        if peak is None or self._peak_fd is None:
            return None
        if self._resets:
            try:
                os.pwrite(self._peak_fd, b"r\n", 0)
                return peak
            except OSError:
                self._resets = False
        risen, self._highest = peak > self._highest, max(peak, self._highest)
        return peak if risen else None


def _number(fd: int | None) -> int | None:
    if fd is None:
        return None
    try:
        data = os.pread(fd, 64, 0).strip()
    except OSError:
        return None
    return int(data) if data.isdigit() else None
