"""Who belongs to a tree, known cheaply enough to be asked ten times a second.

With a cgroup of its own: cgroup.procs on a kept-open descriptor. Without: the full look of tree.py, remembered until
somebody was born who concerns us (forks.py). In both cases nothing is read while nobody was born at all. Who has left
is told by his own descriptor (handle.py). Must not read memory. Tests: tests/machine/test_meter.py.
"""

from __future__ import annotations

import os
import time

from midwatch.machine.linux import cgroup, files
from midwatch.machine.linux.forks import Concern, Forks
from midwatch.machine.linux.handle import Budget
from midwatch.machine.ports import Tree
from midwatch.machine.tree import Scanner

LOOK_AGAIN = 10.0  # seconds until the next full look when somebody was born who may be ours
CALM = 60.0  # the same when nobody was
BLIND = 2.0  # the same where births cannot be seen
NESTED = 0.5  # seconds between walks of a group that has groups below it
_FRESH = 0.25  # seconds: age of a look at /proc that trees share
_BLOCK = 4096


class Crowd:
    """The members of one tree: `pids` maps each to its start time, None where only the cgroup named it."""

    def __init__(self, tree: Tree, scanner: Scanner, forks: Forks, budget: Budget, ours: set[int]) -> None:
        """Nobody is known before `update`. `ours`: never members."""
        self.pids: dict[int, int | None] = {}
        self._tree, self._scanner, self._forks, self._budget, self._ours = tree, scanner, forks, budget, ours
        self._group = tree.containment.kill or tree.containment.memory
        self._fd: int | None = None
        self._data = b""
        self._serial = -1
        self._nested = self._doubted = False
        self._due = self._walk = 0.0
        if tree.containment.kill:  # v2: a kept v1 descriptor would answer from the kernel's cache of a second ago
            try:
                self._fd = budget.open(f"{self._group}/cgroup.procs")
            except OSError:
                self._group = None

    def close(self) -> None:
        """Give the descriptor back."""
        self._budget.close(self._fd)
        self._fd = None

    def update(self, now: float) -> bool:
        """Look as far as it is needed; has `pids` been found anew?"""
        serial = self._forks.look(now)
        concern: Concern = "perhaps"
        if serial and now < self._due:
            concern = "no" if serial == self._serial else self._concern()
            if concern == "no":
                self._serial = serial
                return False
        found = self._by_group(now, serial) if self._group else None
        return self._by_look(now, serial, concern) if found is None else found

    def _concern(self) -> Concern:
        return self._forks.concerns(self._serial, self.pids, self._tree.marker)

    def lost(self, pid: int) -> None:
        """It could not be opened, or its descriptor says that it has ended. Who is still listed by the cgroup at the
        next look is hidden from us, or a leader whose threads live on; a look at all processes is right as it was.
        """
        if self._group:
            self._due, self._doubted = 0.0, True
        else:
            self.pids.pop(pid, None)

    def moved(self) -> bool:
        """Has somebody come or left since `update`? Only a cgroup can tell."""
        return bool(self._group) and not self._nested and self._listed() != self._data

    def _listed(self) -> bytes | None:
        if self._fd is None:
            return files.read_or_none(f"{self._group}/cgroup.procs")
        try:
            data = block = os.pread(self._fd, _BLOCK, 0)
            while block and len(data) >= _BLOCK:
                block = os.pread(self._fd, 1 << 20, len(data))
                data += block
            return data
        except OSError:
            return None

    def _by_group(self, now: float, serial: int) -> bool | None:
        data = self._listed()
        if data is None:
            return None
        if data == self._data and now < self._due and (not self._nested or now < self._walk):
            self._serial = -1 if self._nested else serial  # births in a group below are seen at the next walk
            return False
        assert self._group
        same = data == self._data and self._tree.main.pid in self.pids and not self._nested
        self._data, self._serial = data, serial
        self._due, self._walk = now + (CALM if serial else LOOK_AGAIN), now + NESTED
        self._nested = _has_groups(self._group)
        if same and not self._nested and not self._doubted:
            return False
        self._doubted = False
        inside = cgroup.pids(self._group) if self._nested else {int(word) for word in data.split()} - {0}
        if inside is None:
            return None
        self.pids = dict.fromkeys(sorted(inside - self._ours))
        if self._tree.main.pid not in self.pids:
            self._due = now  # not yet placed, or it has left: ask at each look
        return True

    def _by_look(self, now: float, serial: int, concern: Concern) -> bool:
        self._serial = serial
        if concern != "yes":
            self._due = min(self._due, now + (LOOK_AGAIN if concern == "perhaps" and serial else BLIND))
        if concern != "yes" and now < self._due:
            return False
        age = time.monotonic() - self._forks.looked if serial else _FRESH  # not older than the births we know of
        found = self._scanner.find(self._tree, age)
        self.pids = {pid: found.snapshot.procs[pid].start for pid in sorted(found.pids)}
        self._due = now + CALM
        return True


def _has_groups(directory: str) -> bool:
    try:
        return os.stat(directory).st_nlink > 2  # kernfs counts sub-directories
    except OSError:
        return False
