"""The history: runs, their ends and decisions in SQLite, to be asked quickly. A view of the journal, never
the truth.

One thread has the one connection; writers hand over and never wait, readers wait for their answer. A damaged
file is moved aside and built again from the journal; a disk that refuses costs rows, never supervision.
Bounded by rows, by age and by the size of the file. The same `HistoryPort` can stand on another database.
Causes are stored, counting them into verdicts is the policy's. Tests: tests/record/test_history.py.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from midwatch.record.flush import start_thread
from midwatch.record.reading import read, wall_of

if TYPE_CHECKING:
    from midwatch.record.sqlite import Database

MOST_WAITING = 10_000
BATCH_SECONDS = 0.5  # rows that arrive within this share one transaction
ANSWER_SECONDS = 10.0
Row = dict[str, Any]


class HistoryPort(Protocol):
    """What the engine and the front know of a history."""

    def add_run(self, row: Row) -> None:
        """A run began or ended; keys: run, service, pid, started, ended (wall), code, signal, cause,
        duration_ms, crash_count, and anything else. A second call for the same run adds to the first.
        """

    def add_decision(self, row: Row) -> None:
        """A decision: keys at (wall), service, run, event, decision, and anything else."""

    def runs(self, service: str | None, limit: int) -> list[Row]:
        """The newest runs (of all services when None), newest first."""

    def deaths(self, since: float, limit: int) -> list[Row]:
        """Runs that ended since a wall time, newest first."""

    def counts(self, service: str | None, since: float) -> dict[str, int]:
        """How many ended since a wall time, by cause."""

    def close(self) -> None:
        """Write what is waiting."""


class SqliteHistory:
    """The port on a file. `journal`: from where a damaged file is built again."""

    def __init__(
        self,
        path: Path,
        *,
        journal: Path | None = None,
        on_trouble: Callable[[str], None] | None = None,
        most_rows: int = 100_000,
        most_bytes: int = 128 << 20,
        most_days: float = 180.0,
    ) -> None:
        """Touches nothing and imports no database until it is used."""
        self.path = path
        self._journal, self._on_trouble = journal, on_trouble
        self._bounds = (most_rows, most_bytes, most_days)
        self._rows: deque[tuple[str, Row]] = deque()
        self._questions: deque[_Question] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._told = False
        self.dropped = 0  # rows that could not be kept: too many waiting, or refused by the disk

    def add_run(self, row: Row) -> None:
        """See HistoryPort."""
        self._hand_over("run", row)

    def add_decision(self, row: Row) -> None:
        """See HistoryPort."""
        self._hand_over("decision", row)

    def feed(self, line: Row) -> None:
        """One journal line; the same reading of it as `rebuild` has."""
        for kind, row in rows_of(line):
            self._hand_over(kind, row)

    def runs(self, service: str | None = None, limit: int = 100) -> list[Row]:
        """See HistoryPort."""
        return self._ask(lambda db: db.runs(service, limit)) or []

    def decisions(self, service: str | None = None, limit: int = 100) -> list[Row]:
        """The newest decisions, newest first."""
        return self._ask(lambda db: db.decisions(service, limit)) or []

    def deaths(self, since: float, limit: int = 100) -> list[Row]:
        """See HistoryPort."""
        return self._ask(lambda db: db.deaths(since, limit)) or []

    def counts(self, service: str | None, since: float) -> dict[str, int]:
        """See HistoryPort."""
        return self._ask(lambda db: db.counts(service, since)) or {}

    def close(self, timeout: float = ANSWER_SECONDS) -> None:
        """Write what is waiting and close the file, within `timeout`."""
        with self._wake:
            self._closed = True
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _hand_over(self, kind: str, row: Row) -> None:
        with self._wake:
            if self._closed:
                self.dropped += 1
                return
            if len(self._rows) >= MOST_WAITING:
                self._rows.popleft()
                self.dropped += 1
            self._rows.append((kind, row))
            if len(self._rows) == 1:
                self._awake()

    def _ask(self, work: Callable[[Database], Any]) -> Any:
        question = _Question(work)
        with self._wake:
            if self._closed:
                return None
            self._questions.append(question)
            self._awake()
        question.done.wait(ANSWER_SECONDS)
        return question.answer

    def _awake(self) -> None:
        if self._thread is None:
            self._thread = start_thread(self._run, "midwatch-history")
        self._wake.notify()

    def _run(self) -> None:
        """The thread: one transaction for everything that waits, then the questions."""
        from midwatch.record.sqlite import Database

        database = Database(self.path, *self._bounds)
        while True:
            with self._wake:
                self._wake.wait_for(lambda: bool(self._rows or self._questions or self._closed))
                if not self._questions and not self._closed:
                    self._wake.wait_for(lambda: bool(self._questions or self._closed), BATCH_SECONDS)
                rows, self._rows = self._rows, deque()
                questions, self._questions = self._questions, deque()
                closed = self._closed
            if rows:
                self._guarded(database, partial(Database.add, rows=rows), len(rows))
            for question in questions:
                question.answer = self._guarded(database, question.work, 0)
                question.done.set()
            if closed:
                database.close()
                return

    def _guarded(self, database: Database, work: Callable[[Database], Any], rows: int) -> Any:
        """Do it; once more on a fresh file when this one is damaged."""
        try:
            try:
                return work(database)
            except database.errors as error:
                if not database.is_damage(error):
                    raise
                aside = database.put_aside()
                self._say(f"history {self.path} was damaged ({error}): moved to {aside}, built anew")
                if self._journal is not None:
                    database.add_in_batches(_from_journal(self._journal))
                return work(database)
        except Exception as error:  # noqa: BLE001  no database, no disk, no memory: the journal still has everything
            self.dropped += rows
            if not self._told:
                self._told = True
                self._say(f"history {self.path}: {error}; supervision goes on, the journal has everything")
            return None

    def _say(self, text: str) -> None:
        if self._on_trouble is not None:
            self._on_trouble(text)


class _Question:
    def __init__(self, work: Callable[[Database], Any]) -> None:
        self.work, self.answer, self.done = work, None, threading.Event()


def rebuild(history: HistoryPort, journal_folder: Path) -> int:
    """Put everything that the journal knows into a history; rows that are there already stay single."""
    count = 0
    for kind, row in _from_journal(journal_folder):
        (history.add_run if kind == "run" else history.add_decision)(row)
        count += 1
    return count


def _from_journal(folder: Path) -> Iterator[tuple[str, Row]]:
    for line in read(folder):
        yield from rows_of(line)


_DECISIONS = frozenset(
    {"backoff", "budget.exhausted", "supervision.gave_up", "health.warn", "guard.tripped", "run.spawn_failed"}
)
_TAKEN = ("ts", "event", "service", "run_id", "input", "awake")


def rows_of(line: Row) -> list[tuple[str, Row]]:
    """What one journal line means for the history: none, one or two rows."""
    event, run = line.get("event"), line.get("run_id")
    out: list[tuple[str, Row]] = []
    wall = wall_of(line)
    base = {"service": line.get("service"), "run": run}
    rest = {key: value for key, value in line.items() if key not in _TAKEN}
    if run and event in ("run.spawned", "run.adopted"):
        out.append(("run", {**base, "started": wall, "pid": rest.get("pid")}))
    elif run and event == "run.exited":
        duration = rest.get("duration_ms")
        begun = {"started": wall - duration / 1000} if isinstance(duration, (int, float)) else {}
        out.append(("run", {**base, **begun, **rest, "ended": wall}))
    if "decision" in rest or event in _DECISIONS:
        out.append(("decision", {**base, **rest, "at": wall, "event": event}))
    return out
