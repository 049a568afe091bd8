"""The start and the end of one stream while it runs by, in memory that does not depend on its length.

Two buffers take turns, so that the end of what was read last is still there when the next read has come: a flood is
never copied. Small reads are gathered. Must not know pipes nor spools. Tests: tests/bounded/test_tape.py.
"""

from __future__ import annotations

_SMALL = 16 << 10  # bytes: what most commands print; a read that fills it asks for a large one


class Tape:
    """`start`: the first bytes. `newest()`: the last ones."""

    def __init__(self, start: int, end: int, read: int, *, count: bool = False) -> None:
        """`start`, `end`: bytes kept of both; `read`: the most that one read gives. `count`: newlines, too."""
        self.start = bytearray()
        self.total = self.lines = 0
        self._count = count
        self._first, self._keep = start, end
        self._read = read
        self._buffers = [bytearray(min(read, _SMALL)), bytearray(min(read, _SMALL))]
        self._turn = 0
        self._recent = bytearray()
        self._large = 0  # bytes of the last read, if they alone are the end: they are in the other buffer

    @property
    def buffer(self) -> bytearray:
        """Where the next read goes."""
        return self._buffers[self._turn]

    def took(self, count: int) -> None:
        """`buffer` has `count` more bytes of the stream. What is in it stays until the next read."""
        filled = count == len(self.buffer)
        if self._count:
            self.lines += self.buffer.count(b"\n", 0, count)
        with memoryview(self.buffer) as view:
            if len(self.start) < self._first:
                self.start += view[: min(count, self._first - len(self.start))]
            if count >= self._keep:
                self._recent.clear()
                self._large = count
                self._turn ^= 1
            else:
                self._settle()
                self._recent += view[:count]
                if len(self._recent) > 2 * self._keep:
                    del self._recent[: -self._keep]
        self.total += count
        if filled and len(self.buffer) < self._read:
            self._buffers[self._turn] = bytearray(self._read)  # nothing that is kept is in this one

    def skip(self, count: int) -> None:
        """`count` bytes have passed elsewhere, and more than the end follows."""
        self._recent.clear()
        self._large = 0
        self.total += count

    def _settle(self) -> None:
        if self._large:
            with memoryview(self._buffers[self._turn ^ 1]) as view:
                self._recent += view[max(0, self._large - self._keep) : self._large]
            self._large = 0

    def newest(self, count: int) -> bytes:
        """The last `count` bytes, or as many as are kept."""
        self._settle()
        count = min(count, len(self._recent))
        return bytes(self._recent[len(self._recent) - count :])
