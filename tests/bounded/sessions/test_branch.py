"""Branches: one row, nothing copied, readable when the parent is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from midwatch import sessions


def _fill(talk: sessions.Session, count: int) -> None:
    for number in range(count):
        talk.append("user", f"item {number + 1}")


def _texts(talk: sessions.Session) -> list[str]:
    return [item.text or "" for item in talk.items()]


def test_a_branch_goes_on_by_itself(store: sessions.Store, talk: sessions.Session) -> None:
    """It shares what was before and nothing after; positions go on."""
    _fill(talk, 10)
    fork = talk.branch(4, id="fork", title="another way")
    assert fork.append("user", "other").pos == 5
    assert _texts(fork) == [*(f"item {number}" for number in range(1, 5)), "other"]
    assert len(talk.items()) == 10
    info = fork.info()
    assert (info.parent, info.fork, info.items, info.last) == ("talk", 4, 1, 5)
    assert info.inherited == 4 * 6
    assert store.read("fork/2").text == "item 2"


def test_branches_of_branches_read_through(talk: sessions.Session) -> None:
    """Each level gives its own part; a fork inside a shared part leads to whom it belongs."""
    _fill(talk, 6)
    one = talk.branch(4)
    one.append("user", "one")
    two = one.branch(5)
    two.append("user", "two")
    early = two.branch(2)
    early.append("user", "early")
    assert _texts(two) == ["item 1", "item 2", "item 3", "item 4", "one", "two"]
    assert _texts(early) == ["item 1", "item 2", "early"]
    assert early.info().parent == "talk"
    assert [item.pos for item in two.items(after=3, limit=2)] == [4, 5]


def test_the_parent_may_be_deleted(store: sessions.Store, talk: sessions.Session) -> None:
    """What is shared stays until the last branch is gone; what is not goes."""
    _fill(talk, 6)
    talk.append("user", "x" * 1_000_000)
    fork = talk.branch(3, id="fork")
    store.delete("talk")
    store.clean()
    assert _texts(fork) == ["item 1", "item 2", "item 3"]
    assert [info.id for info in store.list().sessions] == ["fork"]
    assert store.stats().file_bytes < 500_000
    store.delete("fork")
    store.clean()
    with store.connections.reader("test") as connection:
        assert connection.execute("SELECT COUNT(*) FROM item").fetchone()[0] == 0
        assert connection.execute("SELECT COUNT(*) FROM session").fetchone()[0] == 0


def test_s24_a_branch_of_a_long_session_costs_a_row(path: Path) -> None:
    """S24 (5,000 items, 40 MB here; 300 MB in the bench): the store grows by less than 64 KiB."""
    with sessions.open(path, upkeep=False) as store:
        talk = store.create()
        with store.connections.transaction("test") as connection:
            connection.executemany(
                "INSERT INTO item (session, pos, size, wide, tokens, upto, at, kind, role, mime, agent, name, "
                "calls, body) "
                "VALUES (1, ?, 8000, 8000, 2000, ?, 0, 'user', 'user', 'text/plain', '', '', '', ?)",
                [(pos, pos * 8000, b"x" * 8000) for pos in range(1, 5001)],
            )
        store.clean()
        before = store.stats()
        fork = talk.branch(4000)
        after = store.stats()
        assert after.file_bytes + after.wal_bytes < before.file_bytes + before.wal_bytes + 65_536
        assert fork.info().inherited == 4000 * 8000
        assert [item.pos for item in fork.items(after=3995)] == [3996, 3997, 3998, 3999, 4000]


def test_a_fork_that_is_not_there_is_refused(talk: sessions.Session) -> None:
    _fill(talk, 2)
    with pytest.raises(sessions.Missing):
        talk.branch(3)
    with pytest.raises(sessions.StoreError, match="already"):
        talk.branch(1, id="talk")
