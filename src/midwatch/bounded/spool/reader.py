"""Reading a spool: any stretch that is kept, and any line, without reading what lies between.

A spool may be written while it is read: its header is read anew when a stretch came from the ring, and what was
overwritten meanwhile counts as not there. Must not render. Tests: tests/bounded/test_spool_pages.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec

from midwatch.bounded.spool import folder as f
from midwatch.bounded.spool import shape, shelf
from midwatch.bounded.spool.errors import SpoolError
from midwatch.bounded.spool.meta import SpoolInfo
from midwatch.policy import defaults_bounded as d

_INDEX_MOST = 8 << 20  # bytes; a spool of 64 MiB has 8 kB


class Source(Protocol):
    """Something that can be shown by pages: a spool, a file."""

    @property
    def info(self) -> SpoolInfo:
        """How much there is, and which of it can be read."""

    @property
    def fd(self) -> int:
        """For the worker that searches."""

    def read(self, begin: int, end: int) -> bytes:
        """What is kept from `begin` on, up to `end` or to the end of its stretch, at most READ_BUFFER."""

    def line_start(self, line: int) -> int | None:
        """Where a line (1 is the first) begins; None: in a part that is not kept. Past the last one: the end."""

    def lines_before(self, offset: int) -> int:
        """Newlines before a byte that is kept."""

    def still_kept(self, offset: int) -> bool:
        """Is it what it was when the spool was opened? The writer may have gone on."""

    def number(self, offset: int) -> int | None:
        """The line that a byte belongs to, if that is known without reading far."""

    def layout(self) -> list[tuple[int, int, int, int]]:
        """All that is kept, in order: offset in the file, length, offset in the output, newlines before it."""


class Overtaken(SpoolError):
    """The writer has gone round the ring meanwhile."""


@contextmanager
def opened(folder: int, name: str, info: SpoolInfo) -> Iterator[SpoolSource]:
    """A spool for reading. Raises SpoolError."""
    if info.state == "gone":
        raise SpoolError("gone", f"spool {info.ref} was {info.why}" if info.why else f"spool {info.ref} is gone")
    fds: list[int] = []
    try:
        fds.append(f.open_file(folder, shelf.data_name(name, info)))
        fds.append(f.open_file(folder, name + shelf.INDEX))
        yield SpoolSource(info, *fds)
    except FileNotFoundError:
        raise SpoolError("gone", f"spool {info.ref}: its data were removed") from None
    except OSError as error:
        raise SpoolError("damaged", f"spool {info.ref} cannot be read: {error.strerror or error}") from None
    finally:
        for fd in fds:
            os.close(fd)


class SpoolSource:
    """One spool, open."""

    def __init__(self, info: SpoolInfo, data: int, index: int) -> None:
        self.info = info
        self.fd = data
        self._index = index
        self._slots = b""
        self._header = shape.Header()
        self._look()
        self._shape = self._header.shape
        self._turn = self._shape.turn(info.kept) if info.turned else 0
        needed = info.bytes_kept if info.turned else self._shape.file_bytes(self._header.stored)
        if os.fstat(data).st_size < needed:
            raise SpoolError("damaged", f"spool {info.ref}: its data are shorter than its index says")

    def _look(self) -> None:
        words = os.pread(self._index, min(_INDEX_MOST, os.fstat(self._index).st_size), 0)
        header = shape.unpack(words)
        if header is None or len(words) < header.shape.index_bytes:
            text = f"spool {self.info.ref}: its index is damaged; its bytes are in {self.info.kept or 'its data file'}"
            raise SpoolError("damaged", text)
        self._header, self._slots = header, words
        if self.info.state != "done":
            self.info = msgspec.structs.replace(self.info, **shelf.counted(header))

    def _stretch(self, offset: int) -> tuple[int, int] | None:
        return next(((b, e) for b, e in self.info.kept if b <= offset < e), None)

    def read(self, begin: int, end: int) -> bytes:
        stretch = self._stretch(begin)
        if stretch is None:
            return b""
        end = min(end, stretch[1], begin + d.READ_BUFFER)
        parts = [os.pread(self.fd, size, at) for at, size in self._shape.pieces(begin, end, self._turn)]
        if self.info.state == "running" and begin >= self._shape.head:
            self._look()
            if self._stretch(begin) is None:
                raise self._overtaken()
        return b"".join(parts)

    def _overtaken(self) -> Overtaken:
        return Overtaken("gone", f"spool {self.info.ref}: that part was overwritten while it was read; read on later")

    def _slot(self, block: int) -> int:
        if block == 0:
            return 0
        at = shape.HEADER + shape.SLOT.size * self._shape.slot(block)
        return int(shape.SLOT.unpack_from(self._slots, at)[0])

    def lines_before(self, offset: int) -> int:
        begin, end = next((one for one in self.info.kept if one[0] <= offset <= one[1]), (0, 0))
        # behind the last byte of a stretch the entry may be another block's by now, so ask for that byte's block
        first = max(offset - 1, begin) // shape.BLOCK * shape.BLOCK
        if first >= begin:
            return self._slot(first // shape.BLOCK) + self._newlines(first, offset)
        after = first + shape.BLOCK  # the start of its block is gone: count back from the next known place
        if after <= end:
            return self._slot(after // shape.BLOCK) - self._newlines(offset, after)
        return self._header.stored_lines - self._newlines(offset, end)  # only the last stretch can be that short

    def _newlines(self, begin: int, end: int) -> int:
        data = self.read(begin, end)
        if len(data) != end - begin:
            raise self._overtaken()
        return data.count(b"\n")

    def line_start(self, line: int) -> int | None:
        wanted = line - 1  # newlines before it
        if wanted <= 0:
            return 0 if self._stretch(0) or not self._header.stored else None
        for begin, end in self.info.kept:
            if wanted <= self.lines_before(begin):
                return None
            if wanted <= self.lines_before(end):
                return self._after_newline(wanted, begin, end)
        return self._header.stored

    def _after_newline(self, wanted: int, begin: int, end: int) -> int:
        """Where the `wanted`-th newline of the output has its next byte; it lies in [begin, end)."""
        low, high = -(-begin // shape.BLOCK), (end - 1) // shape.BLOCK
        while low <= high:  # the last block with fewer newlines before it
            middle = (low + high) // 2
            if self._slot(middle) < wanted:
                low = middle + 1
            else:
                high = middle - 1
        first = max(begin, high * shape.BLOCK)
        before = self.lines_before(first)
        last = min(end, first // shape.BLOCK * shape.BLOCK + shape.BLOCK)
        data = self.read(first, last)
        if len(data) != last - first:
            raise self._overtaken()
        return first + nth_newline(data, wanted - before) + 1

    def still_kept(self, offset: int) -> bool:
        if self.info.state == "running" and offset >= self._shape.head:
            self._look()
        return self._stretch(offset) is not None

    def number(self, offset: int) -> int | None:
        try:
            found = self.lines_before(offset) + 1 if self._known(offset) else None
        except Overtaken:
            return None
        if self.info.state == "running" and offset >= self._shape.head:
            self._look()
        return found if self._known(offset) else None

    def _known(self, offset: int) -> bool:
        return any(begin <= offset <= end for begin, end in self.info.kept)

    def layout(self) -> list[tuple[int, int, int, int]]:
        out = []
        for begin, end in self.info.kept:
            at = begin
            for place, size in self._shape.pieces(begin, end, self._turn):
                out.append((place, size, at, self.lines_before(at)))
                at += size
        return out


def nth_newline(data: bytes, wanted: int) -> int:
    """Where the `wanted`-th (1 is the first) newline is; by halves, so that empty lines cost no more than long ones."""
    low, high = 0, len(data)
    while high - low > 1:
        middle = (low + high) // 2
        before = data.count(b"\n", low, middle)
        if before >= wanted:
            high = middle
        else:
            wanted -= before
            low = middle
    return low
