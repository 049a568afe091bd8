"""Reads the journal back: whole, newest lines, as it grows, and for a restarted engine.

A torn last line, a corrupt line and a file that vanishes meanwhile are normal here: skipped and counted,
never raised. The readers work while no daemon runs. Names are offered by `record.journal`. Must not write
anything. Tests: tests/record/test_journal_read.py.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from midwatch.record.files import open_read
from midwatch.record.weeks import WEEK_SECONDS, Part, parts, path_of

LONGEST_LINE = 32 << 20  # a snapshot of thousands of services; anything longer is not ours
LARGEST_FILE = 256 << 20
HEADER = "journal.opened"
_HEADER_BYTES = b'"event":"' + HEADER.encode() + b'"'

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class JournalStats(msgspec.Struct):
    """What a reader met on its way."""

    files: int = 0
    lines: int = 0
    corrupt: int = 0  # lines that are not a JSON object
    torn: int = 0  # last lines without an end
    unreadable: int = 0  # files that could not be opened or read


class Snapshot(msgspec.Struct):
    """The newest snapshot and where it stands."""

    path: str
    offset: int  # of the first byte after its line
    covers_next: bool  # the effect of the next line's input is already in it
    value: dict[str, Any]


def wall_of(line: dict[str, Any]) -> float:
    """The wall time of a journal line; 0.0 when it has none that can be read."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(line["ts"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError):
        return 0.0


def read(
    folder: Path,
    *,
    since: float | None = None,
    services: set[str] | None = None,
    newest: int | None = None,
    stats: JournalStats | None = None,
    headers: bool = False,
) -> Iterator[dict[str, Any]]:
    """Lines in order, across files and week borders. `newest`: only the last so many of those that match.

    `headers`: also the opening lines with their snapshots (`journal.opened`), which are left out otherwise.
    """
    stats = stats if stats is not None else JournalStats()
    wanted = [p for p in parts(folder) if since is None or p.starts + WEEK_SECONDS > since]

    def matching(part: Part) -> Iterator[dict[str, Any]]:
        for line in _lines(path_of(folder, part), stats, headers):
            if services is not None and line.get("service") not in services:
                continue
            if since is not None and wall_of(line) < since:
                continue
            yield line

    if newest is None:
        for part in wanted:
            yield from matching(part)
        return
    kept: deque[list[dict[str, Any]]] = deque()
    missing = newest
    for part in reversed(wanted):
        if missing <= 0:
            break
        last = list(deque(matching(part), maxlen=missing))
        missing -= len(last)
        kept.appendleft(last)
    for chunk in kept:
        yield from chunk


def follow(folder: Path, poll: float, *, newest: int = 0) -> Iterator[dict[str, Any] | None]:
    """Lines as they are written, starting after what is there (or with its last `newest` lines, without a
    gap).

    None: nothing new yet; the next step then waits `poll` seconds first. Survives rotation and retention.
    """
    places = {part: _size(path_of(folder, part)) for part in parts(folder)}
    places = {part: _line_start(path_of(folder, part), size) for part, size in places.items()}
    if newest:
        kept: deque[dict[str, Any]] = deque(maxlen=newest)
        for part in sorted(places)[-64:]:
            kept.extend(_lines(path_of(folder, part), JournalStats(), False, until=places[part]))
        yield from kept
    while True:
        fresh = 0
        known = parts(folder)
        for part in known:
            start, path = places.get(part, 0), path_of(folder, part)
            if _size(path) <= start:
                continue
            for line, end in _complete(path, start):
                places[part] = end
                if line is not None and line.get("event") != HEADER:
                    fresh += 1
                    yield line
        places = {part: places.get(part, 0) for part in known}
        if not fresh:
            yield None
            time.sleep(poll)


def newest_snapshot(folder: Path) -> Snapshot | None:
    """The snapshot that was written last. Each file's opening line carries a number that only grows, so that
    a clock that was set back does not hide it.
    """
    numbered = [(n, path) for path in _paths(folder) if (n := file_number(path)) is not None]
    for _, path in sorted(numbered, reverse=True):
        found = last_snapshot(path)
        if found is not None:
            return found
    return None


def recover(
    folder: Path,
) -> tuple[dict[str, Any] | None, Iterator[tuple[dict[str, Any], float, float]]]:
    """The newest snapshot, and the inputs journalled after it as (input, awake, wall), in order.

    Each input carries the line's service under "service" unless it has one of its own. Without any snapshot:
    None and all inputs there are.
    """
    found = newest_snapshot(folder)
    if found is None:
        return None, _inputs([(path, 0) for path in _paths(folder)], False)
    order = _paths(folder)
    later = order[order.index(found.path) + 1 :] if found.path in order else []
    # A later file without a readable opening line still holds what happened after the snapshot.
    rest = [(path, 0) for path in later if file_number(path) is None]
    return found.value, _inputs([(found.path, found.offset), *rest], found.covers_next)


def _inputs(places: list[tuple[str, int]], skip_first: bool) -> Iterator[tuple[dict[str, Any], float, float]]:
    for path, start in places:
        for line, _ in _complete(path, start, torn=True):
            if line is None:
                continue
            value = line.get("input")
            skip, skip_first = skip_first, False
            if skip or not isinstance(value, dict):
                continue
            if "service" in line:
                value.setdefault("service", line["service"])
            awake = line.get("awake")
            yield value, float(awake) if isinstance(awake, (int, float)) else 0.0, wall_of(line)


def _lines(
    path: str, stats: JournalStats, headers: bool, until: int | None = None
) -> Iterator[dict[str, Any]]:
    stats.files += 1
    try:
        file = _open(path)
    except OSError:
        stats.unreadable += 1
        return
    with file:
        for raw, _ in _raw_lines(file, 0, until):
            line = _parse(raw)
            if line is None:
                if raw.strip():
                    stats.torn += not raw.endswith(b"\n")
                    stats.corrupt += raw.endswith(b"\n")
            elif headers or line.get("event") != HEADER:
                stats.lines += 1
                yield line


def _complete(path: str, start: int, *, torn: bool = False) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """(line or None for a corrupt one, offset after it) for each line with an end; `torn`: a last one
    without, too.
    """
    try:
        file = _open(path)
    except OSError:
        return
    with file:
        for raw, end in _raw_lines(file, start, None):
            if raw.endswith(b"\n") or torn:
                yield _parse(raw), end


def _raw_lines(file: BinaryIO, start: int, until: int | None) -> Iterator[tuple[bytes, int]]:
    """Raw lines with the offset after each; an endless one is passed over in pieces that parse as nothing."""
    end = start
    try:
        file.seek(start)
        while until is None or end < until:
            raw = file.readline(LONGEST_LINE)
            if not raw:
                return
            end += len(raw)
            yield raw, end
    except OSError:
        return


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _open(path: str) -> BinaryIO:
    return os.fdopen(open_read(path), "rb", buffering=1 << 16)


def _paths(folder: Path) -> list[str]:
    return [path_of(folder, part) for part in parts(folder)]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _line_start(path: str, size: int) -> int:
    """`size`, moved back to the beginning of a last line that is still being written."""
    try:
        with _open(path) as file:
            at = max(0, size - (1 << 16))
            file.seek(at)
            return at + file.read(size - at).rfind(b"\n") + 1 if size else 0
    except OSError:
        return size


class _Opening(msgspec.Struct):
    """As much of an opening line as orders the files: the snapshot is passed over, not built."""

    event: str
    number: int


_decode_opening = msgspec.json.Decoder(_Opening).decode


def file_number(path: str) -> int | None:
    """The number in a file's opening line, None when it has no readable one."""
    try:
        with _open(path) as file:
            opening = _decode_opening(file.readline(LONGEST_LINE))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return opening.number if opening.event == HEADER else None


def last_snapshot(path: str) -> Snapshot | None:
    """The last snapshot in one file. Its mark cannot occur inside a JSON string, where quotes are escaped."""
    try:
        with _open(path) as file:
            data = file.read(LARGEST_FILE)
    except OSError:
        return None
    before = len(data)
    while (at := data.rfind(_HEADER_BYTES, 0, before)) >= 0:
        start = data.rfind(b"\n", 0, at) + 1
        end = data.find(b"\n", at) + 1
        line = _parse(data[start:end]) if end else None
        if line is not None and line.get("event") == HEADER and isinstance(line.get("snapshot"), dict):
            return Snapshot(path, end, bool(line.get("covers_next")), line["snapshot"])
        before = start
    return None
