"""Watches the write-ahead logs of a service's SQLite databases, by stat alone: a database is never opened here.

Opening one in this process and closing it again would drop the locks that others of the process hold. What is said: a
log that is large for its database or for the disk, and one that has grown ten looks in a row, which somebody's long
read keeps from being folded in (with who has it open). Size and handles are separate facts (WAL-6); nothing is done.
Tests: tests/engine/test_guard_wal.py.
"""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from midwatch.model.finding import FdSnapshot
from midwatch.model.units import format_bytes
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine
    from midwatch.engine.guard.watch import Watch
    from midwatch.machine.ports import Machine, Tree


class Sizes(msgspec.Struct, frozen=True):
    """One look at one database. `free`: bytes of its disk that are free; None: cannot be told."""

    path: str
    db: int
    wal: int
    free: int | None


def judge(now: Sizes, before: list[int]) -> tuple[str, str]:
    """(level, words) of a log; level is "", warn or act. `before`: its sizes in the looks before, the newest last."""
    wal, db = now.wal, now.db
    share = wal / db if db else 1.0
    of = f"its write-ahead log holds {format_bytes(wal)}, the database {format_bytes(db)}"
    if now.free is not None and wal >= defaults.WAL_DISK * now.free:
        return "act", f"{of}: that is {wal / max(now.free, 1):.0%} of what is free on its disk"
    least, most = defaults.WAL_LEAST, defaults.WAL_MOST
    if wal >= most or (share >= defaults.WAL_SHARES[1] and wal >= least[1]):
        return "act", of
    rising = [*before, wal][-defaults.WAL_LOOKS - 1 :]
    steps = [new > old for old, new in pairwise(rising)]
    if len(steps) == defaults.WAL_LOOKS and all(steps) and wal >= least[0]:
        return "warn", f"{of}, and it has grown {len(steps)} looks in a row: a reader keeps it from being folded in"
    if wal >= defaults.WAL_WARN or (share >= defaults.WAL_SHARES[0] and wal >= least[0]):
        return "warn", f"{of}: not truncated, which does no harm until the disk is full"
    return "", of


class WalWatch:
    """One per engine; a look a minute for services that name their databases."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._due: dict[str, float] = {}  # by service id
        self._sizes: dict[str, list[int]] = {}  # by path
        self._levels: dict[str, str] = {}

    def take(self, watch: Watch, at: float) -> None:
        """The service was looked at; is it time for its databases?"""
        name, paths = watch.service.spec.id, watch.service.spec.rules.sqlite
        if not paths or at < self._due.get(name, 0.0):
            return
        self._due[name] = at + defaults.WAL_EVERY
        full = tuple(os.path.join(watch.run.launch.cwd, path) for path in paths)
        future = asyncio.get_running_loop().run_in_executor(None, sizes, full, self._engine.machine, watch.tree)
        future.add_done_callback(lambda done: self._seen(watch, done))

    def forget(self, name: str) -> None:
        """The service is gone."""
        self._due.pop(name, None)

    def _seen(self, watch: Watch, done: asyncio.Future[tuple[list[Sizes], FdSnapshot | None]]) -> None:
        if (error := done.exception()) is not None:
            self._engine.faults.caught("wal watch", error, watch.run.service, watch.run.id)
            return
        found, snapshot = done.result()
        for now in found:
            before = self._sizes.setdefault(now.path, [])
            level, words = judge(now, before)
            before.append(now.wal)
            del before[: -defaults.WAL_LOOKS]
            old = self._levels.get(now.path, "")
            if level == old or (old == "act" and level == "warn"):
                continue
            self._levels[now.path] = level
            fields: dict[str, Any] = {
                "run_id": watch.run.id, "path": now.path, "wal_bytes": now.wal, "db_bytes": now.db,
                "free_bytes": now.free, "level": level or None, "handles": _handles(snapshot, now.path), "words": words,
            }  # fmt: skip
            event = "wal.warn" if level else "wal.ok"
            self._engine.write(event, service=watch.run.service, run=watch.run.id, fields=fields)


def sizes(paths: tuple[str, ...], machine: Machine, tree: Tree) -> tuple[list[Sizes], FdSnapshot | None]:
    """In a thread, because a dead file server hangs there: what is on disk, and who has it open."""
    found = []
    for path in paths:
        try:
            db, wal = os.stat(path).st_size, os.stat(path + "-wal").st_size
        except OSError:
            continue  # no log, or no database: nothing to say
        found.append(Sizes(path, db, wal, machine.free_bytes(os.path.dirname(path))))
    large = any(one.wal >= defaults.WAL_LEAST[0] for one in found)
    return found, machine.fd_snapshot(tree) if large else None


def _handles(snapshot: FdSnapshot | None, path: str) -> int | None:
    """How often its main process has the log open: one for each live connection."""
    if snapshot is None:
        return None
    real = os.path.realpath(path) + "-wal"
    return sum(count for target, _, count in snapshot.targets if target == real)
