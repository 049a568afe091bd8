"""Where the whole output goes: nowhere while it fits inline, then into a spool that is made at that moment.

Everything read passes here before more is read: a slow disk slows the command, and no queue grows. Must not know pipes.
Tests: tests/bounded/test_exec.py.
"""

from __future__ import annotations

from collections.abc import Callable

from midwatch.bounded.spool import SpoolInfo, Writer


class Sink:
    """Counts everything. `begin` makes the spool; None: nothing is kept."""

    def __init__(self, begin: Callable[[], Writer] | None, cap: int) -> None:
        self._begin = begin
        self._cap = cap
        self._early = bytearray()
        self._writer: Writer | None = None
        self._total = self._lines = 0

    @property
    def total(self) -> int:
        """Bytes so far."""
        return self._total

    @property
    def lines(self) -> int:
        """Newlines so far."""
        return self._writer.lines_total if self._writer else self._lines

    @property
    def ref(self) -> str | None:
        """The spool's, if there is one."""
        return self._writer.ref if self._writer else None

    @property
    def complete(self) -> bool:
        """Is all of it in the spool, so far?"""
        return self._writer is not None and self._writer.complete

    @property
    def why(self) -> str:
        """Why it is not complete, so far."""
        return self._writer.why if self._writer else ""

    def take(self, buffer: bytearray, count: int) -> None:
        """The first `count` bytes of `buffer` are the next ones of the output."""
        self._total += count
        if self._writer is None and self._begin is not None and self._total > self._cap:
            self.keep()
        if self._writer is not None:
            self._writer.write(buffer, count)
            return
        self._lines += buffer.count(b"\n", 0, count)
        if self._begin is not None:
            self._early += memoryview(buffer)[:count]

    def keep(self) -> None:
        """Make the spool now: not everything can be shown."""
        if self._writer is None and self._begin is not None:
            self._writer = self._begin()
            self._writer.write(self._early)
            self._early = bytearray()

    def close(self, facts: dict[str, object]) -> SpoolInfo | None:
        """No more will come."""
        return self._writer.close(facts) if self._writer else None
