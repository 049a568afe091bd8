"""Memory on macOS: phys_footprint by proc_pid_rusage, and what the kernel says about its pressure.

One system call a process gives footprint, CPU time, device I/O and the start that makes a recycled pid somebody else.
There is no cheap page walk, so a tree's sum stays an upper bound and is never confirmed; the pressure level is polled,
because its notification has been seen a minute late. Has not run on a Mac; tests/machine/test_macos.py runs it on
packed layouts.
"""

from __future__ import annotations

import time

from midwatch.machine.macos import libproc, structs
from midwatch.machine.ports import Opener, Tree
from midwatch.machine.tree import Scanner
from midwatch.model.sample import HostSample, Reading, TreeSample

LOOK_AGAIN = 2.0  # seconds between full looks: there is nothing cheaper that tells of births
COUNT = 5.0  # seconds between counts of descriptors


class MacReadings:
    """Below `MacMachine`."""

    _lib: libproc.Libproc
    _scanner: Scanner

    def meter(self, tree: Tree) -> MacMeter:
        """See ports."""
        return MacMeter(self._lib, self._scanner, tree)

    def confirm(self, tree: Tree, seconds: float) -> Reading:
        """See ports."""
        return Reading(None, "absent", "macOS has no cheap page walk: the sum stays an upper bound")

    def host_sample(self) -> HostSample:
        """See ports. What is available is told in per cent only."""
        number = structs.integer
        total = number(self._lib.named("hw.memsize", 8))
        share = number(self._lib.named("kern.memorystatus_level", 4))
        swap = structs.swap(self._lib.named("vm.swapusage", 32) or b"")
        return HostSample(
            time.monotonic(),
            total,
            total * share // 100 if total is not None and share is not None else None,
            swap[0] if swap else None,
            swap[1] if swap else None,
            limit_bytes=total,
            limit_source="hw.memsize",
            level=number(self._lib.named("kern.memorystatus_vm_pressure_level", 4)),
        )

    def memory_basis(self) -> tuple[int, str]:
        """See ports."""
        return structs.integer(self._lib.named("hw.memsize", 8)) or 0, "hw.memsize"

    def openers(self, paths: tuple[str, ...]) -> dict[str, list[Opener]]:
        """See ports: not built for macOS yet."""
        return {path: [] for path in paths}

    def remote(self, path: str) -> str:
        """See ports: not built for macOS yet."""
        return ""

    def pressure(self) -> int | None:
        """Poll `host_sample`."""
        return None

    def counter_error(self) -> int:
        """The ledger is exact."""
        return 0


class MacMeter:
    """See ports.Meter."""

    def __init__(self, lib: libproc.Libproc, scanner: Scanner, tree: Tree) -> None:
        self._lib, self._scanner, self._tree = lib, scanner, tree
        self._starts: dict[int, int] = {}  # pid -> start in ticks
        self._due = self._count_at = 0.0
        self._tick = structs.timebase(lib.timebase())
        self._fds: int | None = None
        self._most = 0

    def close(self) -> None:
        """Nothing is kept open."""

    def read(self, now: float) -> TreeSample:
        """See ports."""
        if now >= self._due:
            self._due = now + LOOK_AGAIN
            self._look()
        found: dict[int, structs.Usage] = {}
        for pid, start in list(self._starts.items()):
            usage = structs.usage(self._lib.rusage(pid) or b"")
            if usage is None or usage.start != start:
                del self._starts[pid]  # it is gone, or another has its number
            else:
                found[pid] = usage
        if not found:
            return TreeSample(now, Reading(None, "absent", "nothing runs, or nothing that we may read"), 0)
        if now >= self._count_at:
            self._count_at = now + COUNT
            data = self._lib.descriptors(self._tree.main.pid) if self._tree.main.pid in found else None
            self._fds = None if data is None else len(structs.descriptors(data))
        return self._sample(now, found)

    def _peak(self, most: int) -> int | None:
        """A lifetime maximum that has risen was reached since the last look; one that has not says nothing."""
        risen, self._most = most > self._most, max(most, self._most)
        return most if risen else None

    def _look(self) -> None:
        found = self._scanner.find(self._tree, LOOK_AGAIN / 2)
        known, self._starts = self._starts, {}
        for pid in found.pids:
            usage = structs.usage(self._lib.rusage(pid) or b"") if pid not in known else None
            if pid in known:
                self._starts[pid] = known[pid]
            elif usage is not None and self._same(pid, found.snapshot.procs[pid].start):
                self._starts[pid] = usage.start

    def _same(self, pid: int, start: int) -> bool:
        data = self._lib.bsdinfo(pid)
        stat = structs.bsdinfo(data) if data else None
        return stat is not None and stat.start == start

    def _sample(self, now: float, found: dict[int, structs.Usage]) -> TreeSample:
        usages = list(found.values())
        total = sum(usage.footprint for usage in usages)
        many = len(usages) > 1
        why = f"sum over {len(usages)} processes: memory they share is counted in each" if many else ""
        largest = max(found, key=lambda pid: found[pid].footprint)
        return TreeSample(
            now,
            Reading(total, "upper-bound" if many else "exact", why),
            len(usages),
            largest=(largest, found[largest].footprint),
            fds=self._fds,
            cpu_s=sum(usage.cpu for usage in usages) * self._tick,
            read_bytes=sum(usage.read_bytes for usage in usages),
            written_bytes=sum(usage.written_bytes for usage in usages),
            peak_bytes=self._peak(usages[0].most) if not many else None,
        )
