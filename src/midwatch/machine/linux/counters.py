"""How far the kernel's own memory counters may be from the truth, by kernel era (and measured once on ourselves).

Before Linux 6.2 each thread kept up to 64 page events to itself; from 6.2 on each CPU keeps a batch, which grows with
the number of CPUs; since "mm: fix the inaccurate memory statistics issue for users" (6.17, and some earlier kernels by
back-port) what /proc/PID/status prints is summed over all CPUs and exact. `stat` field 24 stays an estimate: never
used here. Must not judge a process. Tests: tests/machine/test_counters.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from midwatch.machine.linux import files, procfs
from midwatch.model.sample import Quality

PAGE = os.sysconf("SC_PAGE_SIZE")
_PER_CPU, _EXACT = (6, 2), (6, 17)
_EVENTS = 64  # pages a thread keeps to itself before 6.2
_THREADS = 64  # what `error` assumes before 6.2, where the truth depends on each process
_TRIES = 5

Probe = Callable[[], tuple[int, int, int] | None]


class Counters:
    """The error of this kernel's counters. `probe` reads ourselves: pages by statm, by stat, bytes by page walk."""

    def __init__(self, version: tuple[int, int], cpus: int | None = None, probe: Probe | None = None) -> None:
        """Nothing is read yet."""
        self._version = version
        self._cpus = cpus or os.cpu_count() or 1
        self._probe = probe or ourselves
        self._error: int | None = None

    def error(self) -> int:
        """Bytes by which a number of one process may be wrong; before 6.2 for one of 64 threads."""
        if self._error is None:
            self._error = self._find()
        return self._error

    def quality(self, threads: int | None) -> tuple[Quality, str]:
        """The quality of one process's numbers, and why it is not exact."""
        if self._version < _PER_CPU:
            error = _EVENTS * PAGE * max(1, threads or _THREADS)
            return "approximate", f"+-{error >> 10} KiB: Linux before 6.2 counts per thread"
        error = self.error()
        if error == 0:
            return "exact", ""
        return "approximate", f"+-{error >> 10} KiB: Linux 6.2 to 6.16 counts per CPU"

    def _find(self) -> int:
        if self._version < _PER_CPU:
            return _EVENTS * PAGE * _THREADS
        if self._version >= _EXACT:
            return 0
        bound = max(32, 2 * self._cpus) * self._cpus * PAGE
        worst, summed = 0, False
        for _ in range(_TRIES):
            seen = self._probe()
            if seen is None:
                return bound
            statm, estimate, walked = seen
            worst = max(worst, abs(statm * PAGE - walked))
            summed = summed or estimate != statm
        # statm differs from the estimate and agrees with the page walk each time: it is summed, the fix is here
        return 0 if summed and worst == 0 else max(bound, worst)


def ourselves() -> tuple[int, int, int] | None:
    """(resident pages by statm, resident pages by stat, resident bytes by a page walk) of this process."""
    before = files.read_record("/proc/self/statm")
    walked = procfs.kib(files.read_record("/proc/self/smaps_rollup") or b"", b"\nRss:")
    stat = files.read_record("/proc/self/stat")
    after = files.read_record("/proc/self/statm")
    if not before or before != after or walked is None or not stat:
        return None  # another thread allocated meanwhile: nothing is learnt
    try:
        return int(before.split()[1]), int(stat[stat.rfind(b")") + 2 :].split()[21]), walked
    except (IndexError, ValueError):
        return None
