"""Where a byte of the output lies in the data file, and what the index beside it says: pure.

A spool's data file is the output's first `head` bytes, then a ring with its last `ring` bytes. Position p of the output
is at p while p < head, else at head + (p - head - turn) % ring; `turn` is 0
until the ring is put in order (adopting.py). An output that fits is in the file as it was printed.
The index has a header (what has come, what is kept) and for each block of 64 KiB of the output the number of newlines
before it: its size does not depend on what is printed (an entry for every 1024th line would need 512 KiB for empty
lines), and finding a line scans one block, however long or short its lines are. Must not read files. Tests:
tests/bounded/test_spool_shape.py.
"""

from __future__ import annotations

import struct
from binascii import crc32
from typing import NamedTuple

from midwatch.policy import defaults_bounded as d

BLOCK = d.SPOOL_BLOCK
MAGIC = b"MWSPOOL1"
_FIELDS = struct.Struct("<8s7QI4x")
HEADER = _FIELDS.size
SLOT = struct.Struct("<Q")


class Shape(NamedTuple):
    """How much is kept of both ends."""

    head: int
    ring: int

    @property
    def head_slots(self) -> int:
        return -(-self.head // BLOCK)

    @property
    def ring_slots(self) -> int:
        return -(-self.ring // BLOCK) + 1

    @property
    def index_bytes(self) -> int:
        return HEADER + SLOT.size * (self.head_slots + self.ring_slots)

    def slot(self, block: int) -> int:
        """Which entry of the index is of this block."""
        first = self.head_slots
        return block if block < first else first + (block - first) % self.ring_slots

    def kept(self, stored: int, busy: int = 0) -> tuple[tuple[int, int], ...]:
        """The stretches of the output that are in the file, [begin, end). `busy`: where a write that is under way ends;
        what it overwrites in the ring counts as gone before it begins."""
        last = max(stored, busy)
        if last <= self.head + self.ring:
            return ((0, stored),)
        begin = max(self.head, last - self.ring)
        first = (0, min(self.head, stored))
        return (first, (begin, stored)) if begin < stored else (first,)

    def pieces(self, begin: int, end: int, turn: int = 0) -> list[tuple[int, int]]:
        """Offset and length in the file of a stretch of the output that is kept (at most three)."""
        out = []
        while begin < end:
            if begin < self.head:
                at, room = begin, self.head - begin
            else:
                inside = (begin - self.head - turn) % self.ring
                at, room = self.head + inside, self.ring - inside
            size = min(room, end - begin)
            out.append((at, size))
            begin += size
        return out

    def turn(self, kept: tuple[tuple[int, int], ...]) -> int:
        """By how much a ring that is in order is turned; 0: it did not go round, or ended where it began."""
        return (kept[1][0] - self.head) % self.ring if len(kept) > 1 else 0

    def file_bytes(self, stored: int) -> int:
        return min(stored, self.head + self.ring)


class Header(NamedTuple):
    """What the writer has done so far. `stored` < `seen` once it had to stop storing."""

    seen: int = 0
    lines: int = 0
    stored: int = 0
    stored_lines: int = 0
    head: int = 0
    ring: int = 0
    busy: int = 0  # while the ring is overwritten: where the output will end then

    @property
    def shape(self) -> Shape:
        return Shape(self.head, self.ring)

    @property
    def kept(self) -> tuple[tuple[int, int], ...]:
        return self.shape.kept(self.stored, self.busy)

    def pack(self) -> bytes:
        words = _FIELDS.pack(MAGIC, *self, 0)
        return _FIELDS.pack(MAGIC, *self, crc32(words))


def unpack(data: bytes) -> Header | None:
    """None: this is no header, or a damaged one."""
    if len(data) < HEADER:
        return None
    magic, *fields, checksum = _FIELDS.unpack_from(data)
    header = Header(*fields)
    if magic != MAGIC or crc32(_FIELDS.pack(MAGIC, *header, 0)) != checksum:
        return None
    sound = header.stored <= header.seen and header.stored_lines <= header.lines and header.head and header.ring
    return header if sound else None
