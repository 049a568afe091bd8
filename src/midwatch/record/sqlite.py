"""The SQLite file behind the history: schema, rows, bounds. Used by one thread only (record/history.py).

WAL, synchronous NORMAL: a power cut may cost the newest rows, which the journal has. Every error that means "this file
is damaged" is `damage`, so that the caller can put the file aside. Must not know journal or policy.
Tests: tests/record/test_history.py.
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
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS runs (run TEXT PRIMARY KEY, service TEXT, pid INTEGER, started REAL, ended REAL, "
    "code INTEGER, signal INTEGER, cause TEXT, duration_ms INTEGER, crash_count INTEGER, more TEXT) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS runs_ended ON runs (ended)",
    "CREATE INDEX IF NOT EXISTS runs_service ON runs (service, started)",
    "CREATE TABLE IF NOT EXISTS decisions (at REAL, service TEXT, run TEXT, event TEXT, decision TEXT, more TEXT, "
    "UNIQUE (at, service, run, event))",
    "CREATE INDEX IF NOT EXISTS decisions_service ON decisions (service, at)",
)


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
        where, values = ("WHERE service = ?", [service]) if service is not None else ("", [])
        return self._select(
            "runs", _RUN, f"{where} ORDER BY COALESCE(started, ended) DESC, run DESC", values, limit
        )

    def decisions(self, service: str | None, limit: int) -> list[Row]:
        """Newest first."""
        where, values = ("WHERE service = ?", [service]) if service is not None else ("", [])
        return self._select("decisions", _DECISION, f"{where} ORDER BY at DESC, rowid DESC", values, limit)

    def deaths(self, since: float, limit: int) -> list[Row]:
        """Ended since then, newest first."""
        return self._select("runs", _RUN, "WHERE ended >= ? ORDER BY ended DESC, run DESC", [since], limit)

    def counts(self, service: str | None, since: float) -> dict[str, int]:
        """Ended since then, by cause."""
        more, values = (" AND service = ?", [service]) if service is not None else ("", [])
        query = f"SELECT COALESCE(cause, ''), COUNT(*) FROM runs WHERE ended >= ?{more} GROUP BY 1"
        return dict(self._open().execute(query, [since, *values]).fetchall())

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

    # -- inside ----------------------------------------------------------------------------------------------------

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
        for statement in _SCHEMA:
            run(statement)
        run(f"PRAGMA user_version = {VERSION}")

    def _insert(self, batch: list[tuple[str, Row]]) -> None:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            for kind, row in batch:
                if kind == "run":
                    self._insert_run(connection, row)
                else:
                    names = ", ".join([*_DECISION, "more"])
                    connection.execute(
                        f"INSERT OR REPLACE INTO decisions ({names}) VALUES (?, ?, ?, ?, ?, ?)",
                        _split(row, _DECISION),
                    )
            self._since_prune += len(batch)
            if self._since_prune >= PRUNE_EVERY or not self._pruned:
                self._prune(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _insert_run(self, connection: sqlite3.Connection, row: Row) -> None:
        """A later row of the same run adds to the earlier one; what it does not know stays."""
        row = dict(row)
        row.setdefault("run", row.pop("run_id", None))
        if not row["run"]:
            return
        names = [*_RUN, "more"]
        keep = ", ".join(f"{name} = COALESCE(excluded.{name}, {name})" for name in names[1:])
        marks = ", ".join("?" * len(names))
        connection.execute(
            f"INSERT INTO runs ({', '.join(names)}) VALUES ({marks}) ON CONFLICT (run) DO UPDATE SET {keep}",
            _split(row, _RUN),
        )

    def _prune(self, connection: sqlite3.Connection) -> None:
        self._since_prune, self._pruned = 0, True
        oldest = time.time() - self._most_days * 86400
        connection.execute("DELETE FROM runs WHERE COALESCE(ended, started) < ?", [oldest])
        connection.execute("DELETE FROM decisions WHERE at < ?", [oldest])
        self._keep(connection, self._most_rows)

    def _keep(self, connection: sqlite3.Connection, rows: int) -> None:
        """The newest so many of each table."""
        connection.execute(
            "DELETE FROM runs WHERE run IN (SELECT run FROM runs ORDER BY COALESCE(ended, started) DESC LIMIT -1 OFFSET ?)",
            [rows],
        )
        connection.execute(
            "DELETE FROM decisions WHERE rowid IN (SELECT rowid FROM decisions ORDER BY at DESC LIMIT -1 OFFSET ?)",
            [rows],
        )

    def _at_limit(self) -> bool:
        """Is it our own bound, not the disk, that is reached?"""
        run = self._open().execute
        return bool(
            run("PRAGMA page_count").fetchone()[0] * 10 >= run("PRAGMA max_page_count").fetchone()[0] * 9
        )

    def _halve(self) -> None:
        connection = self._open()
        for table in ("runs", "decisions"):
            count = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
            self._keep(connection, count // 2)

    def _select(
        self, table: str, names: tuple[str, ...], rest: str, values: list[Any], limit: int
    ) -> list[Row]:
        query = f"SELECT {', '.join(names)}, more FROM {table} {rest} LIMIT ?"
        out = []
        for found in self._open().execute(query, [*values, max(0, limit)]):
            row = dict(zip(names, found[:-1], strict=True))
            row.update(_more(found[-1]))
            out.append(row)
        return out

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _split(row: Row, names: tuple[str, ...]) -> list[Any]:
    """The columns' values in order, then the rest as JSON (or None)."""
    more = {key: value for key, value in row.items() if key not in names and value is not None}
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
