"""The part of `LinuxMachine` that guards live on: meters, the confirmation, and the machine's own numbers.

Everything is made at the first question. Must not judge a number.
"""

from __future__ import annotations

import time

from midwatch.machine.linux import confirm, meter
from midwatch.machine.linux.hostmem import HostMemory
from midwatch.machine.ports import Meter, Opener, Reading, Tree
from midwatch.machine.tree import Scanner
from midwatch.model.identity import ProcId
from midwatch.model.sample import HostSample


class Readings:
    """Below `LinuxMachine`."""

    _scanner: Scanner
    _keeper: int
    _version: tuple[int, int]
    _meters: meter.Meters | None = None
    _memory: HostMemory | None = None

    def members(self, tree: Tree) -> list[ProcId]:
        """In adapter.py."""
        raise NotImplementedError

    def _shared(self) -> meter.Meters:
        if self._meters is None:
            self._meters = meter.Meters(self._scanner, self._keeper, self._version)
        return self._meters

    def _host_memory(self) -> HostMemory:
        if self._memory is None:
            self._memory = HostMemory()
        return self._memory

    def meter(self, tree: Tree) -> Meter:
        """See ports."""
        return self._shared().meter(tree)

    def confirm(self, tree: Tree, seconds: float) -> Reading:
        """See ports."""
        return confirm.confirm(self.members(tree), seconds)

    def host_sample(self) -> HostSample:
        """See ports."""
        return self._host_memory().sample(time.monotonic())

    def memory_basis(self) -> tuple[int, str]:
        """See ports."""
        return self._host_memory().basis()

    def openers(self, paths: tuple[str, ...]) -> dict[str, list[Opener]]:
        """See ports."""
        from midwatch.machine.linux.openers import openers  # seldom needed

        return openers(paths)

    def remote(self, path: str) -> str:
        """See ports."""
        from midwatch.machine.linux.openers import remote

        return remote(path)

    def pressure(self) -> int | None:
        """See ports."""
        return self._host_memory().trigger()

    def counter_error(self) -> int:
        """See ports."""
        return self._shared().counters.error()
