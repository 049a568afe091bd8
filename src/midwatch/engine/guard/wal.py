"""Watches the write-ahead logs of a service's SQLite databases, by stat alone: a database is never opened here.

Opening one in this process and closing it again would drop the locks that others of the process hold; who wants SQLite
itself to be asked has that done by a process of its own (`sqlite.probe`). What is said: a log that is large for its
database or for the disk, one that has grown ten looks in a row, which somebody's long read keeps from being folded in,
and a database on another machine's file system; with who has it open, and what to do. Size and handles are separate
facts (WAL-6). Must not judge (policy/leaks/wal) nor touch a database. Tests: tests/engine/test_guard_wal.py.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

from midwatch.engine.helper import Helper
from midwatch.machine.ports import Machine, Opener, Target
from midwatch.model.units import format_seconds
from midwatch.policy import defaults
from midwatch.policy.leaks.wal import Probe, Sizes, advice, judge, read_probe, starved

if TYPE_CHECKING:
    from midwatch.engine.core import Engine
    from midwatch.engine.guard.watch import Watch

_NAMED = 3
_SCRIPT = os.path.join(os.path.dirname(os.path.dirname(__file__)), "wal_probe.py")


class Known:
    """What is known of one database."""

    __slots__ = ("before", "holders", "level", "now", "pinned", "probe", "probed_at", "words")

    def __init__(self) -> None:
        self.before: list[int] = []  # sizes of its log in the looks before
        self.level = ""
        self.words = ""
        self.pinned = False  # something keeps it from being folded in
        self.now: Sizes | None = None
        self.holders: list[Opener] = []
        self.probe: Probe | None = None
        self.probed_at = float("-inf")


Look = list[tuple[Sizes, list[Opener]]]


class WalWatch:
    """One per engine; a look a minute for services that name their databases."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._due: dict[str, float] = {}  # by service id
        self._known: dict[str, dict[str, Known]] = {}  # by service id and path

    def take(self, watch: Watch, at: float) -> None:
        """The service was looked at; is it time for its databases?"""
        name, paths = watch.service.spec.id, watch.service.spec.rules.sqlite
        if not paths or at < self._due.get(name, 0.0):
            return
        self._due[name] = at + defaults.WAL_EVERY
        full = tuple(os.path.join(watch.run.launch.cwd, path) for path in paths)
        known = self._known.setdefault(name, {})
        for path in known.keys() - set(full):
            del known[path]
        before = {path: list(one.before) for path, one in known.items()}
        future = asyncio.get_running_loop().run_in_executor(None, look, full, before, self._engine.machine)
        future.add_done_callback(lambda done: self._seen(watch, done))

    def forget(self, name: str) -> None:
        """The service is gone."""
        self._due.pop(name, None)
        self._known.pop(name, None)

    def report(self, name: str) -> list[dict[str, Any]]:
        """What `leaks` shows of its databases."""
        return [
            {
                "path": path, "wal_bytes": one.now.wal, "db_bytes": one.now.db, "level": one.level or None,
                "words": one.words, "holders": _shown(one.holders), "do": advice(one.now, one.level, one.pinned),
                "probe": _answer(one.probe) if one.probe is not None else None,
            }
            for path, one in self._known.get(name, {}).items() if one.now is not None
        ]  # fmt: skip

    def _seen(self, watch: Watch, done: asyncio.Future[Look]) -> None:
        if (error := done.exception()) is not None:
            self._engine.faults.caught("wal watch", error, watch.run.service, watch.run.id)
            return
        found, service = done.result(), watch.service.spec.id
        if service not in self._engine.services:
            return
        for now, holders in found:
            known = self._known.setdefault(service, {}).setdefault(now.path, Known())
            known.now, known.holders = now, holders or known.holders
            self._judge(watch, known, now)
            if watch.service.spec.rules.sqlite_probe and now.wal:
                self._ask(watch, known, now.path)

    def _judge(self, watch: Watch, known: Known, now: Sizes) -> None:
        asked = known.probe is not None and known.probe.starved
        known.pinned = asked or starved(now, known.before)
        level, words = judge(now, known.before, asked)
        known.words = words + _named(known.holders if level else [])
        known.before.append(now.wal)
        del known.before[: -defaults.WAL_LOOKS]
        if not level:
            known.holders = []
        if level == known.level or (known.level == "act" and level == "warn"):
            return
        known.level = level
        mine = [one.handles for one in known.holders if one.pid == watch.tree.main.pid]
        fields: dict[str, Any] = {
            "run_id": watch.run.id, "path": now.path, "wal_bytes": now.wal, "db_bytes": now.db, "free_bytes": now.free,
            "level": level or None, "handles": sum(mine) if level else None, "holders": _shown(known.holders),
            "words": known.words, "do": advice(now, level, known.pinned),
        }  # fmt: skip
        event = "wal.warn" if level else "wal.ok"
        self._engine.write(event, service=watch.run.service, run=watch.run.id, fields=fields)

    # -- the active probe --------------------------------------------------------------------------------------

    def _ask(self, watch: Watch, known: Known, path: str) -> None:
        """WAL-4: SQLite itself, in a process of its own, as the service's user."""
        now = self._engine.machine.now().awake
        if now < known.probed_at + defaults.WAL_PROBE_EVERY:
            return
        known.probed_at = now
        found = self._engine.machine.lookup(watch.run.launch)
        who = found if isinstance(found, Target) else Target(exe="")
        argv = [sys.executable, "-I", "-S", _SCRIPT, path]
        try:
            Helper(
                argv, defaults.WAL_PROBE_WITHIN, lambda code, out: self._answered(watch, known, path, code, out),
                env={}, cwd="/", uid=who.uid, gid=who.gid, groups=who.groups,
            )  # fmt: skip
        except OSError as error:
            self._answered(watch, known, path, None, str(error).encode())

    def _answered(self, watch: Watch, known: Known, path: str, code: int | None, output: bytes) -> None:
        old, new = known.probe, read_probe(code, output)
        known.probe = new
        if old is not None and (old.starved, old.error) == (new.starved, new.error):
            return
        fields = {
            "run_id": watch.run.id, "path": path, "busy": new.busy, "log_frames": new.log, "done_frames": new.done,
            "words": new.words,
        }  # fmt: skip
        self._engine.write("wal.probe", service=watch.run.service, run=watch.run.id, fields=fields)


def _answer(probe: Probe) -> dict[str, Any]:
    return {"busy": probe.busy, "log_frames": probe.log, "done_frames": probe.done, "error": probe.error or None,
            "words": probe.words}  # fmt: skip


def look(paths: tuple[str, ...], before: dict[str, list[int]], machine: Machine) -> Look:
    """In a thread, because a dead file server hangs there: what is on disk, and who has it open where that matters."""
    found = []
    for path in paths:
        try:
            db, wal = os.stat(path).st_size, os.stat(path + "-wal").st_size
        except OSError:
            continue  # no log, or no database: nothing to say
        found.append(Sizes(path, db, wal, machine.free_bytes(os.path.dirname(path)), machine.remote(path)))
    said = [one.path + "-wal" for one in found if judge(one, before.get(one.path, []))[0]]
    holders = machine.openers(tuple(said)) if said else {}
    return [(one, holders.get(one.path + "-wal", [])) for one in found]


def _named(holders: list[Opener]) -> str:
    """WAL-3: who keeps it open, the oldest first; the reader that starves it is one of these."""
    if not holders:
        return ""
    rows = [f"pid {one.pid} ({one.command[:60]}) for {format_seconds(one.age)}" for one in holders[:_NAMED]]
    more = f" and {len(holders) - _NAMED} more" if len(holders) > _NAMED else ""
    return f"; open in {', '.join(rows)}{more}"


def _shown(holders: list[Opener]) -> list[dict[str, Any]]:
    """The oldest first; a bounded number of them."""
    return [
        {"pid": one.pid, "age_s": round(one.age), "command": one.command, "handles": one.handles}
        for one in holders[: defaults.WAL_HOLDERS]
    ]
