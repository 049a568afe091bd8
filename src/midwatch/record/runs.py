"""Run records: the truth about what may be alive, one tiny file a run, made by an atomic rename.

Written before a run's gate opens, removed when its end has been taken. A torn or foreign file is reported as
a problem, with the run it names, and never raises: its run has to be looked for by marker. A disk that
refuses keeps the record in memory and `retry` writes it later. Must not know which runs are really alive.
Tests: tests/record/test_runs.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from midwatch.record.files import make_folder, open_fresh, read_small, write_all
from midwatch.record.flush import Flusher

LARGEST = 64 << 10
BLOCK, PAGE = 512, 4096  # records are padded, so that a shorter one covers a longer one
_IN_PLACE = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
MOST_RUNS = 10_000
_SUFFIX = ".json"
_TEMPORARY = ".tmp"


class RunStream(msgspec.Struct, frozen=True):
    """Where one output stream goes: the FIFO and the log file it was first pumped to."""

    fifo: str
    log: str


class RunRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a successor needs to find a run again: who it is, when it was made, how to find its tree and
    output.

    `pid` and `start` are None until it has been spawned; `start` as in model/identity.
    """

    run: str
    service: str
    boot: str
    spawned_wall: float
    spawned_awake: float
    marker: str
    pid: int | None = None
    start: int | None = None
    since: int = 0  # start of its first process, where `pid` is what a launcher left behind
    kill_dir: str | None = None
    memory_dir: str | None = None
    streams: dict[str, RunStream] = {}
    gate: bool = False
    state: Literal["spawning", "running"] = "spawning"


class RunProblem(msgspec.Struct, frozen=True):
    """A file that is no run record. `run` is what its name says."""

    path: str
    run: str
    message: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RunRecord).decode


class RunRecords:
    """The folder `runs/`."""

    def __init__(
        self,
        folder: Path,
        *,
        on_trouble: Callable[[str], None] | None = None,
        flusher: Flusher | None = None,
    ) -> None:
        self.folder = folder
        self._base = os.fspath(folder) + "/"
        self._on_trouble = on_trouble
        self._flusher = flusher or Flusher()
        self._own_flusher = flusher is None
        self._refused: dict[str, RunRecord] = {}
        self._refused_removals: dict[str, bool] = {}
        self._told = False

    @property
    def refused(self) -> tuple[str, ...]:
        """Runs whose newest record is not on disk."""
        return tuple(self._refused)

    def save(self, record: RunRecord, flush: bool = False) -> bool:
        """Write the record; False when the disk refused (said once an episode, tried again later). Never
        raises OSError.
        """
        path = self._path(record.run)
        try:
            self._write(path, _encode(record))
        except OSError as error:
            self._refused[record.run] = record
            self._tell(f"run record {path}: {error.strerror or error}")
            return False
        self._refused.pop(record.run, None)
        if flush:
            self._flusher.ask(path, folder=True)
        if self._refused or self._told:
            self.retry()
        return True

    def remove(self, run: str) -> bool:
        """The run's end has been taken. Silent when there is no file; False when the disk refused."""
        self._refused.pop(run, None)
        try:
            os.unlink(self._path(run))
        except FileNotFoundError:
            return True
        except OSError as error:
            self._refused_removals[run] = True
            self._tell(f"run record {self._path(run)}: {error.strerror or error}")
            return False
        self._refused_removals.pop(run, None)
        return True

    def retry(self) -> bool:
        """Write and remove what the disk refused; True when nothing is left. Worth a call from a slow
        timer.
        """
        try:
            for run, record in list(self._refused.items()):
                self._write(self._path(run), _encode(record))
                self._refused.pop(run, None)
            for run in list(self._refused_removals):
                if os.path.lexists(self._path(run)):
                    os.unlink(self._path(run))
                self._refused_removals.pop(run, None)
        except OSError:
            return False
        self._told = False
        return True

    def load(self) -> tuple[list[RunRecord], list[RunProblem]]:
        """Every record, oldest spawn first, and the files that are none. Leftovers of interrupted writes are
        removed.
        """
        records: list[RunRecord] = []
        problems: list[RunProblem] = []
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return [], []
        except OSError as error:
            return [], [RunProblem(str(self.folder), "", f"cannot read {self.folder}: {error.strerror}")]
        for name in names[:MOST_RUNS]:
            if name.endswith(_TEMPORARY):
                self._sweep(name)
            elif name.endswith(_SUFFIX):
                found = self._read(name)
                if isinstance(found, RunRecord):
                    records.append(found)
                else:
                    problems.append(found)
        if len(names) > MOST_RUNS:
            problems.append(
                RunProblem(str(self.folder), "", f"more than {MOST_RUNS} files, the others were not read")
            )
        return sorted(records, key=lambda r: (r.spawned_wall, r.run)), problems

    def close(self) -> None:
        """End the helper thread, if it is ours."""
        if self._own_flusher:
            self._flusher.close()

    def _path(self, run: str) -> str:
        if "/" in run or "\0" in run or not run or run[0] == ".":
            raise ValueError(f"not a run id: {run!r}")
        return f"{self._base}{run}{_SUFFIX}"

    def _write(self, path: str, data: bytes) -> None:
        data += b" " * (-len(data) % BLOCK)
        if len(data) <= PAGE and _replace_in_place(path, data):
            return
        temporary = path + _TEMPORARY
        try:
            fd = open_fresh(temporary)
        except FileNotFoundError:
            make_folder(self.folder)
            fd = open_fresh(temporary)
        try:
            write_all(fd, data)
        except OSError:
            os.unlink(temporary)
            raise
        finally:
            os.close(fd)
        os.rename(temporary, path)

    def _read(self, name: str) -> RunRecord | RunProblem:
        path = self._base + name
        run = name[: -len(_SUFFIX)]
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                return RunProblem(path, run, "not a regular file")
            data = read_small(path, LARGEST + 1)
        except OSError as error:
            return RunProblem(path, run, f"cannot be read: {error.strerror}")
        if len(data) > LARGEST:
            return RunProblem(path, run, f"larger than {LARGEST} bytes")
        try:
            record = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return RunProblem(path, run, f"torn or not a run record ({len(data)} bytes): {error}")
        if record.run != run:
            return RunProblem(path, run, f"names another run: {record.run}")
        return record

    def _sweep(self, name: str) -> None:
        try:
            os.unlink(self._base + name)
        except OSError as error:
            self._tell(f"{self._base}{name}: {error.strerror or error}")

    def _tell(self, text: str) -> None:
        if not self._told and self._on_trouble is not None:
            self._told = True
            self._on_trouble(f"{text}; supervision goes on, it is kept in memory and tried again")


def _replace_in_place(path: str, data: bytes) -> bool:
    """Put `data` over a record that is there already: one write within one page, which a kill cannot
    halve.

    Renaming over a file makes ext4 start the disk at once (150 us against 10 here), and this needs no free
    space. A power cut may tear it; then nothing of what it names is alive any more.
    """
    try:
        fd = os.open(path, _IN_PLACE)
    except OSError:
        return False  # the first record of this run, or something that is not ours: renaming settles it
    try:
        there = os.fstat(fd)
        if not stat.S_ISREG(there.st_mode) or there.st_nlink != 1 or there.st_size > PAGE:
            return False
        data = data.ljust(there.st_size)
        return os.pwrite(fd, data, 0) == len(data)
    except OSError:
        return False
    finally:
        os.close(fd)
