"""Readings: held memory, open files, free space, and the kernel's word about OOM kills.

Every number says how good it is; one that cannot be had is absent, never 0. Must not judge a number.
"""

from __future__ import annotations

import os
import threading
import time

from midwatch.machine.linux import files, procfs
from midwatch.machine.ports import Reading

_MOST_RECORDS = 200_000  # of the kernel log, per call
_MOST_KILLS = 64  # OOM lines remembered


def held(pids: list[int], version: tuple[int, int]) -> Reading:
    """The sum of held memory of these processes."""
    total, known, gone, parts = 0, 0, 0, True
    for pid in pids:
        data = files.read_record(f"/proc/{pid}/status")
        value = procfs.held(data) if data else None
        if value is None or value.total is None:
            gone += 1
            continue
        known += 1
        total += value.total
        parts = parts and value.swap is not None and value.anon is not None and value.shmem is not None
    if not known:
        return Reading(None, "absent", "no process of the tree could be read" if pids else "nothing runs")
    if known > 1:
        return Reading(
            total, "upper-bound", f"sum over {known} processes: pages they share are counted in each"
        )
    if gone or not parts:
        return Reading(total, "approximate", "a part could not be read")
    if (6, 2) <= version <= (6, 16):
        return Reading(total, "approximate", "Linux 6.2 to 6.16 counts per CPU")
    return Reading(total, "exact")


def open_fds(pid: int) -> tuple[int | None, int | None]:
    """Open descriptors and their soft limit."""
    limits = files.read_or_none(f"/proc/{pid}/limits")
    soft = procfs.open_files_limit(limits) if limits else None
    path = f"/proc/{pid}/fd"
    try:
        count = os.stat(path).st_size or len(os.listdir(path))  # Linux >= 6.2 says the number as the size
    except OSError:
        return None, soft
    return count, soft


def free_bytes(path: str) -> int | None:
    """What an ordinary user may still write: the blocks reserved for root are not ours to plan with."""
    try:
        space = os.statvfs(path)
    except OSError:
        return None
    return space.f_bavail * space.f_frsize


class KernelLog:
    """The kernel's OOM lines, read once each: the descriptor stays where the last call stopped."""

    def __init__(self, path: str = "/dev/kmsg") -> None:
        """Opened at the first question."""
        self._path = path
        self._fd: int | None = None
        self._kills: list[procfs.Killed] = []
        self._lock = threading.Lock()

    def oom(self, pids: set[int], since: float) -> str | None:
        """The line about one of these pids not before awake time `since`.

        The log's clock drifts against CLOCK_MONOTONIC (by up to 500 ppm of the uptime), hence the slack.
        """
        with self._lock:
            if not self._catch_up():
                return None
            slack = 5.0 + time.monotonic() * 0.0005
            for kill in reversed(self._kills):
                if kill.pid in pids and kill.at >= since - slack:
                    return kill.text
        return None

    def _catch_up(self) -> bool:
        if self._fd is None:
            try:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                return False
        for _ in range(_MOST_RECORDS):
            try:
                record = os.read(self._fd, 8192)
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # records were overwritten before we came: go on with the oldest that is left
            except OSError:
                return False
            kill = procfs.oom_line(record) if record else None
            if kill:
                self._kills = [*self._kills[-_MOST_KILLS + 1 :], kill]
            if not record:
                break
        return True
