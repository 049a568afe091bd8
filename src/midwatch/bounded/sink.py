"""Where the whole output goes: nowhere while it fits inline, then into a spool that is made at that moment.

Everything read passes here before more is read: a slow disk slows the command, and no queue grows. What comes when the
spool is full of both ends is a flood (flood.py), whose end is taken back here. Must not know the command. Tests:
tests/system/test_bounded_exec.py, test_bounded_flood.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from midwatch.bounded.limits import DEFAULTS, Limits
from midwatch.bounded.spool import SpoolInfo, Writer
from midwatch.bounded.tape import Tape
from midwatch.policy import defaults_bounded as d

if TYPE_CHECKING:
    from midwatch.bounded.flood import Flood


class Sink:
    """Counts everything. `begin` makes the spool; None: nothing is kept."""

    def __init__(
        self, begin: Callable[[], Writer] | None, limits: Limits = DEFAULTS, folder: str | None = None
    ) -> None:
        """`folder`: where a flood may put its ring; None: it is read like anything else."""
        self._begin = begin
        self._limits = limits
        self._cap = limits.inline_cap
        self._folder = folder
        self._flood: Flood | None = None
        self._early = bytearray()
        self._writer: Writer | None = None
        self._total = self._lines = 0

    @property
    def total(self) -> int:
        """Bytes so far."""
        return self._total + (self._flood.moved if self._flood else 0)

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

    def pour(self, pipe: int) -> int | None:
        """Move what is in the pipe past us, if this is a flood; 0 at its end. None: it is none. Raises OSError."""
        if self._flood is None and not self._begins():
            return None
        assert self._flood is not None
        return self._flood.move(pipe)

    def _begins(self) -> bool:
        writer, ring = self._writer, self._limits.spool_tail
        if self._folder is None or writer is None or writer.why or self._total < self._limits.spool_cap:
            return False
        folder, self._folder = self._folder, None  # once
        try:
            from midwatch.bounded.flood import Flood  # it takes ctypes, and few runs are floods

            room = os.statvfs(folder)
            if room.f_bavail * room.f_frsize < self._limits.spool_free + ring:
                return False
            self._flood = Flood(folder, ring + 2 * d.SPOOL_BLOCK)
        except (OSError, ImportError):  # ImportError: no descriptor is left to load it
            return False
        return True

    def settle(self, tape: Tape) -> str:
        """The flood is over: take its end as if it had been read. Words if its lines could not be counted."""
        flood, self._flood = self._flood, None
        if flood is None or self._writer is None:
            return ""
        try:
            lines = flood.lines()
            keep = self._limits.spool_tail
            skip = max(0, flood.moved - keep)
            skip = max(0, skip - (self._total + skip) % d.SPOOL_BLOCK)
            inside = sum(tape.buffer.count(b"\n", 0, n) for n in flood.newest(flood.moved - skip, tape.buffer))
            if skip:
                self._writer.skip(skip, (lines if lines is not None else inside) - inside)
                tape.skip(skip)
                self._total += skip
            for count in flood.newest(flood.moved - skip, buffer := bytearray(len(tape.buffer))):
                tape.buffer[:count] = memoryview(buffer)[:count]
                read = tape.buffer
                tape.took(count)
                self.take(read, count)
        finally:
            flood.close()
        return "" if lines is not None else "not all lines could be counted: wc has died"

    def keep(self) -> None:
        """Make the spool now: not everything can be shown."""
        if self._writer is None and self._begin is not None:
            self._writer = self._begin()
            self._writer.write(self._early)
            self._early = bytearray()

    def close(self, facts: dict[str, object]) -> SpoolInfo | None:
        """No more will come."""
        if self._flood is not None:
            self._flood.close()
        return self._writer.close(facts) if self._writer else None
