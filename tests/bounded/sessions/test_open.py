"""Opening: whose file it is, and that nothing is ever put in the place of what could not be read."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from midwatch import sessions


def _filled(path: Path) -> bytes:
    with sessions.open(path) as store:
        talk = store.create(id="a")
        for _ in range(50):
            talk.append("user", "x" * 5000)
    return path.read_bytes()


@pytest.mark.parametrize("place", [0, 17, 21, 120, 2000])
def test_s29_a_damaged_first_page_is_left_alone(path: Path, place: int) -> None:
    """S29: page 1 overwritten from somewhere on: Corrupt, every byte as it was, no other file made, still so the
    next time."""
    data = bytearray(_filled(path))
    data[place : place + 200] = b"\xa5" * 200
    if place > 100:
        data[100:108] = b"\xa5" * 8
    path.write_bytes(data)
    for _ in range(2):
        with pytest.raises(sessions.Corrupt, match="left as it is"):
            sessions.open(path)
    assert path.read_bytes() == bytes(data)
    assert [name for name in os.listdir(path.parent) if not name.endswith(("-shm", "-wal"))] == ["agent.db"]


def test_a_damaged_page_further_in_costs_what_lies_there(path: Path) -> None:
    """The store opens; reading the damaged part is Corrupt, other sessions are there."""
    with sessions.open(path) as store:
        store.create(id="good").append("user", "fine")
        store.create(id="bad").append("tool_result", "y" * 2_000_000, calls="c")
    data = bytearray(path.read_bytes())
    with sqlite3.connect(path) as look:
        pages = [
            row[0] for row in look.execute("SELECT pageno FROM dbstat WHERE name = 'chunk' AND pagetype = 'leaf'")
        ]
    for page in pages:
        data[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(data)
    with sessions.open(path, upkeep=False) as store:
        assert store.read("good/1").text == "fine"
        with pytest.raises(sessions.StoreError):
            store.read("bad/1")


@pytest.mark.parametrize("content", [b"hello", b"x" * 5000, b"SQLite format 3\0" + b"\0" * 84])
def test_something_else_is_no_store(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(sessions.StoreError):
        sessions.open(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_not_ours(path: Path) -> None:
    """It is not touched, not even by a log beside it."""
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(sessions.NotOurs, match="another program"):
        sessions.open(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["agent.db"]


def test_a_newer_version_is_refused(path: Path) -> None:
    _filled(path)
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(sessions.TooNew, match="Update Midwatch"):
        sessions.open(path)


def test_a_log_without_its_store_is_not_overwritten(path: Path) -> None:
    """Somebody moved the store away and left its log: no empty store is made in its place."""
    Path(f"{path}-wal").write_bytes(b"something")
    with pytest.raises(sessions.Corrupt, match="log"):
        sessions.open(path)
    assert not path.exists()
    path.touch()
    with pytest.raises(sessions.Corrupt, match="log"):
        sessions.open(path)


def test_what_is_not_there_is_made_only_on_request(path: Path) -> None:
    for words in ({"create": False}, {"readonly": True}):
        with pytest.raises(sessions.Missing):
            sessions.open(path, **words)  # type: ignore[arg-type]
        assert not path.exists()
    path.touch()
    with pytest.raises(sessions.NotOurs, match="empty"):
        sessions.open(path, create=False)
    sessions.open(path).close()


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "folder"])
def test_only_a_regular_file_is_opened(path: Path, kind: str) -> None:
    """A link, a FIFO, a folder: refused at once."""
    if kind == "link":
        _filled(path.with_name("real.db"))
        path.symlink_to(path.with_name("real.db"))
    elif kind == "dangling":
        path.symlink_to(path.with_name("nothing"))
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(sessions.StoreError):
        sessions.open(path)
    assert not path.with_name("nothing").exists()


def test_a_folder_is_made_private(tmp_path: Path) -> None:
    sessions.open(tmp_path / "a" / "b" / "agent.db").close()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_many_may_make_it_at_once(path: Path) -> None:
    """Eight threads open what is not there: one store, all in it."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with sessions.open(path) as store:
                store.create(id=f"s{number}").append("user", "x")
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert not errors
    with sessions.open(path) as store:
        assert store.stats().sessions == 8


@pytest.mark.unprivileged("root may write everything")
def test_an_unwritable_store_says_so(path: Path) -> None:
    _filled(path)
    path.chmod(0o400)
    with pytest.raises(sessions.Unwritable, match="owner"), sessions.open(path) as store:
        store.create()


def test_the_settings_of_the_file(store: sessions.Store) -> None:
    """B9: as specified."""
    wanted = {
        "journal_mode": "wal", "synchronous": 1, "auto_vacuum": 2, "page_size": 4096, "mmap_size": 0, "temp_store": 1,
        "wal_autocheckpoint": 1000, "journal_size_limit": 16 << 20, "foreign_keys": 1, "busy_timeout": 5000,
    }  # fmt: skip
    store.create()
    with store.connections.writer("test") as connection:
        found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}
    assert found == wanted
