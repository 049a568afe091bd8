"""Readings: held memory, open files, free space.

Every number says how good it is; one that cannot be had is absent, never 0. Must not judge a number.
"""

from __future__ import annotations

import functools
import os

from midwatch.machine.linux import files, procfs
from midwatch.machine.linux.counters import Counters
from midwatch.model.sample import Reading


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
    return Reading(total, *_counters(version).quality(None))


@functools.lru_cache(2)
def _counters(version: tuple[int, int]) -> Counters:
    return Counters(version)


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
