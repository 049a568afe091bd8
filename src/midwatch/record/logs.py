"""Log files of one service: which there are, their bytes in order, their times, and what has to go.

`<run>.<stream>.<n>.log`, each with an index `<...>.log.idx` of (u64 offset, f64 wall time) written by the
keeper's pump, rotated ones possibly `.log.gz`. What comes out is exactly the service's bytes; no view merged
from two streams is invented. Missing files and indexes are normal here: skipped, and `gaps` says so.
Following is in record/tailing.py and offered here, too. Must not decide when to rotate or compress. Tests:
tests/record/test_logs.py.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from midwatch.model.service import Logs
from midwatch.record.files import open_read

FIRST = 0  # the number of the first file of a run
CHUNK = 1 << 16
MOST_FILES = 200  # of one service, indexes not counted: a crash loop makes small files
MOST_TAIL = 64 << 20  # bytes that `tail` returns at most
LONGEST_LINE = 1 << 20  # `with_times` passes longer lines on in pieces
_ENTRY = struct.Struct("<Qd")
_ZIPPED = ".gz"
_INDEX = ".idx"
_TEMPORARY = ".tmp"


class LogFile(msgspec.Struct, frozen=True):
    """One file of one stream of one run; `bytes` is its size on disk."""

    path: str
    run: str
    run_no: int
    stream: str
    n: int
    bytes: int
    zipped: bool

    @property
    def index(self) -> str:
        """Where its sidecar index lies, if there is one."""
        return (self.path[: -len(_ZIPPED)] if self.zipped else self.path) + _INDEX


class Gap(msgspec.Struct, frozen=True):
    """Files of a stream that are gone: numbers `first` to `last`. `at_least`: bytes that are known to be
    missing.
    """

    run: str
    stream: str
    first: int
    last: int
    at_least: int | None

    def __str__(self) -> str:
        some = "an unknown number of" if self.at_least is None else f"at least {self.at_least}"
        return f"{some} bytes of {self.run} {self.stream} are gone (files {self.first} to {self.last})"


def parse(name: str) -> tuple[str, int, str, int, bool] | None:
    """(run, run number, stream, n, zipped) of a file name; None for anything else."""
    zipped = name.endswith(_ZIPPED)
    parts = (name[: -len(_ZIPPED)] if zipped else name).split(".")
    if len(parts) < 4 or parts[-1] != "log":
        return None
    run, run_no, stream, n = ".".join(parts[:-3]), parts[-4], parts[-3], parts[-2]
    if not (stream and _number(run_no) and _number(n)):
        return None
    return run, int(run_no), stream, int(n), zipped


def files(folder: Path, *, run: str | None = None, stream: str | None = None) -> list[LogFile]:
    """The log files, oldest first (by run number, stream, n). A file that is there plain and zipped counts
    once.
    """
    found: dict[tuple[int, str, str, int], LogFile] = {}
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []
    for entry in entries:
        parsed = parse(entry.name)
        if parsed is None or (run is not None and parsed[0] != run):
            continue
        if stream is not None and parsed[2] != stream:
            continue
        try:
            if not entry.is_file(follow_symlinks=False):
                continue
            size = entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue  # vanished meanwhile
        file = LogFile(entry.path, parsed[0], parsed[1], parsed[2], parsed[3], size, parsed[4])
        key = (file.run_no, file.run, file.stream, file.n)
        if key not in found or not file.zipped:
            found[key] = file
    return [found[key] for key in sorted(found)]


def runs(folder: Path) -> list[str]:
    """The runs that have output here, oldest first."""
    return list(dict.fromkeys(file.run for file in files(folder)))


def previous_run(folder: Path, current: str | None = None) -> str | None:
    """The newest run with output here before `current` (None: before the newest that has output)."""
    known = runs(folder)
    if current is not None and current not in known:
        return known[-1] if known else None
    return known[-2] if len(known) > 1 else None


def streams(folder: Path, run: str | None = None) -> list[str]:
    """The names of the streams there are: "out", and "err" when it is kept apart."""
    return sorted({file.stream for file in files(folder, run=run)}, key=lambda s: (s != "out", s))


def open_log(file: LogFile) -> IO[bytes]:
    """The file's content, unpacked. Raises OSError."""
    if not file.zipped:
        return os.fdopen(open_read(file.path), "rb", buffering=0)
    import gzip

    raw = os.fdopen(open_read(file.path), "rb")
    packed = gzip.GzipFile(fileobj=raw, mode="rb")
    packed.myfileobj = raw  # type: ignore[assignment]  # closed together
    return packed  # type: ignore[return-value]


def stream(folder: Path, *, run: str | None = None, stream: str = "out") -> Iterator[bytes]:
    """All bytes of a stream in order, in pieces; `run` None: of every run there is."""
    for file in files(folder, run=run, stream=stream):
        yield from pieces(file)


def pieces(file: LogFile) -> Iterator[bytes]:
    """One file's bytes; a file that is gone has none, a torn zipped one gives what can be unpacked."""
    try:
        with open_log(file) as source:
            while piece := source.read(CHUNK):
                yield piece
    except (OSError, EOFError):
        return
    except Exception as error:
        if type(error).__module__ != "zlib":  # zlib.error, without importing zlib for every plain file
            raise


def tail(
    folder: Path,
    lines: int,
    run: str | None = None,
    *,
    stream: str = "out",
    most: int = MOST_TAIL,
    until: tuple[str, int] | None = None,
) -> bytes:
    """The last `lines` lines, at most `most` bytes of them, across files (and runs when `run` is None).

    `until`: (path, offset) where the text ends, instead of the end of the newest file."""
    if lines <= 0:
        return b""
    kept: list[bytes] = []
    room, missing = most, lines
    for file in reversed(files(folder, run=run, stream=stream)):
        end = until[1] if until is not None and file.path == until[0] else None
        part, missing = _tail_of(file, missing, room, bool(kept), end)
        if part:
            kept.append(part)
            room -= len(part)
        if missing <= 0 or room <= 0:
            break
    return b"".join(reversed(kept))


def _tail_of(
    file: LogFile, missing: int, room: int, more_follows: bool, end: int | None
) -> tuple[bytes, int]:
    """The end of one file that holds the last `missing` lines (as far as `room` goes), and how many are
    missing then.

    The line break that ends the text ends its last line and begins none.
    """
    data = b""
    for block in _blocks_backward(file, room, end):
        data = block + data
        breaks = data.count(b"\n")
        if not more_follows and data.endswith(b"\n"):
            breaks -= 1
        if breaks >= missing:
            break
    data = data[-room:] if len(data) > room else data
    breaks = data.count(b"\n")
    ends = not more_follows and data.endswith(b"\n")
    if breaks - ends < missing:
        return data, missing - (breaks - ends)
    at = len(data) - 1 if ends else len(data)
    for _ in range(missing):
        at = data.rfind(b"\n", 0, at)
    return data[at + 1 :], 0


def _blocks_backward(file: LogFile, room: int, end: int | None) -> Iterator[bytes]:
    """The file from its end in growing blocks; a zipped one in one piece (its last `room` bytes)."""
    if file.zipped:
        data = b""
        for piece in pieces(file):
            data += piece
            if len(data) > 2 * room:
                data = data[-room:]
        yield data[-room:]
        return
    try:
        with open_log(file) as source:
            at = os.fstat(source.fileno()).st_size if end is None else end
            size = CHUNK
            while at > 0:
                size = min(size, at)
                at -= size
                yield os.pread(source.fileno(), size, at)
                size *= 4
    except OSError:
        return


def times(file: LogFile) -> list[tuple[int, float]]:
    """The index of a file, by offset; [] when it is missing. Torn or impossible entries are left out."""
    try:
        fd = open_read(file.index)
    except OSError:
        return []
    with os.fdopen(fd, "rb") as source:
        data = source.read(64 << 20)
    whole = len(data) // _ENTRY.size * _ENTRY.size
    out: list[tuple[int, float]] = []
    for offset, wall in _ENTRY.iter_unpack(data[:whole]):
        if 0 < wall < 1e11 and (not out or offset >= out[-1][0]):
            out.append((offset, wall))
    return out


def with_times(
    folder: Path, *, run: str | None = None, stream: str = "out"
) -> Iterator[tuple[float | None, bytes]]:
    """(wall time of arrival to the second, or None when unknown, line with its end) for each line in order.

    A line takes the time of its first byte, also when it goes on in the next file of its run."""
    held, held_at = b"", None
    last_run = ""
    for file in files(folder, run=run, stream=stream):
        if held and file.run != last_run:
            yield held_at, held
            held = b""
        last_run = file.run
        index = times(file)
        offsets = [offset for offset, _ in index]
        at = 0
        for piece in pieces(file):
            for line in piece.splitlines(keepends=True) if b"\r" not in piece else _lines(piece):
                if not held:
                    slot = bisect_right(offsets, at) - 1
                    held_at = index[slot][1] if slot >= 0 else None
                at += len(line)
                held += line
                if held.endswith(b"\n") or len(held) >= LONGEST_LINE:
                    yield held_at, held
                    held = b""
    if held:
        yield held_at, held


def _lines(piece: bytes) -> list[bytes]:
    """Split after each line feed and nowhere else (splitlines also breaks at a carriage return)."""
    parts = piece.split(b"\n")
    out = [part + b"\n" for part in parts[:-1]]
    return [*out, parts[-1]] if parts[-1] else out


def gaps(folder: Path, *, run: str | None = None, stream: str = "out") -> list[Gap]:
    """What is missing by the numbers of the files there are; the index of a missing file tells its least
    size.
    """
    out: list[Gap] = []
    expected: dict[str, int] = {}
    for file in files(folder, run=run, stream=stream):
        first = expected.get(file.run, FIRST)
        if file.n > first:
            out.append(Gap(file.run, stream, first, file.n - 1, _least(folder, file, first)))
        expected[file.run] = file.n + 1
    return out


def _least(folder: Path, after: LogFile, first: int) -> int | None:
    known: int | None = None
    for n in range(max(first, after.n - MOST_FILES), after.n):
        path = os.path.join(folder, f"{after.run}.{after.stream}.{n}.log")
        index = times(LogFile(path, after.run, after.run_no, after.stream, n, 0, False))
        if index:
            known = (known or 0) + index[-1][0]
    return known


def prune(folder: Path, logs: Logs, keep: set[str] | set[Path]) -> list[tuple[str, int]]:
    """Remove the oldest files until the service is within its caps; returns (path, bytes) of each file
    removed.

    Caps: file_bytes x files in all, compressed and indexes included, and MOST_FILES files. `keep`: never
    these (the files being written). What cannot be removed stays and is counted again the next time.
    """
    spared = {os.fspath(path) for path in keep}
    known = files(folder)
    sizes = {file.path: file.bytes + _size(file.index) for file in known}
    total, count = sum(sizes.values()), len(known)
    cap = logs.file_bytes * logs.files
    removed: list[tuple[str, int]] = []
    for file in sorted(known, key=_age):
        if total <= cap and count <= MOST_FILES:
            break
        if file.path in spared or not _unlink(file.path):
            continue
        _unlink(file.index)
        total -= sizes[file.path]
        count -= 1
        removed.append((file.path, file.bytes))
    _sweep(folder)
    return removed


def compress(path: str | Path) -> str:
    """`x.log` -> `x.log.gz`, see record/compress_helper.py. Returns the new path; raises OSError."""
    from midwatch.record import compress_helper

    return compress_helper.compress(os.fspath(path))


def follow(
    folder: Path, *, run: str | None = None, stream: str = "out", poll: float = 0.2, lines: int = 0
) -> Iterator[bytes | None]:
    """See record/tailing.py."""
    from midwatch.record import tailing

    return tailing.follow(folder, run=run, stream=stream, poll=poll, lines=lines)


def _age(file: LogFile) -> tuple[int, int, str]:
    """Whole runs go oldest first; within one, the lower numbers of all its streams."""
    return file.run_no, file.n, file.stream


def _sweep(folder: Path) -> None:
    """Leftovers of an interrupted `compress` and indexes without a file (a day old: nobody works on them)."""
    import time

    try:
        names = {entry.name for entry in os.scandir(folder)}
    except OSError:
        return
    for name in names:
        base = name.removesuffix(_INDEX)
        orphan = base != name and base not in names and base + _ZIPPED not in names
        if (orphan or name.endswith(_ZIPPED + _TEMPORARY)) and parse(base.removesuffix(_TEMPORARY)):
            path = os.path.join(folder, name)
            try:
                if time.time() - os.lstat(path).st_mtime > 86400:
                    os.unlink(path)
            except OSError:
                continue


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 12


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
