"""The history: a view that can be deleted, built again, damaged, filled up, and is never fatal."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from calendar import timegm
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from midwatch.record import history as history_module
from midwatch.record.history import HistoryPort, SqliteHistory, rebuild, rows_of

NOON = float(timegm((2026, 11, 21, 12, 0, 0)))
NOW = time.time()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., SqliteHistory]]:
    opened: list[SqliteHistory] = []

    def build(path: Path | None = None, **more: Any) -> SqliteHistory:
        opened.append(SqliteHistory(path or tmp_path / "history.db", **more))
        return opened[-1]

    yield build
    for history in opened:
        history.close(30)


def test_a_run_is_one_row_from_birth_to_death(make: Callable[..., SqliteHistory]) -> None:
    """What is known later adds to what is known already; unknown fields are kept beside."""
    history: HistoryPort = make()
    history.add_run({"run": "a.b.1", "service": "a/b", "started": NOW, "pid": 5})
    history.add_run(
        {"run_id": "a.b.1", "ended": NOW + 1, "cause": "crash", "code": 1, "tail": "oops", "x": [1]}
    )
    history.add_run({"run": "a.b.1", "pid": None, "verdict": "late"})
    (row,) = history.runs("a/b", 10)
    assert (row["pid"], row["started"], row["ended"], row["cause"], row["code"]) == (
        5,
        NOW,
        NOW + 1,
        "crash",
        1,
    )
    assert (row["tail"], row["x"], row["verdict"]) == ("oops", [1], "late")
    history.add_run({"service": "no run id"})
    assert len(history.runs(None, 10)) == 1


def test_questions(make: Callable[..., SqliteHistory]) -> None:
    """runs and deaths newest first and limited, counts by cause, per service and since."""
    history = make()
    for number in range(10):
        for service, cause in (("a/b", "crash"), ("a/c", "clean")):
            row = {
                "run": f"{service}.{number}",
                "service": service,
                "started": NOW + number,
                "ended": NOW + number + 0.5,
            }
            history.add_run({**row, "cause": cause})
    history.add_run({"run": "a/b.alive", "service": "a/b", "started": NOW + 99})
    assert [row["run"] for row in history.runs("a/b", 2)] == ["a/b.alive", "a/b.9"]
    assert [row["run"] for row in history.deaths(NOW + 8, 10)] == ["a/c.9", "a/b.9", "a/c.8", "a/b.8"]
    assert history.counts(None, NOW + 5) == {"crash": 5, "clean": 5}
    assert history.counts("a/c", 0.0) == {"clean": 10}
    assert history.runs(None, 0) == []
    history.add_decision(
        {"at": NOW, "service": "a/b", "event": "backoff", "decision": "crash 1 of 10", "ms": 1000}
    )
    (decision,) = history.decisions("a/b")
    assert (decision["decision"], decision["ms"]) == ("crash 1 of 10", 1000)


def test_causes_of_the_future_are_kept(make: Callable[..., SqliteHistory]) -> None:
    """H6: a cause that this version does not know is stored and counted by its own name."""
    history = make()
    history.add_run({"run": "a.b.1", "ended": NOW, "cause": "panic"})
    assert history.counts(None, 0.0) == {"panic": 1}


def fill_journal(desk: Any, folder: Path) -> None:
    journal = desk.journal(folder)
    journal.write("run.spawned", NOON, service="a/b", run="a.b.1", fields={"pid": 5})
    fields = {"code": 1, "cause": "crash", "duration_ms": 2500, "decision": "crash 1 of 10", "pid": 5}
    journal.write(
        "run.exited", NOON + 2.5, service="a/b", run="a.b.1", fields=fields, input={"e": "exited"}, awake=1.0
    )
    journal.write("backoff", NOON + 2.5, service="a/b", run="a.b.1", fields={"ms": 1000, "reason": "crash"})
    journal.write("run.ready", NOON + 9, service="a/b", run="a.b.2")
    journal.close()


def test_it_is_built_again_from_the_journal(
    tmp_path: Path, desk: Any, make: Callable[..., SqliteHistory]
) -> None:
    """Delete it, rebuild it: runs and decisions are there; doing it twice doubles nothing."""
    fill_journal(desk, tmp_path / "j")
    history = make()
    for _ in range(2):
        assert rebuild(history, tmp_path / "j") == 4
        (row,) = history.runs("a/b", 10)
        assert (row["started"], row["ended"], row["cause"]) == (NOON, NOON + 2.5, "crash")
        assert "input" not in row
        assert [item["event"] for item in history.decisions()] == ["backoff", "run.exited"]


def test_a_line_fed_live_gives_the_same_rows(
    tmp_path: Path, desk: Any, make: Callable[..., SqliteHistory]
) -> None:
    """The engine may hand over journal lines as they are written."""
    from midwatch.record.journal import read

    fill_journal(desk, tmp_path / "j")
    live, rebuilt = make(tmp_path / "live.db"), make(tmp_path / "rebuilt.db")
    for line in read(tmp_path / "j"):
        live.feed(line)
    rebuild(rebuilt, tmp_path / "j")
    assert live.runs() == rebuilt.runs()
    assert live.decisions() == rebuilt.decisions()
    assert rows_of({}) == []
    assert rows_of({"event": "run.exited"}) == []


DAMAGE: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(b"garbage " * 1000),
    "header": lambda path: path.write_bytes(b"\0" * 100 + path.read_bytes()[100:]),
    "pages": lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 60_000),
    "half": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "version": lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 99").connection.close(),
    "tables": lambda path: (
        sqlite3.connect(path).execute("ALTER TABLE runs DROP COLUMN cause").connection.close()
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_moved_aside_and_built_again(
    tmp_path: Path, desk: Any, make: Callable[..., SqliteHistory], kind: str
) -> None:
    """Never fatal: the damaged file is kept beside, the journal gives the rows back, and it is said once."""
    fill_journal(desk, tmp_path / "j")
    path = tmp_path / "history.db"
    first = make()
    rebuild(first, tmp_path / "j")
    first.close(30)
    DAMAGE[kind](path)
    said: list[str] = []
    history = make(journal=tmp_path / "j", on_trouble=said.append)
    history.add_run({"run": "new.x.1", "service": "new/x", "started": NOW})
    assert [row["run"] for row in history.runs(None, 10)] == ["new.x.1", "a.b.1"]
    assert len(said) == 1
    assert str(path) in said[0]
    assert (tmp_path / "history.db.damaged").exists()


def test_an_empty_file_is_a_new_history(tmp_path: Path, make: Callable[..., SqliteHistory]) -> None:
    """Zero bytes are no damage."""
    (tmp_path / "history.db").touch()
    assert make().runs() == []


def test_files_are_private_and_links_are_not_followed(
    tmp_path: Path, make: Callable[..., SqliteHistory]
) -> None:
    """0600 for the file and what SQLite puts beside it; a symbolic link costs rows, not its target."""
    history = make(tmp_path / "new" / "history.db")
    history.add_run({"run": "a.b.1", "started": NOW})
    assert history.runs()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()} == {0o600}
    history.close(30)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["history.db"]
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    (tmp_path / "link.db").symlink_to(victim)
    said: list[str] = []
    linked = make(tmp_path / "link.db", on_trouble=said.append)
    linked.add_run({"run": "a.b.1"})
    assert linked.runs() == []
    assert victim.read_bytes() == b""
    assert len(said) == 1


def test_rows_are_bounded(make: Callable[..., SqliteHistory]) -> None:
    """Only the newest rows are kept."""
    history = make(most_rows=500)
    for number in range(5000):
        history.add_run({"run": f"a.b.{number}", "service": "a/b", "ended": NOW + number, "cause": "crash"})
        history.add_decision({"at": NOW + number, "service": "a/b", "event": "backoff"})
        if number % 400 == 0:
            history.runs(None, 1)
    rows = history.runs(None, 10_000)
    assert 500 <= len(rows) <= 500 + 2500
    assert rows[0]["run"] == "a.b.4999"
    assert len(history.decisions(None, 10_000)) <= 500 + 2500


def test_old_rows_go(make: Callable[..., SqliteHistory]) -> None:
    """Rows older than the bound are removed at the next chance."""
    history = make(most_days=1.0)
    history.add_run({"run": "old.x.1", "ended": NOW - 3 * 86400})
    history.add_run({"run": "new.x.1", "ended": NOW})
    assert [row["run"] for row in history.runs()] == ["new.x.1"]


def test_the_file_is_bounded(tmp_path: Path, make: Callable[..., SqliteHistory]) -> None:
    """At the size limit the older half goes; the newest rows are always taken."""
    history = make(most_bytes=1 << 20)
    for number in range(3000):
        history.add_run({"run": f"a.b.{number}", "ended": NOW + number, "tail": "x" * 2000})
        if number % 100 == 0:
            history.runs(None, 1)
    assert history.runs(None, 1)[0]["run"] == "a.b.2999"
    assert history.dropped == 0
    history.close(30)
    assert (tmp_path / "history.db").stat().st_size <= 1 << 20


def test_a_full_disk_costs_rows_only(
    mount: Callable[[str], Path], make: Callable[..., SqliteHistory]
) -> None:
    """Full disk: said once, nothing raised, nothing moved aside."""
    disk = mount("size=200k")
    said: list[str] = []
    history = make(disk / "history.db", on_trouble=said.append)
    for number in range(400):
        history.add_run({"run": f"a.b.{number}", "ended": NOW + number, "tail": "x" * 3000})
        if number % 20 == 0:
            history.runs(None, 1)
    history.runs(None, 1)
    assert history.dropped > 0
    assert len(said) == 1
    assert not (disk / "history.db.damaged").exists()
    history.close(30)


def test_a_read_only_disk_costs_rows_only(
    mount: Callable[[str], Path], make: Callable[..., SqliteHistory]
) -> None:
    """H4 for the history: read-only state folder."""
    disk = mount("size=200k,ro")
    said: list[str] = []
    history = make(disk / "history.db", on_trouble=said.append)
    history.add_run({"run": "a.b.1"})
    assert history.runs() == []
    assert history.counts(None, 0.0) == {}
    assert history.dropped == 1
    assert len(said) == 1


AWKWARD: list[Any] = [
    "\ud800",
    10**30,
    {1, 2},
    b"\xff",
    float("nan"),
    {"a": object()},
    ["x", {"y": "\udfff"}],
    True,
]


@pytest.mark.parametrize("value", AWKWARD, ids=[str(n) for n in range(len(AWKWARD))])
def test_odd_values_do_not_cost_the_batch(make: Callable[..., SqliteHistory], value: Any) -> None:
    """Whatever a field holds, its row and its neighbours are stored."""
    history = make()
    history.add_run({"run": "a.b.1", "ended": NOW})
    history.add_run({"run": "a.b.2", "ended": NOW + 1, "code": value, "more": value})
    history.add_decision({"at": NOW, "event": "x", "decision": value, "more": value})
    assert [row["run"] for row in history.runs()] == ["a.b.2", "a.b.1"]
    assert len(history.decisions()) == 1
    assert history.dropped == 0


def test_secrets_do_not_get_into_the_history(tmp_path: Path, make: Callable[..., SqliteHistory]) -> None:
    """H8: a secret in a run's last words is in no byte of the file."""
    history = make()
    history.add_run({"run": "a.b.1", "ended": NOW, "tail": "login with password=hunter2secret failed"})
    assert history.runs()
    history.close(30)
    assert b"hunter2secret" not in (tmp_path / "history.db").read_bytes()


def test_writers_never_wait_and_the_queue_is_bounded(
    make: Callable[..., SqliteHistory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that hangs: rows queue up to the bound, the oldest are dropped and counted."""
    monkeypatch.setattr(history_module, "MOST_WAITING", 100)
    go, busy = threading.Event(), threading.Event()

    def hang(_: Any) -> None:
        busy.set()
        assert go.wait(30)

    history = make()
    asking = threading.Thread(target=history._ask, args=(hang,))
    asking.start()
    assert busy.wait(30)
    for number in range(250):
        history.add_run({"run": f"a.b.{number}", "ended": NOW + number})
    assert history.dropped == 150
    go.set()
    asking.join(30)
    assert len(history.runs(None, 1000)) == 100


def test_nothing_starts_before_it_is_used(tmp_path: Path) -> None:
    """No thread, no file and no database module for an instance that never records a run."""
    before = threading.active_count()
    history = SqliteHistory(tmp_path / "history.db")
    history.close()
    assert threading.active_count() == before
    assert not (tmp_path / "history.db").exists()
    history.add_run({"run": "late"})
    assert history.runs() == []
    assert history.dropped == 1


def test_two_readers_at_once(tmp_path: Path, make: Callable[..., SqliteHistory]) -> None:
    """The command line may read while the daemon writes."""
    writer, reader = make(), make()
    writer.add_run({"run": "a.b.1", "ended": NOW})
    assert writer.runs()
    assert [row["run"] for row in reader.runs()] == ["a.b.1"]
    writer.add_run({"run": "a.b.2", "ended": NOW + 1})
    assert writer.runs()
    assert len(reader.runs()) == 2
