"""What a killed run leaves behind, and how the next one ends it: a small file for each process, a slot for each run.

A run of a process that was killed with -9 cannot end its children; PDEATHSIG ends the first of them, a closed pipe who
writes, and this the rest: by the marker that all of them bear. A run that ended properly has no slot any more, so what
it left running is never touched. Must not end anybody who bears no marker. Tests: tests/system/test_bounded_death.py.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from midwatch.machine.ports import Machine, Tree
from midwatch.model.identity import ProcId
from midwatch.policy import defaults_bounded as d
from midwatch.record import files, place

_SLOT = 4096 + 512  # bytes; a marker may be a path of markers
_MOST = 64  # files of one sweep
_SLOTS = 1024


class Trace(msgspec.Struct):
    """How the processes of a run are found."""

    run: str
    marker: str
    main: ProcId


class Page(msgspec.Struct):
    """One slot: whose it is, and the run; None: none is going on."""

    owner: ProcId
    trace: Trace | None = None


_DECODER = msgspec.json.Decoder(Page)


def folder() -> Path:
    """Of the caller's own instance."""
    return place.home() / "exec"


class Book:
    """The traces of this process. Opened anew for each entry: no descriptor stays open between runs."""

    def __init__(self, owner: ProcId) -> None:
        self._owner = owner
        self._used: set[int] = set()
        self._paths: set[Path] = set()  # more than one if MIDWATCH_HOME changes while we live
        self._lock = threading.Lock()

    def open(self) -> Entry:
        """A slot for this run."""
        path = folder() / f"{self._owner.pid}-{self._owner.start}"
        with self._lock:
            if not self._paths:
                atexit.register(self.close)
            self._paths.add(path)
            slot = next((number for number in range(_SLOTS) if number not in self._used), -1)
            self._used.add(slot)
        return Entry(self, slot, path)

    def put(self, path: Path, slot: int, trace: Trace | None) -> str:
        """Why that failed, or ""."""
        if slot < 0:
            return f"more than {_SLOTS} runs at once: no trace of this one is kept"
        data = msgspec.json.encode(Page(self._owner, trace)).ljust(_SLOT)
        try:
            files.make_folder(path.parent)
            fd = files.open_update(path)
            try:
                os.pwrite(fd, data, slot * _SLOT)
            finally:
                os.close(fd)
        except OSError as error:
            return f"no trace of this run can be kept in {path.parent}: {error.strerror}"
        return ""

    def free(self, slot: int) -> None:
        """For another run."""
        with self._lock:
            self._used.discard(slot)

    def close(self) -> None:
        """This process ends, nothing of it is running."""
        if os.getpid() != self._owner.pid or self._used:
            return
        for path in self._paths:
            try:
                os.unlink(path)
            except OSError:
                pass


class Entry:
    """The trace of one run of ours. A folder that cannot be written costs the sweep, not the run: `why` says it."""

    def __init__(self, book: Book, slot: int, path: Path) -> None:
        self._book, self._slot, self._path = book, slot, path
        self.why = ""
        self._written = False

    def write(self, trace: Trace) -> None:
        """The run has begun."""
        self._written = True
        self.why = self._book.put(self._path, self._slot, trace)

    def remove(self) -> None:
        """The run has ended."""
        if self._written and not self.why:
            self._book.put(self._path, self._slot, None)
        self._book.free(self._slot)


def sweep(machine: Machine) -> int:
    """End what runs of dead processes have left; how many processes that were."""
    try:
        names = os.listdir(folder())[:_MOST]
    except OSError:
        return 0
    return sum(_end(machine, folder() / name) for name in names)


def _end(machine: Machine, path: Path) -> int:
    pages = list(_pages(path))
    if any(machine.alive(page.owner) for page in pages):
        return 0
    ended = 0
    boot = machine.now().boot
    for page in pages:
        if page.trace is not None:
            ended += _end_run(machine, page.trace) if page.owner.boot == boot else 0
    try:
        os.unlink(path)
    except OSError:
        pass
    return ended


def _pages(path: Path) -> Iterator[Page]:
    try:
        data = files.read_small(path, _SLOT * _SLOTS)
    except OSError:
        return
    for at in range(0, len(data), _SLOT):
        try:
            yield _DECODER.decode(data[at : at + _SLOT].rstrip(b"\0 "))
        except msgspec.MsgspecError:
            continue  # never used, or half written


def _end_run(machine: Machine, trace: Trace) -> int:
    left = machine.find(trace.marker, ())
    contained = machine.leftover(trace.run)
    ended = 0
    if left or machine.alive(trace.main):
        ended = machine.end(Tree(trace.run, trace.main, trace.marker, contained, 0), 0.0, d.VERIFY).ended
    machine.release(contained)
    return ended
