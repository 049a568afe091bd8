"""Who was born since the last look, at the price of the births: not of all processes, nor of all trees.

The kernel gives out pids in order, and /proc/loadavg ends with the last one. While it stands still nobody has come.
When it has moved, only the numbers in between are looked at, once for all trees: a new process concerns those trees
that have its parent, session or group. One that is the keeper's child (it fell there, or is a run or gate that was just
spawned) is asked for its marker; without one it may be anybody's.
Must not know trees. Tests: tests/machine/test_forks.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Literal

from midwatch.machine.linux import files, procfs
from midwatch.machine.procs import Stat

Concern = Literal["no", "perhaps", "yes", "blind"]  # perhaps: an orphan; blind: too many to look at
_MOST_NEW = 512  # births looked at in one go: 8 us for each that still lives, 3 us for the others
_MOST_KNOWN = 4096  # relations remembered


class Forks:
    """The births in our pid namespace. `serial` grows with each look that has seen one; 0: cannot be told here."""

    def __init__(self, keeper: int, learn: Callable[[Stat], str | None], proc: str = "/proc") -> None:
        """`keeper`: to whom orphans fall. `learn`: the marker of a process."""
        self.serial = 0
        self.looked = 0.0  # when, by time.monotonic
        self._keeper, self._learn, self._proc = keeper, learn, proc
        self._fd: int | None = None
        self._at, self._last = -1.0, 0
        self._touched: dict[int | str, int] = {}  # pid or marker -> serial at which somebody of its kin was born
        self._orphan = self._blind = 0  # serial of the last birth that may concern anybody, and of a flood
        self._forgotten = 0  # who has heard of no later serial than this may have missed something
        self._again: list[int] = []  # numbers given out before their process could be seen
        try:
            if os.stat(f"{proc}/loadavg").st_dev == os.stat(proc).st_dev:  # else lxcfs stands in front of it
                self._fd = os.open(f"{proc}/loadavg", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        self.look(0.0)

    def look(self, now: float) -> int:
        """Find out, once for each `now`; the serial."""
        if self._fd is None or now == self._at:
            return self.serial
        self._at, self.looked = now, time.monotonic()
        data = os.pread(self._fd, 128, 0)
        word = data[data.rfind(b" ") + 1 :].strip()
        last = int(word) if word.isdigit() else 0
        if last == 0:  # a sandbox's own /proc
            self._fd, self.serial = None, 0
        elif last != self._last or self._again:
            self.serial += 1
            self._births(last)
            self._last = last
        return self.serial

    def concerns(self, since: int, pids: Iterable[int], marker: str = "") -> Concern:
        """Can somebody born after serial `since` belong to these, or bear this marker?"""
        touched = self._touched
        if touched.get(marker, 0) > since:
            return "yes"
        for pid in pids:  # no generator: this is asked for each tree in each pass
            if touched.get(pid, 0) > since:
                return "yes"
        if self._blind > since or since < self._forgotten:
            return "blind"
        return "perhaps" if self._orphan > since else "no"

    def _births(self, last: int) -> None:
        again, self._again = self._again, []
        new = last - self._last
        if new < 0 or new > _MOST_NEW or self._last == 0:
            self._blind = self.serial  # many, or the numbers began again
            return
        for pid in (*again, *range(self._last + 1, last + 1)):
            data = files.read_record(f"{self._proc}/{pid}/stat")
            stat = procfs.stat(data) if data else None
            if stat is None:
                if pid > self._last:
                    self._again.append(pid)  # it has ended, or its fork is not through: once more
            elif not procfs.is_thread(data or b""):
                self._born(stat, pid > self._last)

    def _born(self, stat: Stat, new: bool) -> None:
        related: set[int | str] = {stat.ppid, stat.session, stat.pgrp}
        related -= {stat.pid, self._keeper}
        if stat.ppid == self._keeper:
            marker = self._learn(stat)
            if marker is not None:
                parts = marker.split("/")
                related.update("/".join(parts[:end]) for end in range(1, len(parts) + 1))
            elif new:
                self._again.append(stat.pid)  # before its exec it shows the keeper's environment
            elif not stat.dead:
                self._orphan = self.serial
        self._touched.update(dict.fromkeys(related, self.serial))
        if len(self._touched) > _MOST_KNOWN:  # who has looked at each pass has heard of the older ones
            self._forgotten = self.serial - 1
            self._touched = {known: serial for known, serial in self._touched.items() if serial >= self.serial}
