"""The writer of one spool: takes everything, counts everything, keeps both ends, never raises because of the disk.

When the disk, the quota or a file size limit refuses, storing stops for good, counting goes on, `complete` turns False
and `why` says it. After each write the header on disk is true: whoever kills us, what was written can be read. Must not
know what is written. Tests: tests/bounded/test_spool_writer.py, tests/system/test_spool_faults.py.
"""

from __future__ import annotations

import os
import time
from typing import Any, Self

import msgspec

from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import folder as f
from midwatch.bounded.spool import meta, quota, shape, shelf
from midwatch.bounded.spool.errors import SpoolError
from midwatch.bounded.spool.meta import SpoolInfo

Buffer = bytes | bytearray | memoryview


class Writer:
    """`ref` is None when not even an empty spool could be made; then only counting is done, and `why` says so."""

    def __init__(
        self, home: f.Folder, limits: Limits, info: SpoolInfo, name: str, fds: tuple[int, int]
    ) -> None:
        self._home, self._limits, self._name = home, limits, name
        self._info = info
        self._data, self._index = fds
        self._shape = shape.Shape(limits.spool_head, limits.spool_tail)
        self._seen = self._lines = self._stored = self._stored_lines = self._reserved = self._floor = 0
        self._closed = False
        self.why = ""

    @classmethod
    def none(cls, home: f.Folder, limits: Limits, why: str) -> Writer:
        """One that keeps nothing."""
        writer = cls(home, limits, SpoolInfo(ref="", state="gone", created=time.time()), "", (-1, -1))
        writer.why = why
        return writer

    @property
    def ref(self) -> str | None:
        return self._info.ref or None

    @property
    def complete(self) -> bool:
        """Can every byte so far be read back?"""
        return not self.why and self._seen <= self._shape.head + self._shape.ring

    @property
    def bytes_total(self) -> int:
        return self._seen

    @property
    def lines_total(self) -> int:
        """Newlines."""
        return self._lines

    def write(self, data: Buffer, size: int | None = None) -> None:
        """The next bytes of the output: all of `data`, or its first `size` (for a buffer that is used again)."""
        with memoryview(data) as whole, whole[:size] as view:
            countable = bytes(view) if isinstance(data, memoryview) else data
            if self.why:
                self._lines += countable.count(b"\n", 0, len(view))
                self._seen += len(view)
                return
            if self._stored + len(view) > self._shape.head + self._shape.ring:
                self._announce(self._stored + len(view))
            stored = self._store(view) if not self.why else 0
            marks = self._count(countable, len(view), stored)
        self._tell(marks)

    def skip(self, count: int, lines: int) -> None:
        """`count` bytes with so many newlines have passed elsewhere, up to where a block begins. They must not be
        missed: as much as the ring holds has to follow."""
        self._seen += count
        self._lines += lines
        if not self.why:
            self._stored += count
            self._stored_lines += lines
            self._floor = self._stored
            self._tell([(self._stored // shape.BLOCK, self._lines)])

    def _announce(self, busy: int) -> None:
        """Before the ring is overwritten: who reads meanwhile, or after our death, must not take new bytes for old."""
        try:
            os.pwrite(self._index, self._header(busy).pack(), 0)
        except OSError as error:
            self.why = f"the disk refused its index: {error.strerror}"

    def _store(self, view: memoryview) -> int:
        """How many of these bytes are on disk now."""
        done = 0
        try:
            for begin, size in self._shape.pieces(self._stored, self._stored + len(view)):
                at, end = begin, done + size
                if begin + size > self._reserved and not self._reserve(begin + size):
                    end = done + max(0, self._reserved - begin)
                while done < end:
                    written = os.pwrite(self._data, view[done:end], at)
                    at, done = at + written, done + written
                if self.why:
                    break
        except OSError as error:
            self.why = f"the disk refused after {self._stored + done:,} bytes: {error.strerror}"
        return done

    def _reserve(self, needed: int) -> bool:
        most = self._shape.head + self._shape.ring
        try:
            with self._home.opened() as folder, f.locked(folder):
                now = time.time()
                self._reserved, why = quota.reserve(folder, self._data, needed, most, self._limits, now)
        except SpoolError as error:
            why = str(error)
        if why:
            self.why = f"stopped after {max(self._stored, self._reserved):,} bytes: {why}"
        return not why

    def _count(self, data: bytes | bytearray, size: int, stored: int) -> list[tuple[int, int]]:
        """Count lines; the index entries of the blocks that begin in what was stored."""
        marks = []
        at, lines = 0, self._lines
        while at < stored:
            stop = min(stored, at + shape.BLOCK - (self._stored + at) % shape.BLOCK)
            lines += data.count(b"\n", at, stop)
            at = stop
            if (self._stored + at) % shape.BLOCK == 0:
                marks.append(((self._stored + at) // shape.BLOCK, lines))
        self._stored += stored
        self._stored_lines = lines
        self._lines = lines + (data.count(b"\n", stored, size) if stored < size else 0)
        self._seen += size
        return marks

    def _tell(self, marks: list[tuple[int, int]]) -> None:
        try:
            for block, lines in marks:
                at = shape.HEADER + shape.SLOT.size * self._shape.slot(block)
                os.pwrite(self._index, shape.SLOT.pack(lines), at)
            os.pwrite(self._index, self._header().pack(), 0)
        except OSError as error:
            self.why = self.why or f"the disk refused its index: {error.strerror}"

    def _header(self, busy: int = 0) -> shape.Header:
        if self._floor:  # in the ring only what came after a skip is the output's
            busy = max(busy, self._floor + self._shape.ring)
        return shape.Header(
            self._seen,
            self._lines,
            self._stored,
            self._stored_lines,
            self._shape.head,
            self._shape.ring,
            busy,
        )

    def close(self, facts: dict[str, Any] | None = None, *, sha256: str = "") -> SpoolInfo:
        """The output has ended. `facts` are kept beside it (how the command ended, what a search skipped).

        Never raises because of the disk: what cannot be said there is in the SpoolInfo returned.
        """
        if self._closed:
            return self._info
        self._closed = True
        header = self._header()
        dropped = header.seen - sum(end - begin for begin, end in header.kept)
        numbers = shelf.counted(header) | {
            "complete": self.complete,
            "why": self.why or self._middle(dropped),
        }
        self._info = msgspec.structs.replace(
            self._info, state="done", ended=time.time(), facts=facts or {}, sha256=sha256, **numbers
        )
        if self._data >= 0:
            self._finish(header)
        return self._info

    def _middle(self, dropped: int) -> str:
        return f"{dropped:,} bytes in the middle are more than a spool keeps" if dropped > 0 else ""

    def _finish(self, header: shape.Header) -> None:
        try:
            os.pwrite(self._index, header.pack(), 0)
            os.ftruncate(self._data, self._shape.file_bytes(self._stored))
            with self._home.opened() as folder:
                self._write_meta(folder)
        except (OSError, SpoolError) as error:
            why = self._info.why or f"its end could not be written: {error}"
            self._info = msgspec.structs.replace(self._info, why=why)
        finally:
            self._release()

    def _write_meta(self, folder: int) -> None:
        data = meta.encode(self._info)
        name = self._name + shelf.META
        try:
            f.replace_file(folder, name, data)
        except OSError:  # a full disk: over the file that was made at the start, whose block is ours
            short = meta.encode(msgspec.structs.replace(self._info, facts={}))
            fd = f.open_file(folder, name, write=True)
            try:
                os.pwrite(fd, short, 0)
                os.ftruncate(fd, len(short))
            finally:
                os.close(fd)

    def discard(self) -> None:
        """Nobody wants it after all."""
        if self._closed:
            return
        self._closed = True
        if self._data >= 0:
            try:
                with self._home.opened() as folder:
                    shelf.forget(folder, self._name)
            except SpoolError:
                pass  # a folder that was taken away took it with it
            self._release()

    def _release(self) -> None:
        os.close(self._data)
        os.close(self._index)
        self._data = self._index = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and self._data >= 0:
            self._release()  # as if its process had died: a reader finds it "lost"
