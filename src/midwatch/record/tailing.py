"""Follows the output of a service as it grows: across rotation, compression, pruning and new runs.

A file is left only when its successor exists and everything in it has been read; the last file of an older
run is watched a little longer, because its last bytes may come out of the pipe after the next run has begun.
Must not interpret a byte. Tests: tests/record/test_tailing.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from midwatch.record.logs import CHUNK, LogFile, files, open_log, tail

LINGER = 10  # quiet polls for which the last file of an older run is still watched
MOST_OPEN = 8


class _Open(msgspec.Struct):
    """One file being read."""

    file: LogFile
    source: IO[bytes]
    quiet: int = 0

    def read(self) -> bytes:
        try:
            data = self.source.read(CHUNK)
        except (OSError, EOFError):
            return b""
        return data or b""


def follow(
    folder: Path, *, run: str | None = None, stream: str = "out", poll: float = 0.2, lines: int = 0
) -> Iterator[bytes | None]:
    """Pieces of the stream as they come, beginning with the last `lines` lines of what is there.

    None: nothing new; the next step then waits `poll` seconds first. `run` None: of every run to come.
    """
    seen, reading, first = _start(folder, run, stream, lines)
    if first:
        yield first
    try:
        while True:
            for file in files(folder, run=run, stream=stream):
                key = (file.run_no, file.n)
                if key > seen and (opened := _try_open(file)) is not None:
                    seen = key
                    reading.append(opened)
            fresh = False
            for item in reading:
                while data := item.read():
                    fresh = True
                    item.quiet = 0
                    yield data
            reading = _still_needed(reading)
            if not fresh:
                yield None
                time.sleep(poll)
    finally:
        for item in reading:
            item.source.close()


def _start(
    folder: Path, run: str | None, stream: str, lines: int
) -> tuple[tuple[int, int], list[_Open], bytes]:
    """Where to begin, and the last lines before that; looked at again when it grew in between."""
    known = files(folder, run=run, stream=stream)
    if not known:
        return (-1, -1), [], b""
    newest = known[-1]
    opened = _try_open(newest)
    if opened is None or newest.zipped:
        return (newest.run_no, newest.n), [], tail(folder, lines, run, stream=stream)
    # The size first, the lines up to exactly there: nothing is shown twice and nothing is passed over.
    size = os.fstat(opened.source.fileno()).st_size
    opened.source.seek(size)
    before = _tail_before(folder, lines, run, stream, newest, size)
    return (newest.run_no, newest.n), [opened], before


def _tail_before(folder: Path, lines: int, run: str | None, stream: str, newest: LogFile, size: int) -> bytes:
    """The last lines of everything before byte `size` of the newest file."""
    if lines <= 0:
        return b""
    return tail(folder, lines, run, stream=stream, until=(newest.path, size))


def _try_open(file: LogFile) -> _Open | None:
    try:
        return _Open(file, open_log(file))
    except OSError:
        return None  # just compressed or pruned: the next look finds what there is


def _still_needed(reading: list[_Open]) -> list[_Open]:
    """Close what cannot grow any more."""
    out: list[_Open] = []
    for at, item in enumerate(reading):
        newest = at == len(reading) - 1
        continued = any(later.file.run == item.file.run for later in reading[at + 1 :])
        item.quiet += 1
        if newest or (not continued and item.quiet <= LINGER and len(reading) - at <= MOST_OPEN):
            out.append(item)
        else:
            item.source.close()
    return out
