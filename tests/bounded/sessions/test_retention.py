"""What a store forgets: by age, number, bytes; the oldest of a long session; a dry run first."""

from __future__ import annotations

import time

import pytest

from midwatch import sessions


@pytest.fixture
def many(store: sessions.Store) -> sessions.Store:
    """Ten sessions of 10,000 bytes, one day apart, s9 the newest."""
    for number in range(10):
        talk = store.create(id=f"s{number}")
        for at in range(10):
            talk.append("user" if at == 0 else "assistant", str(number) * 1000)
    with store.connections.transaction("test") as connection:
        connection.execute("UPDATE session SET updated = ? - (10 - id) * 86400", (time.time(),))
    return store


def test_by_age(many: sessions.Store) -> None:
    plan = many.prune(sessions.Retention(age=4.5 * 86400))
    assert plan.deleted == ["s4", "s3", "s2", "s1", "s0"]
    assert plan.bytes == 50_000
    assert many.stats().sessions == 10


def test_by_number_and_bytes(many: sessions.Store) -> None:
    """The newest always stays, whatever the bounds."""
    assert len(many.prune(sessions.Retention(sessions=3)).deleted) == 7
    assert len(many.prune(sessions.Retention(bytes=35_000)).deleted) == 7
    assert len(many.prune(sessions.Retention(bytes=1)).deleted) == 9


def test_a_long_session_loses_its_oldest(many: sessions.Store) -> None:
    """But not its first request; counters follow."""
    plan = many.prune(sessions.Retention(session_bytes=4000), dry_run=False)
    assert plan.trimmed == [f"s{number}" for number in range(9, -1, -1)]
    talk = many.session("s3")
    assert [item.pos for item in talk.items()] == [1, 8, 9, 10]
    assert talk.info().bytes == 4000
    many.prune(sessions.Retention(session_items=2), dry_run=False)
    assert [item.pos for item in talk.items()] == [1, 10]
    assert talk.append("user", "next").pos == 11


def test_what_a_branch_shares_is_not_trimmed(many: sessions.Store) -> None:
    fork = many.session("s9").branch(5)
    many.prune(sessions.Retention(session_items=1), dry_run=False)
    assert [item.pos for item in fork.items()] == [1, 2, 3, 4, 5]


def test_it_is_done_when_asked_for(many: sessions.Store) -> None:
    many.prune(sessions.Retention(sessions=2), dry_run=False)
    assert [info.id for info in many.list().sessions] == ["s9", "s8"]
    many.clean()
    with many.connections.reader("test") as connection:
        assert connection.execute("SELECT COUNT(*) FROM item").fetchone()[0] == 20
    with pytest.raises(sessions.Missing):
        many.delete("s0")


def test_a_bound_is_a_number_above_nothing() -> None:
    with pytest.raises(ValueError, match="above 0"):
        sessions.Retention(sessions=0)


def test_drafts_go_with_their_session(store: sessions.Store, talk: sessions.Session) -> None:
    talk.draft().add("x" * 5000)
    store.delete("talk")
    store.clean()
    assert store.stats().drafts == 0
