"""A file read by pages like a spool: never the whole of it, whatever its size, kind and lines are.

There is no index, so a line is found by counting from the start; that reads, but keeps nothing, and ends at a time.
Must not render. Tests: tests/bounded/test_spool_file.py.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from midwatch.bounded.limits import DEFAULTS, Limits
from midwatch.bounded.spool import pages
from midwatch.bounded.spool.errors import SpoolError
from midwatch.bounded.spool.meta import SpoolInfo
from midwatch.bounded.spool.reader import nth_newline
from midwatch.policy import defaults_bounded as d


def read_file(
    path: str | Path,
    *,
    offset: int | None = None,
    line: int | None = None,
    length: int | None = None,
    count: int | None = None,
    column: int = 0,
    raw: bool = False,
    limits: Limits = DEFAULTS,
) -> pages.Page:
    """One page of a regular file. `lines_total` of the page is how many lines had to be passed. Raises SpoolError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise SpoolError("unknown", f"{path}: {error.strerror}") from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise SpoolError("usage", f"{path} is not a regular file")
        source = FileSource(fd, str(path), found)
        return pages.read(
            source, limits, offset=offset, line=line, length=length, count=count, column=column, raw=raw
        )  # fmt: skip
    except OSError as error:
        raise SpoolError("damaged", f"{path} cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)


class FileSource:
    """One file, open. Places that were counted to are remembered."""

    def __init__(self, fd: int, name: str, found: os.stat_result) -> None:
        self.fd = fd
        self.info = SpoolInfo(
            ref=name, state="done", created=found.st_mtime, bytes_total=found.st_size, bytes_stored=found.st_size,
            kept=((0, found.st_size),),
        )  # fmt: skip
        self._known: list[tuple[int, int]] = [(0, 0)]  # offset, newlines before it
        self._until = time.monotonic() + d.FILE_SCAN

    def read(self, begin: int, end: int) -> bytes:
        size = min(end, self.info.bytes_stored, begin + d.READ_BUFFER) - begin
        return os.pread(self.fd, size, begin) if size > 0 else b""

    def lines_before(self, offset: int) -> int:
        at, lines = max(one for one in self._known if one[0] <= offset)
        while at < offset:
            data = self._step(at, offset)
            if not data:
                break
            lines += data.count(b"\n")
            at += len(data)
        self._known.append((at, lines))
        return lines

    def still_kept(self, offset: int) -> bool:
        return offset < self.info.bytes_stored

    def number(self, offset: int) -> int | None:
        near = offset - max(at for at, _ in self._known if at <= offset) <= d.FILE_NEAR
        return self.lines_before(offset) + 1 if near else None

    def line_start(self, line: int) -> int | None:
        wanted = line - 1
        at, lines = max(one for one in self._known if one[1] < wanted or not one[0])
        while wanted > lines:
            data = self._step(at, self.info.bytes_stored)
            if not data:
                return self.info.bytes_stored
            inside = data.count(b"\n")
            if lines + inside >= wanted:
                at += nth_newline(data, wanted - lines) + 1
                self._known.append((at, wanted))
                return at
            at, lines = at + len(data), lines + inside
            self._known.append((at, lines))
        return 0

    def _step(self, begin: int, end: int) -> bytes:
        if time.monotonic() > self._until:
            text = f"{self.info.ref}: counting its lines takes longer than {d.FILE_SCAN:g} s; read it by offset"
            raise SpoolError("usage", text)
        return self.read(begin, end)

    def layout(self) -> list[tuple[int, int, int, int]]:
        return [(0, self.info.bytes_stored, 0, 0)]
