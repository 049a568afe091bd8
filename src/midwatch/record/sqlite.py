"""The SQLite file behind the history: schema, rows, bounds. Used by one thread only (record/history.py).

WAL, synchronous NORMAL: a power cut may cost the newest rows, which the journal has. Every error that means
"this file is damaged" is `damage`, so that the caller can put the file aside. Must not know journal or
policy. Tests: tests/record/test_history.py.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from midwatch.record.files import make_folder, open_update
from midwatch.record.redact import redact_value

VERSION = 1
PAGE = 4096
BATCH = 2000
PRUNE_EVERY = 1000  # rows
Row = dict[str, Any]

_RUN = ("run", "service", "pid", "started", "ended", "code", "signal", "cause", "duration_ms", "crash_count")
_DECISION = ("at", "service", "run", "event", "decision")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  run TEXT PRIMARY KEY, service TEXT, pid INTEGER, started REAL, ended REAL, code INTEGER, signal INTEGER,
  cause TEXT, duration_ms INTEGER, crash_count INTEGER, more TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_ended ON runs (ended);
CREATE INDEX IF NOT EXISTS runs_service ON runs (service, started);
CREATE TABLE IF NOT EXISTS decisions (
  at REAL, service TEXT, run TEXT, event TEXT, decision TEXT, more TEXT, UNIQUE (at, service, run, event));
CREATE INDEX IF NOT EXISTS decisions_service ON decisions (service, at);
"""
# A later row of the same run adds to the earlier one; what it does not know stays.
_PUT_RUN = """
INSERT INTO runs (run, service, pid, started, ended, code, signal, cause, duration_ms, crash_count, more)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run) DO UPDATE SET
  service = COALESCE(excluded.service, service), pid = COALESCE(excluded.pid, pid),
  started = COALESCE(excluded.started, started), ended = COALESCE(excluded.ended, ended),
  code = COALESCE(excluded.code, code), signal = COALESCE(excluded.signal, signal),
  cause = COALESCE(excluded.cause, cause), duration_ms = COALESCE(excluded.duration_ms, duration_ms),
  crash_count = COALESCE(excluded.crash_count, crash_count),
  more = CASE WHEN more IS NULL OR excluded.more IS NULL THEN COALESCE(excluded.more, more)
              ELSE json_patch(more, excluded.more) END
"""
_PUT_DECISION = """
INSERT OR REPLACE INTO decisions (at, service, run, event, decision, more) VALUES (?, ?, ?, ?, ?, ?)
"""
_RUNS = """
SELECT run, service, pid, started, ended, code, signal, cause, duration_ms, crash_count, more FROM runs
"""
_RUNS_NEWEST = (
    _RUNS + "WHERE ?1 IS NULL OR service = ?1 ORDER BY COALESCE(started, ended) DESC, run DESC LIMIT ?2"
)
_RUNS_ENDED = _RUNS + "WHERE ended >= ?1 ORDER BY ended DESC, run DESC LIMIT ?2"
_DECISIONS = """
SELECT at, service, run, event, decision, more FROM decisions
WHERE ?1 IS NULL OR service = ?1 ORDER BY at DESC, rowid DESC LIMIT ?2
"""
_COUNTS = """
SELECT COALESCE(cause, ''), COUNT(*) FROM runs WHERE ended >= ?1 AND (?2 IS NULL OR service = ?2) GROUP BY 1
"""
_KEEP_RUNS = """
DELETE FROM runs WHERE run IN (
  SELECT run FROM runs ORDER BY COALESCE(ended, started) DESC LIMIT -1 OFFSET ?)
"""
_KEEP_DECISIONS = """
DELETE FROM decisions WHERE rowid IN (SELECT rowid FROM decisions ORDER BY at DESC LIMIT -1 OFFSET ?)
"""


class Outdated(sqlite3.DatabaseError):
    """Another version's schema: the view is simply built again."""


_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_FOREIGN = ("no such table", "no such column", "has no column")  # somebody else's database, or a torn schema


class Database:
    """One file; opens with the first use."""

    errors = sqlite3.DatabaseError

    def __init__(self, path: Path, most_rows: int, most_bytes: int, most_days: float) -> None:
        self.path = path
        self._most_rows, self._most_bytes, self._most_days = most_rows, most_bytes, most_days
        self._connection: sqlite3.Connection | None = None
        self._since_prune = 0
        self._pruned = False

    @staticmethod
    def is_damage(error: Exception) -> bool:
        """Is the file itself bad? A full, locked or read-only disk is no damage."""
        if isinstance(error, Outdated) or (isinstance(error, sqlite3.Error) and _code(error) in _DAMAGE):
            return True
        return isinstance(error, sqlite3.OperationalError) and any(words in str(error) for words in _FOREIGN)

    def add(self, rows: Iterable[tuple[str, Row]]) -> None:
        """All of them in one transaction; at the size limit the older half of everything goes first."""
        batch = [(kind, redact_value(row)) for kind, row in rows]
        try:
            self._insert(batch)
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_FULL or not self._at_limit():
                raise
            self._halve()
            self._insert(batch)

    def add_in_batches(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Many rows without holding them all."""
        source = iter(rows)
        while batch := list(islice(source, BATCH)):
            self.add(batch)

    def runs(self, service: str | None, limit: int) -> list[Row]:
        """Newest first."""
        return self._select(_RUNS_NEWEST, _RUN, service, limit)

    def decisions(self, service: str | None, limit: int) -> list[Row]:
        """Newest first."""
        return self._select(_DECISIONS, _DECISION, service, limit)

    def deaths(self, since: float, limit: int) -> list[Row]:
        """Ended since then, newest first."""
        return self._select(_RUNS_ENDED, _RUN, since, limit)

    def counts(self, service: str | None, since: float) -> dict[str, int]:
        """Ended since then, by cause."""
        return dict(self._open().execute(_COUNTS, [since, service]).fetchall())

    def put_aside(self) -> Path:
        """Keep the damaged file (one, the newest) for whoever wants to look, and start afresh."""
        self._drop()
        aside = self.path.with_name(self.path.name + ".damaged")
        for suffix in ("-wal", "-shm"):
            _remove(str(self.path) + suffix)
        try:
            os.replace(self.path, aside)
        except FileNotFoundError:
            pass
        return aside

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go."""
        if self._connection is None:
            return
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            pass  # the next opener does it
        self._drop()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        make_folder(self.path.parent)
        os.close(open_update(self.path))  # 0600 and not through a symbolic link, before SQLite sees it
        connection = sqlite3.connect(self.path, timeout=5.0, isolation_level=None)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        run = connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("PRAGMA journal_size_limit = 4194304")
        run("PRAGMA cache_size = -512")
        size = run("PRAGMA page_size").fetchone()[0]
        run(f"PRAGMA max_page_count = {max(64, self._most_bytes // size)}")
        version = run("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise Outdated(f"schema version {version}, this is {VERSION}")
        connection.executescript(_SCHEMA)
        run(f"PRAGMA user_version = {VERSION}")

    def _insert(self, batch: list[tuple[str, Row]]) -> None:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            for kind, row in batch:
                if kind == "decision":
                    connection.execute(_PUT_DECISION, _split(row, _DECISION))
                elif row.get("run") or row.get("run_id"):
                    connection.execute(_PUT_RUN, _split({"run": row.get("run_id"), **row}, _RUN))
            self._since_prune += len(batch)
            if self._since_prune >= PRUNE_EVERY or not self._pruned:
                self._prune(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _prune(self, connection: sqlite3.Connection) -> None:
        self._since_prune, self._pruned = 0, True
        oldest = time.time() - self._most_days * 86400
        connection.execute("DELETE FROM runs WHERE COALESCE(ended, started) < ?", [oldest])
        connection.execute("DELETE FROM decisions WHERE at < ?", [oldest])
        self._keep(connection, self._most_rows, self._most_rows)

    def _keep(self, connection: sqlite3.Connection, runs: int, decisions: int) -> None:
        """The newest so many of each."""
        connection.execute(_KEEP_RUNS, [runs])
        connection.execute(_KEEP_DECISIONS, [decisions])

    def _at_limit(self) -> bool:
        """Is it our own bound, not the disk, that is reached?"""
        run = self._open().execute
        return bool(
            run("PRAGMA page_count").fetchone()[0] * 10 >= run("PRAGMA max_page_count").fetchone()[0] * 9
        )

    def _halve(self) -> None:
        connection = self._open()
        runs = connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0]
        decisions = connection.execute("SELECT COUNT(*) FROM decisions").fetchone()[0]
        self._keep(connection, runs // 2, decisions // 2)

    def _select(self, query: str, names: tuple[str, ...], first: Any, limit: int) -> list[Row]:
        out = []
        for found in self._open().execute(query, [first, max(0, limit)]):
            row = _more(found[-1])
            row.update(zip(names, found[:-1], strict=True))
            out.append(row)
        return out

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _split(row: Row, names: tuple[str, ...]) -> list[Any]:
    """The columns' values in order, then the rest as JSON (or None)."""
    more = {
        key: value for key, value in row.items() if key not in names and key != "run_id" and value is not None
    }
    return [*(_cell(row.get(name)) for name in names), _json(more) if more else None]


def _cell(value: Any) -> Any:
    """What SQLite can hold: nothing that it would raise for."""
    if value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()


def _json(more: Row) -> str:
    try:
        return msgspec.json.encode(more, enc_hook=repr).decode()
    except (ValueError, TypeError, RecursionError):  # a lone surrogate, a key that is no text
        return msgspec.json.encode({"text": _cell(more)}).decode()


def _more(text: str | None) -> Row:
    if not text:
        return {}
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
