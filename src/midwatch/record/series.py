"""What each service held, minute by minute, on disk: one ring of fixed size a service, never more than 200 KiB.

600 fast rows as they were sampled, and 24 hours of 30-second rows with the smallest, the largest and the last value. A
row is written in one call as soon as it is taken, carries a number and a checksum, and overwrites the oldest: what a
crash has torn is skipped, nothing has to be repaired. While a number stands still no row is written: a row holds until
the next one, or until `seen` of the folder. Must not judge a number. Tests: tests/record/test_series.py.
"""

from __future__ import annotations

import os
import resource
from binascii import crc32
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from typing import Any

import msgspec

from midwatch.record.files import make_folder, open_read, open_update

FAST, SLOW, SLOW_SECONDS = 600, 2880, 30.0
QUALITIES = ("exact", "approximate", "upper-bound", "absent")
_STAMP = Struct("<II")  # number, checksum of the rest
_FAST = Struct("<dqqqqqqiiiiIB3x")
_SLOW = Struct("<dqqqiI")
_FAST_SIZE, _SLOW_SIZE = _STAMP.size + _FAST.size, _STAMP.size + _SLOW.size
SIZE = FAST * _FAST_SIZE + SLOW * _SLOW_SIZE
_MOST_OPEN = 64
_STILL = 64 << 10  # bytes: less than that is no news
_SUFFIX, _SEEN = ".series", "seen"


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One sample as it is kept. `at`: wall time; `run`: the run's number; None: absent."""

    at: float
    held: int | None
    quality: str = "exact"
    run: int = 0
    cgroup: int | None = None
    swap: int | None = None
    read: int | None = None
    written: int | None = None
    cpu_ms: int | None = None
    fds: int | None = None
    fd_limit: int | None = None
    members: int | None = None
    threads: int | None = None


class Span(msgspec.Struct, frozen=True):
    """Half a minute: the smallest, largest and last held bytes, the last number of descriptors."""

    at: float
    low: int
    high: int
    last: int
    fds: int | None
    run: int


class _Open:
    """What is known of one service's file."""

    __slots__ = ("fast", "first", "high", "last", "low", "row", "slow")

    def __init__(self, fast: int, slow: int) -> None:
        self.fast, self.slow = fast, slow  # numbers of the newest rows
        self.row: Row | None = None  # the newest written
        self.first = self.low = self.high = 0.0
        self.last: Row | None = None  # of the open half minute


class Series:
    """The folder of all services' rings, for the one writer. Never raises; a disk that refuses is told once."""

    def __init__(self, folder: Path, on_trouble: Callable[[str], None]) -> None:
        self.folder = folder
        self._place = f"{folder}{os.sep}"  # pathlib costs a tenth of each write
        self._on_trouble = on_trouble
        self._fds: OrderedDict[str, int] = OrderedDict()
        self._known: dict[str, _Open] = {}
        self._broken = self._failed = False
        # An eighth of what we may open at most: the daemon's own sockets come first.
        self._most = min(_MOST_OPEN, max(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8))

    def add(self, service: str, row: Row) -> None:
        """Keep a sample; on disk when this returns, unless it says nothing new."""
        try:
            known = self._known.get(service) or self._begin(service)
            if not _still(known.row, row):
                known.row = row
                known.fast += 1
                self._put(service, known.fast % FAST * _FAST_SIZE, known.fast, _packed(row))
            if row.held is not None:
                self._fold(service, known, row)
        except OSError as error:
            self._trouble(error)

    def seen(self) -> None:
        """Everything has been looked at now: what was not written has not changed."""
        self._broken, self._failed = self._failed, False
        path = self.folder / _SEEN
        try:
            try:
                os.utime(path)
            except FileNotFoundError:
                make_folder(self.folder)
                os.close(open_update(path))
        except OSError as error:
            self._trouble(error)

    def forget(self, service: str) -> None:
        """The service is gone, and its file with it."""
        self._known.pop(service, None)
        fd = self._fds.pop(service, None)
        if fd is not None:
            os.close(fd)
        try:
            os.unlink(path_of(self.folder, service))
        except OSError:
            pass

    def close(self) -> None:
        """Let go of the files."""
        while self._fds:
            os.close(self._fds.popitem()[1])
        self._known.clear()

    def _fold(self, service: str, known: _Open, row: Row) -> None:
        held = row.held or 0
        if known.last is not None and not 0.0 <= row.at - known.first < SLOW_SECONDS:
            last = known.last
            known.slow += 1
            body = _SLOW.pack(known.first, int(known.low), int(known.high), last.held or 0, _small(last.fds), last.run)
            self._put(service, FAST * _FAST_SIZE + known.slow % SLOW * _SLOW_SIZE, known.slow, body)
            known.last = None
        if known.last is None:
            known.first, known.low, known.high = row.at, held, held
        elif held < known.low:
            known.low = held
        elif held > known.high:
            known.high = held
        known.last = row

    def _begin(self, service: str) -> _Open:
        """The numbers go on where an earlier writer stopped."""
        make_folder(self.folder)
        data = os.pread(self._fd(service), SIZE, 0)
        fast = max((number for number, _ in _rows(data, 0, FAST, _FAST_SIZE)), default=0)
        slow = max((number for number, _ in _rows(data, FAST * _FAST_SIZE, SLOW, _SLOW_SIZE)), default=0)
        known = self._known[service] = _Open(fast, slow)
        return known

    def _fd(self, service: str) -> int:
        fd = self._fds.get(service)
        if fd is not None:
            self._fds.move_to_end(service)
            return fd
        fd = self._fds[service] = open_update(f"{self._place}{service.replace('/', '.')}{_SUFFIX}")
        if len(self._fds) > self._most:
            os.close(self._fds.popitem(last=False)[1])
        return fd

    def _put(self, service: str, offset: int, number: int, body: bytes) -> None:
        os.pwrite(self._fd(service), _STAMP.pack(number & 0xFFFFFFFF, crc32(body, number & 0xFFFFFFFF)) + body, offset)

    def _trouble(self, error: OSError) -> None:
        told, self._broken, self._failed = self._broken, True, True
        if not told:
            self._on_trouble(f"samples cannot be kept in {self.folder}: {error.strerror}")


def path_of(folder: Path, service: str) -> Path:
    """The ring of one service. `service` is "project/name"."""
    return folder / (service.replace("/", ".") + _SUFFIX)


def read(folder: Path, service: str) -> tuple[list[Row], list[Span]]:
    """The fast rows and the half minutes of a service, oldest first; empty without a readable file."""
    try:
        fd = open_read(path_of(folder, service))
    except OSError:
        return [], []
    try:
        data = os.pread(fd, SIZE, 0)
    except OSError:
        return [], []
    finally:
        os.close(fd)
    fast = [_row(body) for _, body in sorted(_rows(data, 0, FAST, _FAST_SIZE))]
    slow = [_span(body) for _, body in sorted(_rows(data, FAST * _FAST_SIZE, SLOW, _SLOW_SIZE))]
    return fast, slow


def seen(folder: Path) -> float | None:
    """Wall time until which the newest rows hold: nobody has looked since."""
    try:
        return os.stat(folder / _SEEN).st_mtime
    except OSError:
        return None


def shown(row: Row) -> dict[str, Any]:
    """A row for JSON: what is absent is not there."""
    return {name: value for name in row.__struct_fields__ if (value := getattr(row, name)) is not None}


def _rows(data: bytes, start: int, count: int, size: int) -> Iterator[tuple[int, bytes]]:
    """The whole rows of one ring with their numbers, in file order; torn and empty ones are left out."""
    for offset in range(start, min(start + count * size, len(data) - size + 1), size):
        number, checksum = _STAMP.unpack_from(data, offset)
        body = data[offset + _STAMP.size : offset + size]
        if number and crc32(body, number) == checksum:
            yield number, body


def _still(before: Row | None, row: Row) -> bool:
    """Does it say nothing that the newest row does not say?"""
    if before is None or not 0.0 <= row.at - before.at < SLOW_SECONDS or before.run != row.run:
        return False
    if before.held is None or row.held is None:
        return before.held is row.held
    moved = abs(before.held - row.held) >= _STILL
    return not moved and (before.fds, before.members, before.threads) == (row.fds, row.members, row.threads)


def _packed(row: Row) -> bytes:
    wide = (row.held, row.cgroup, row.swap, row.read, row.written, row.cpu_ms)
    narrow = (row.fds, row.fd_limit, row.members, row.threads)
    quality = QUALITIES.index(row.quality)
    return _FAST.pack(
        row.at, *(-1 if v is None else v for v in wide), *(_small(v) for v in narrow), row.run & 0xFFFFFFFF, quality
    )


def _small(value: int | None) -> int:
    return -1 if value is None else min(value, 0x7FFFFFFF)


def _row(body: bytes) -> Row:
    at, *numbers, run, quality = _FAST.unpack(body)
    held, cgroup, swap, read_, written, cpu, fds, limit, members, threads = (None if n < 0 else n for n in numbers)
    name = QUALITIES[quality] if quality < len(QUALITIES) else "absent"
    return Row(at, held, name, run, cgroup, swap, read_, written, cpu, fds, limit, members, threads)


def _span(body: bytes) -> Span:
    at, low, high, last, fds, run = _SLOW.unpack(body)
    return Span(at, low, high, last, None if fds < 0 else fds, run)
