"""The fake machine's memory: meters, confirmation and the machine's own numbers.

Everything is computed from `FakeProcess` and `FakeMemory` at the moment of asking. `meters_open` counts what a test
expects to be closed. Must not touch the real system.
"""

from __future__ import annotations

import os

from midwatch.machine.fake_pause import FakePause
from midwatch.machine.fake_stage import FakeProcess
from midwatch.machine.ports import Rung, Tree
from midwatch.model.sample import HostSample, Reading, TreeSample


class FakeReadings(FakePause):
    """Below `FakeMachine`."""

    meters_open = 0
    confirmed = 0  # how often `confirm` was asked

    def _members(self, tree: Tree) -> tuple[list[FakeProcess], Rung]:
        """In fake.py."""
        raise NotImplementedError

    def _reading(self, members: list[FakeProcess]) -> Reading:
        if not members:
            return Reading(None, "absent", "nothing runs")
        if not self.memory.readable:
            return Reading(None, "absent", "no process of the tree could be read")
        total = sum(process.held_bytes for process in members)
        if len(members) > 1:
            return Reading(total, "upper-bound", f"sum over {len(members)} processes")
        return Reading(total, "approximate" if self.memory.error else "exact")

    def meter(self, tree: Tree) -> FakeMeter:
        self._raise("meter")
        self.meters_open += 1
        return FakeMeter(self, tree)

    def tree_sample(self, tree: Tree, now: float) -> TreeSample:
        """What a meter reads."""
        self._raise("read")
        members = self._members(tree)[0]
        held = self._reading(members)
        if held.value is None:
            return TreeSample(now, held, len(members))
        main = next((process for process in members if process.pid == tree.main.pid), None)
        largest = max(members, key=lambda process: process.held_bytes)
        memory = tree.containment.memory
        inside = [process for process in self.procs.values() if memory and memory in process.cgroups]
        return TreeSample(
            now, held, len(members), None, sum(process.swap_bytes for process in members),
            (largest.pid, largest.held_bytes), main.fds if main else None, main.fd_limit if main else None,
            sum(process.threads for process in members), sum(process.cpu_s for process in members),
            sum(process.read_bytes for process in members), sum(process.written_bytes for process in members),
            sum(process.held_bytes - process.shared_bytes for process in inside) if memory else None,
        )  # fmt: skip

    def confirm(self, tree: Tree, seconds: float) -> Reading:
        self._raise("confirm")
        self.confirmed += 1
        members = self._members(tree)[0]
        if not members:
            return Reading(None, "absent", "nothing runs")
        if not (self.memory.readable and self.memory.pss):
            return Reading(None, "absent", "smaps_rollup: Permission denied")
        shared = max(process.shared_bytes for process in members)
        return Reading(shared + sum(p.held_bytes - p.shared_bytes for p in members), "exact")

    def host_sample(self) -> HostSample:
        self._raise("host_sample")
        memory = self.memory
        anon = sum(process.held_bytes for process in self.procs.values() if process.status is None)
        available = memory.available_bytes
        limit, source = self.memory_basis()
        return HostSample(
            self.awake, memory.total_bytes, memory.total_bytes - anon if available is None else available,
            memory.swap_total_bytes, memory.swap_free_bytes, memory.some, memory.full, "host", limit, source,
            anon if memory.limit_bytes is not None else None,
        )  # fmt: skip

    def memory_basis(self) -> tuple[int, str]:
        memory = self.memory
        if memory.limit_bytes is not None and memory.limit_bytes < memory.total_bytes:
            return memory.limit_bytes, "cgroup-limited: /cg/memory/memory.max"
        return memory.total_bytes, "MemTotal of the host"

    def pressure(self) -> int | None:
        """A descriptor that never polls POLLPRI; None where the test says that there is no pressure."""
        if self.memory.some is None or not hasattr(os, "eventfd"):
            return None
        return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def counter_error(self) -> int:
        return self.memory.error


class FakeMeter:
    """See ports.Meter."""

    def __init__(self, machine: FakeReadings, tree: Tree) -> None:
        self._machine, self._tree, self._open = machine, tree, True

    def read(self, now: float) -> TreeSample:
        return self._machine.tree_sample(self._tree, now)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._machine.meters_open -= 1
