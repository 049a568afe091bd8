"""A tree under the meter: `read` as often as the pace wants, at a few microseconds while nothing happens.

Every look tells held memory; descriptors and CPU time are counted each 5 s, threads and device I/O each 15 s, and only
of processes that have used the CPU since. What is kept open is bounded by a budget that all meters share (handle.py).
A sum over several processes is an upper bound. May be read in a thread, by one at a time. Must not judge a number.
Tests: tests/machine/test_meter.py.
"""

from __future__ import annotations

import os
import resource

from midwatch.machine.linux import files, handle, procfs
from midwatch.machine.linux.counters import Counters
from midwatch.machine.linux.crowd import Crowd
from midwatch.machine.linux.forks import Forks
from midwatch.machine.linux.group import Group
from midwatch.machine.ports import Tree
from midwatch.machine.tree import Scanner
from midwatch.model.sample import Quality, Reading, TreeSample

COUNT = 5.0  # seconds between counts of descriptors and CPU time
SLOW = 3  # every third of these: threads and device I/O, and a status that statm did not ask for
LIMIT = 60.0  # seconds a descriptor limit is believed
_MOST_KEPT = 8192
_SIZED = (6, 2)  # since then the size of /proc/PID/fd is the number of descriptors
_NOTHING = Reading(None, "absent", "nothing runs")
_UNREAD = Reading(None, "absent", "no process of the tree could be read")


class Meters:
    """What the meters of one machine share."""

    def __init__(self, scanner: Scanner, keeper: int, version: tuple[int, int]) -> None:
        """Reads next to nothing."""
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.budget = handle.Budget(_MOST_KEPT if soft < 0 else min(_MOST_KEPT, soft // 4))
        self.counters = Counters(version)
        self.forks = Forks(keeper, scanner.learn)
        self.scanner = scanner
        self.ours = {keeper, os.getpid()}
        self.sized = version >= _SIZED
        self._huge, self._huge_due = False, -1.0

    def meter(self, tree: Tree) -> TreeMeter:
        """A new meter."""
        return TreeMeter(tree, self)

    def huge(self, now: float) -> bool:
        """Is there a hugetlb pool? Pages from it do not move statm, so that status has to be read each time."""
        if now >= self._huge_due:
            total = procfs.count(files.read_record("/proc/meminfo") or b"", b"\nHugePages_Total:")
            more = (files.read_record("/proc/sys/vm/nr_overcommit_hugepages") or b"0").strip()
            self._huge, self._huge_due = bool(total) or more not in (b"0", b""), now + 60.0
        return self._huge


class TreeMeter:
    """See ports.Meter."""

    def __init__(self, tree: Tree, shared: Meters) -> None:
        """Reads nothing."""
        self._tree, self._shared = tree, shared
        self._crowd = Crowd(tree, shared.scanner, shared.forks, shared.budget, shared.ours)
        self._group = Group(tree.containment.memory, shared.budget) if tree.containment.memory else None
        self._procs: dict[int, handle.Process] = {}
        self._held = _NOTHING
        self._swap: int | None = None
        self._largest: tuple[int, int] | None = None
        self._count_at = self._limit_at = 0.0
        self._round = 0
        self._fds: int | None = None
        self._fd_limit: int | None = None
        self._threads: int | None = None
        self._unsteady = False  # the sum on hand was taken while somebody came or left: take it again
        self._left = False  # somebody has, since the last count
        self._gone = [0, 0, 0]  # CPU ns, bytes read and written of members that have left
        self._used: list[int | None] = [None, None, None]

    def close(self) -> None:
        """See ports."""
        for process in self._procs.values():
            process.close()
        self._procs.clear()
        self._crowd.close()
        if self._group:
            self._group.close()

    def read(self, now: float) -> TreeSample:
        """See ports."""
        changed = self._crowd.update(now) and self._adopt()
        counting = now >= self._count_at
        slow = counting and self._round % SLOW == 0
        ran = [process for process in self._procs.values() if process.ran()] if counting else []
        moved, gone, anyway = False, [], self._shared.huge(now)
        for process in self._procs.values():
            found = process.look(anyway)
            if found:
                moved = True
            elif found is None:
                gone.append(process)
        for process in gone:
            self._drop(process)
            self._crowd.lost(process.pid)
        if counting:
            moved = self._count(now, [process for process in ran if process not in gone], slow) or moved
        if moved or changed or gone or self._unsteady:
            self._unsteady = (changed and self._crowd.moved()) or bool(gone and self._procs)
            self._sum()
        group, peak = self._group.read(now) if self._group else (None, None)
        cpu, read, written = self._used
        return TreeSample(
            now, self._held, len(self._crowd.pids), None, self._swap, self._largest, self._fds, self._fd_limit,
            self._threads, None if cpu is None else cpu / 1e9, read, written, group, peak,
        )  # fmt: skip

    def _adopt(self) -> bool:
        """Open those who came, close those who left; has anybody?"""
        pids, procs = self._crowd.pids, self._procs
        left = [process for pid, process in procs.items() if pid not in pids]
        for process in left:
            self._drop(process)
        came = [pid for pid in pids if pid not in procs]
        for pid in came:
            try:
                procs[pid] = handle.Process(pid, pids[pid], self._shared.budget)
            except OSError:
                self._crowd.lost(pid)
        return bool(left or came)

    def _drop(self, process: handle.Process) -> None:
        self._procs.pop(process.pid, None)
        self._crowd.pids.pop(process.pid, None)
        process.close()
        self._left = True
        for at, value in enumerate((process.cpu_ns, process.read, process.written)):
            self._gone[at] += value or 0

    def _count(self, now: float, ran: list[handle.Process], slow: bool) -> bool:
        """The dear numbers, of those who ran since the last time; has held memory moved?"""
        first = self._round == 0
        self._count_at = now + (COUNT * (1 + self._tree.main.pid % 16) / 16 if first else COUNT)  # not all in one pass
        self._round += 1
        moved = False
        for process in ran:
            if slow:
                moved = bool(process.look(anyway=True)) or moved
                process.count_io()
        if slow:
            for process in self._procs.values():
                process.quiet()
        main = self._procs.get(self._tree.main.pid)
        if main is None:
            self._fds = None
        elif self._fds is None or main in ran:
            fds = handle.descriptors(main.pid, self._shared.sized)
            self._fds = fds if main.there() else None
        if main is not None and now >= self._limit_at:
            self._fd_limit, self._limit_at = handle.descriptor_limit(main.pid), now + LIMIT
        if first or ran or self._left:
            self._left = False
            self._tally()
        return moved

    def _tally(self) -> None:
        """The sums of what was counted; what has left stays in them, so that they never fall."""
        members = self._procs.values()
        cpu = self._gone[0] + sum(process.cpu_ns for process in members)
        reads = [process.read for process in members if process.read is not None]
        writes = [process.written for process in members if process.written is not None]
        self._used = [
            cpu if members or cpu else None,
            self._gone[1] + sum(reads) if reads else None,
            self._gone[2] + sum(writes) if writes else None,
        ]

    def _sum(self) -> None:
        """Held memory of the tree, with its quality."""
        known = [process for process in self._procs.values() if process.held is not None]
        self._threads = sum(process.threads or 0 for process in self._procs.values()) or None
        if not known:
            self._held = _UNREAD if self._crowd.pids else _NOTHING
            self._swap = self._largest = None
            return
        total = sum(process.held or 0 for process in known)
        largest = max(known, key=_size)
        self._largest = (largest.pid, largest.held or 0)
        self._swap = sum(process.swap for process in known)
        self._held = Reading(total, *self._quality(known))

    def _quality(self, known: list[handle.Process]) -> tuple[Quality, str]:
        if self._unsteady:
            return "approximate", "processes came or left meanwhile"
        if len(known) < len(self._crowd.pids) or not all(process.whole or process.rss_only for process in known):
            return "approximate", "a part could not be read"
        if len(known) > 1:
            return "upper-bound", f"sum over {len(known)} processes: pages they share are counted in each"
        if known[0].rss_only:
            return "upper-bound", "all resident pages: this system does not tell mapped files apart"
        return self._shared.counters.quality(known[0].threads)


def _size(process: handle.Process) -> int:
    return process.held or 0
