"""What a store does while idle: late drafts, checkpoints, orphans, free pages; a large log is said."""

from __future__ import annotations

import sqlite3
import time
from itertools import pairwise
from pathlib import Path

import pytest

from midwatch import sessions
from midwatch.bounded.sessions import upkeep
from midwatch.policy import defaults_sessions as d

MIB = 1 << 20


def _later(store: sessions.Store, seconds: float) -> float:
    """One look as if so much time had passed since the last write."""
    store.connections.wrote = time.monotonic() - seconds
    return store.upkeep.tick(time.monotonic())


def test_an_idle_log_is_truncated(path: Path, store: sessions.Store, talk: sessions.Session) -> None:
    """B10: after 30 s without a write the log is empty, before it is not."""
    talk.append("user", "x" * 5000)
    wal = Path(f"{path}-wal")
    _later(store, d.TRUNCATE_S - 5)
    assert wal.stat().st_size > 0
    _later(store, d.TRUNCATE_S + 1)
    assert wal.stat().st_size == 0


def test_a_late_delta_is_written_by_the_thread(path: Path) -> None:
    """B4: a delta that nothing follows is on disk after half a second, while the answer goes on."""
    with sessions.open(path) as store:
        talk = store.create(id="talk")
        draft = talk.draft()
        draft.add("thinking")
        for _ in range(200):
            if talk.drafts():
                break
            time.sleep(0.05)
        assert talk.drafts()[0].bytes == 8
        draft.drop()


def test_a_sleeping_thread_wakes_for_a_draft(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long silence too a delta is on disk soon."""
    monkeypatch.setattr("midwatch.bounded.sessions.upkeep.d.TRUNCATE_S", 0.1)
    with sessions.open(path) as store:
        talk = store.create(id="talk")
        for _ in range(400):
            if store.upkeep._asleep:
                break
            time.sleep(0.05)
        assert store.upkeep._asleep
        draft = talk.draft()
        draft.add("thinking")
        for _ in range(400):
            if talk.drafts():
                break
            time.sleep(0.05)
        assert talk.drafts()
        draft.done()
        assert talk.items()[0].text == "thinking"


def test_s28_deleted_sessions_give_their_pages_back(
    path: Path, store: sessions.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S28 (200 sessions of 100 KiB; 1,168 in the bench): the file ends at <= 1.2 times what lives, in short steps."""
    for number in range(200):
        store.create(id=f"s{number}").append("user", f"{number} " * 20_000)
    for number in range(154):
        store.delete(f"s{number}")
    steps: list[int] = []
    real = store.upkeep.step

    def step() -> bool:
        with store.connections.reader("test") as connection:
            steps.append(connection.execute("PRAGMA page_count").fetchone()[0])
        return real()

    monkeypatch.setattr(store.upkeep, "step", step)
    while not store.upkeep._clean:
        _later(store, 2)
        assert len(steps) < 2000
    _later(store, 31)
    stats = store.stats()
    assert stats.free_bytes == 0
    assert stats.file_bytes <= 1.2 * stats.bytes
    assert len(steps) > 300
    assert max(a - b for a, b in pairwise(steps)) <= d.VACUUM_PAGES + 2
    assert store.stats().sessions == 46


def test_while_somebody_writes_nothing_is_cleaned(store: sessions.Store, talk: sessions.Session) -> None:
    """Free pages wait for an idle second."""
    talk.append("user", "x" * MIB)
    store.delete("talk")
    assert store.upkeep.tick(time.monotonic()) <= d.IDLE_S
    assert store.stats().orphans == 0  # nothing was touched: the item still refers to it
    assert not store.upkeep._clean


def test_a_large_log_is_checkpointed_and_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B10: a reader that holds the log is named, once; when it is gone the log is emptied."""
    said: list[str] = []
    monkeypatch.setattr("midwatch.bounded.sessions.upkeep.d.WAL_WARN", 6 * MIB)
    monkeypatch.setattr("midwatch.bounded.sessions.upkeep.d.WAL_PASSIVE", 5 * MIB)
    with sessions.open(path, upkeep=False, on_warning=said.append) as store:
        talk = store.create()
        talk.append("user", "x")
        other = sqlite3.connect(path)
        other.execute("BEGIN")
        other.execute("SELECT * FROM session").fetchall()
        for number in range(8):
            talk.append("user", str(number) * MIB)
        assert store.upkeep.look_at_log() > 6 * MIB
        store.upkeep.look_at_log()
        assert len(said) == 1
        assert "pid " in said[0] or "a reader" in said[0]
        other.rollback()
        other.close()
        talk.append("user", "y")
        assert upkeep.checkpoint(store.connections, "TRUNCATE")
        assert store.stats().wal_bytes == 0


def test_the_thread_ends_with_the_store(path: Path) -> None:
    """Also when nothing was ever written."""
    import threading

    with sessions.open(path) as store:
        store.create()
        assert [one for one in threading.enumerate() if one.name == "midwatch-sessions"]
    assert not [one for one in threading.enumerate() if one.name == "midwatch-sessions"]


def test_a_draft_of_a_deleted_session_is_said_once(store: sessions.Store, talk: sessions.Session) -> None:
    """The thread goes on; the draft takes no more."""
    draft = talk.draft()
    draft.add("half")
    store.delete("talk")
    with pytest.raises(sessions.Missing):
        store.upkeep.tick(time.monotonic() + 1)
    store.upkeep.tick(time.monotonic() + 1)
    with pytest.raises(sessions.StoreError, match="done"):
        draft.add("more")


def test_a_vacuum_that_takes_long_takes_less(
    store: sessions.Store, talk: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps grow to 500 pages while they are quick and shrink to 16 when they are not."""
    asked: list[int] = []
    now, cost = [0.0], [0.001]

    def vacuum(_: object, pages: int) -> bool:
        asked.append(pages)
        now[0] += cost[0]
        return True

    monkeypatch.setattr(upkeep, "vacuum", vacuum)
    monkeypatch.setattr("midwatch.bounded.sessions.upkeep.time.monotonic", lambda: now[0])
    for _ in range(8):
        store.upkeep.step()
    assert asked == [16, 32, 64, 128, 256, 500, 500, 500]
    cost[0] = 0.5
    for _ in range(8):
        store.upkeep.step()
    assert asked[8:] == [500, 250, 125, 62, 31, 16, 16, 16]
