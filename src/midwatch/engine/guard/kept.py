"""What the guards know, across engines: one small file, so that a successor neither repeats a warning nor forgets one.

Times in it are awake times of this boot; after another boot the runs are others, and it is thrown away. Must not judge.
Tests: tests/engine/test_guard.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from midwatch.policy import defaults
from midwatch.policy.guard.host import HostState
from midwatch.policy.guard.memory import MemoryState
from midwatch.policy.leaks.floors import Series
from midwatch.record.files import open_fresh, read_small, write_all

if TYPE_CHECKING:
    from midwatch.engine.core import Engine
    from midwatch.engine.guard.sampler import Sampler

_LARGEST = 32 << 20


class Guards(msgspec.Struct, omit_defaults=True):
    """The first file: small, written whenever a guard has said something."""

    boot: str = ""
    host: HostState = HostState()
    memory: dict[str, MemoryState] = {}  # by run id


class Floors(msgspec.Struct, omit_defaults=True):
    """The second file: the floors of 500 services are a megabyte."""

    boot: str = ""
    series: dict[str, dict[str, Series]] = {}  # by service id, then kind


class Kept:
    """One per engine."""

    def __init__(self, engine: Engine, sampler: Sampler) -> None:
        self._engine = engine
        self._sampler = sampler
        self._guards = engine.layout.home / "guards.json"
        self._floors = engine.layout.home / "floors.json"
        self._memory: dict[str, MemoryState] = {}
        self._saved = self._saved_floors = 0.0
        self.changed = False

    def load(self) -> None:
        """What an earlier engine of this boot knew; nothing when it cannot be read."""
        now = self._engine.machine.now()
        self._saved = self._saved_floors = now.awake
        guards, floors = _read(self._guards, Guards), _read(self._floors, Floors)
        if isinstance(guards, Guards) and guards.boot == now.boot:
            self._memory = guards.memory
            self._sampler.host.state = guards.host
        if isinstance(floors, Floors) and floors.boot == now.boot:
            self._sampler.leaks.restore(floors.series)

    def memory(self, run_id: str) -> MemoryState | None:
        """The state of a run that is met for the first time by this engine."""
        return self._memory.pop(run_id, None)

    def forget(self, run_id: str) -> None:
        """The run is gone."""
        self._memory.pop(run_id, None)

    def save(self, whole: bool = False) -> None:
        """Write when something was said (at most once a second), and now and then. `whole`: everything, now."""
        now = self._engine.machine.now()
        least = defaults.GUARD_SAVE_SOON if self.changed else defaults.GUARD_SAVE
        if whole or now.awake - self._saved >= least:
            self._saved, self.changed = now.awake, False
            memory = {watch.run.id: watch.state for watch in self._sampler.watches.values()}
            _write(self._guards, msgspec.json.encode(Guards(now.boot, self._sampler.host.state, memory)))
        if whole or now.awake - self._saved_floors >= defaults.FLOORS_SAVE:
            self._saved_floors = now.awake
            _write(self._floors, msgspec.json.encode(Floors(now.boot, self._sampler.leaks.kept())))


def _read(path: os.PathLike[str], kind: type[Guards | Floors]) -> Guards | Floors | None:
    try:
        return msgspec.json.decode(read_small(os.fspath(path), _LARGEST), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _write(path: os.PathLike[str], body: bytes) -> None:
    """Whole or not at all. A disk that refuses costs a successor's memory, nothing else."""
    draft = os.fspath(path) + ".new"
    try:
        fd = open_fresh(draft)
        try:
            write_all(fd, body)
        finally:
            os.close(fd)
        os.rename(draft, path)
    except OSError:
        pass
