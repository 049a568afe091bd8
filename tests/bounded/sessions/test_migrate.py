"""A store of version 0 becomes one of version 1: in steps, with a backup, killed or out of room at any moment."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from midwatch import sessions
from midwatch.bounded.sessions import migrate, schema

V0 = f"""
PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;
CREATE TABLE session (id TEXT PRIMARY KEY, title TEXT, created REAL NOT NULL);
CREATE TABLE item (id INTEGER PRIMARY KEY, session TEXT NOT NULL, pos INTEGER NOT NULL, kind TEXT NOT NULL,
  role TEXT NOT NULL, at REAL NOT NULL, body TEXT, UNIQUE (session, pos));
PRAGMA application_id = {schema.APPLICATION}; PRAGMA user_version = 0; PRAGMA journal_mode = WAL;
"""
ITEMS = 700


def _body(number: int) -> str:
    return f"{number} ü" * (120_000 if number % 200 == 7 else 10)


@pytest.fixture
def old(path: Path) -> Path:
    """Three sessions of version 0, 700 items, four of them of half a megabyte."""
    with sqlite3.connect(path) as base:
        base.executescript(V0)
        base.executemany(
            "INSERT INTO session VALUES (?, ?, ?)", [(f"s{n}", f"title {n}", 1000.0 + n) for n in range(3)]
        )
        base.executemany(
            "INSERT INTO item (session, pos, kind, role, at, body) VALUES (?, ?, 'user', 'user', ?, ?)",
            [(f"s{n % 3}", n // 3 + 1, 2000.0 + n, _body(n)) for n in range(ITEMS)],
        )
    base.close()
    return path


def _whole(path: Path) -> None:
    """Everything is there, once, in order."""
    with sessions.open(path, upkeep=False) as store:
        assert [info.id for info in store.list().sessions] == ["s0", "s2", "s1"]
        assert store.stats().items == ITEMS
        assert store.stats().version == 1
        for number in range(3):
            talk = store.session(f"s{number}")
            assert talk.info().title == f"title {number}"
            after = 0
            while page := talk.items(after):
                for item in page:
                    source = (item.pos - 1) * 3 + number
                    assert talk.open(item.pos).read(100).decode("utf-8", "ignore") == _body(source)[:100].encode()[
                        :100
                    ].decode("utf-8", "ignore")
                    assert item.size == len(_body(source).encode())
                after = page[-1].pos
            assert talk.append("user", "new").pos == talk.info().last
        with store.connections.reader("test") as connection:
            names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            assert not [name for name in names if name.startswith("v0")]
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        store.clean()
        assert store.stats().orphans == 0


def test_an_old_store_is_brought_up_to_date(old: Path) -> None:
    """B13: all of it, with a whole backup of the old one beside it, 0600."""
    said: list[str] = []
    before = old.stat().st_size
    sessions.open(old, upkeep=False, on_warning=said.append).close()
    backups = list(old.parent.glob("agent.db.*.backup"))
    assert len(backups) == 1
    assert backups[0].stat().st_mode & 0o777 == 0o600
    assert backups[0].stat().st_size >= before
    with sqlite3.connect(backups[0]) as look:
        assert look.execute("SELECT COUNT(*) FROM item").fetchone()[0] == ITEMS
    look.close()
    assert any("backup" in words for words in said)
    _whole(old)


class _Killed(BaseException):
    """As if the power went: nothing of ours runs after it."""


@pytest.mark.parametrize("moment", [1, 2, 3, 5, 8, 12, 20, 25])
def test_it_goes_on_where_it_was_killed(old: Path, moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """B13: ended at the n-th transaction, the next open finishes it; nothing is lost or doubled, one backup."""
    from midwatch.bounded.sessions.connect import Connections

    count = 0
    real = Connections.transaction

    def transaction(self: Connections, doing: str) -> object:
        nonlocal count
        count += 1
        if count >= moment:
            raise _Killed
        return real(self, doing)

    with monkeypatch.context() as patch:
        patch.setattr(Connections, "transaction", transaction)
        try:
            sessions.open(old, upkeep=False).close()
        except _Killed:
            pass
    _whole(old)
    assert len(list(old.parent.glob("agent.db.*.backup"))) == 1


def test_a_full_disk_stops_before_anything_is_done(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B13: too little room: DiskFull with the figures, the file as it was."""
    real = os.statvfs(old.parent)
    fields = list(real)
    fields[4] = 1  # blocks that are free
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))
    before = old.read_bytes()
    with pytest.raises(sessions.DiskFull, match="Nothing was done"):
        sessions.open(old)
    assert old.read_bytes() == before
    assert not list(old.parent.glob("*.backup"))


def test_reading_only_leaves_an_old_store_alone(old: Path) -> None:
    with pytest.raises(sessions.NotOurs, match="open it once for writing"):
        sessions.open(old, readonly=True)
    with sqlite3.connect(old) as look:
        assert look.execute("PRAGMA user_version").fetchone()[0] == 0
    look.close()


def test_a_failure_says_what_and_keeps_both(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle is typed; the store is never emptied, and opens when the trouble is gone."""

    def breaks(*_: object) -> int:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(migrate, "_items", breaks)
        with pytest.raises(sessions.StoreError, match="migrate"):
            sessions.open(old)
    _whole(old)


def test_being_killed_again_and_again_does_not_fill_the_disk(old: Path) -> None:
    """Each kill in a long body left what was written of it until the store was idle: 392 MB after 61 kills."""
    script = (
        "import os\n"
        "from midwatch import sessions\n"
        "from midwatch.bounded.sessions import payload\n"
        "payload.finish = lambda *_: os._exit(9)\n"
        f"sessions.open({str(old)!r})\n"
    )
    sizes = []
    for _ in range(6):
        assert subprocess.run([sys.executable, "-c", script], timeout=50, check=False).returncode == 9
        with sqlite3.connect(old) as base:
            sizes.append(base.execute("SELECT SUM(LENGTH(data)) FROM chunk").fetchone()[0])
            assert base.execute("SELECT COUNT(*) FROM payload").fetchone()[0] == 1
        base.close()
    assert len(set(sizes)) == 1
    _whole(old)
