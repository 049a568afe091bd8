"""A store as an agent uses it: append, list, page, read, stream; bounds and errors."""

from __future__ import annotations

import base64
import gc
import io
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from midwatch import sessions
from midwatch.policy import defaults_sessions as d

MIB = 1 << 20


def test_what_was_appended_is_there(store: sessions.Store, talk: sessions.Session) -> None:
    """Items come back as they were, in order, with counters that fit."""
    talk.append("system", "be brief", agent="root")
    talk.append("user", "häuser €")
    talk.append("tool_use", '{"path":"."}', name="ls", calls="c1", more={"model": "m"})
    talk.append("tool_result", b"a\nb\n", calls="c1")
    items = talk.items()
    assert [(item.pos, item.kind, item.role, item.text) for item in items] == [
        (1, "system", "system", "be brief"), (2, "user", "user", "häuser €"),
        (3, "tool_use", "assistant", '{"path":"."}'), (4, "tool_result", "tool", "a\nb\n"),
    ]  # fmt: skip
    assert items[2].calls == items[3].calls == ("c1",)
    assert items[2].more == {"model": "m"}
    info = talk.info()
    assert (info.items, info.bytes, info.last) == (4, 8 + 11 + 12 + 4, 4)
    assert info.tokens == 2 + 3 + 3 + 1
    assert store.stats().items == 4


def test_a_store_outlives_its_process_and_is_opened_again(path: Path) -> None:
    """Closed, opened, the same; 0600; no log is left behind."""
    with sessions.open(path) as store:
        store.create(id="a").append("user", "x" * 100_000)
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["agent.db"]
    with sessions.open(path, readonly=True) as store:
        assert store.read("a/1", 99_990).text == "x" * 10
        with pytest.raises(sessions.Unwritable, match="opened for reading"):
            store.create()


def test_pages_are_bounded(store: sessions.Store, talk: sessions.Session) -> None:
    """B5: 450 items come in pages of at most 200 by key; there is no way to ask for more."""
    for number in range(450):
        talk.append("user", str(number))
    seen: list[str] = []
    after = 0
    while page := talk.items(after, 10**6):
        assert len(page) <= d.BATCH_ROWS
        seen += [item.text or "" for item in page]
        after = page[-1].pos
    assert seen == [str(number) for number in range(450)]


def test_the_list_is_paged_and_the_last_used_comes_first(store: sessions.Store) -> None:
    """B5: sessions by their last use, by an index, each once."""
    for number in range(7):
        store.create(id=f"s{number}")
    with store.connections.transaction("test") as connection:
        connection.execute("UPDATE session SET updated = updated + 100 WHERE ref = 's3'")
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT id FROM session WHERE deleted = 0 AND (updated, id) < (1, 1) "
            "ORDER BY updated DESC, id DESC LIMIT 3"
        ).fetchall()
    assert not [row for row in plan if "TEMP B-TREE" in row[3]]
    found, after = [], None
    while True:
        page = store.list(after=after, limit=3)
        found += [info.id for info in page.sessions]
        if (after := page.after) is None:
            break
    assert found == ["s3", "s6", "s5", "s4", "s2", "s1", "s0"]
    with pytest.raises(ValueError, match="the page before"):
        store.list(after="nonsense")


def test_listing_counts_nothing(store: sessions.Store, talk: sessions.Session) -> None:
    """B5: the list reads the session table and its index, never items."""
    talk.append("user", "x")
    seen: set[str] = set()

    def look(act: int, one: str | None, *_: object) -> int:
        if act == sqlite3.SQLITE_READ:
            seen.add(str(one))
        return sqlite3.SQLITE_OK

    with store.connections.reader("test") as connection:
        connection.set_authorizer(look)
    store.list()  # takes the reader that was given back last
    assert seen == {"session"}


def test_a_body_is_read_a_stretch_at_a_time(store: sessions.Store, talk: sessions.Session) -> None:
    """Pages never split a character, and all of them together are the body."""
    text = "".join(chr(0x1F600 + number % 64) for number in range(60_000))
    item = talk.append("tool_result", text, calls="c")
    found, offset = "", 0
    while True:
        page = store.read(item.ref, offset, 30_001)
        found += page.text
        assert page.encoding == "text"
        if page.next is None:
            break
        offset = page.next
    assert found == text
    body = talk.open(item.pos)
    assert body.seek(0, 2) == 240_000
    body.seek(239_996)
    assert body.read(100).decode() == text[-1]


def test_bytes_that_are_no_text_come_as_base64(store: sessions.Store, talk: sessions.Session) -> None:
    data = os.urandom(100_000)
    item = talk.append("tool_result", data, calls="c", mime="application/octet-stream")
    found, offset = b"", 0
    while True:
        page = store.read(item.ref, offset)
        found += base64.b64decode(page.text)
        if page.next is None:
            break
        offset = page.next
    assert found == data


@pytest.mark.parametrize(
    "ref", ["", "talk", "talk/", "talk/x", "talk/99", "../../etc/passwd", "no/1", "talk/1/2", "/1", "a/" + "9" * 30]
)
def test_a_reference_is_looked_up_never_joined(store: sessions.Store, talk: sessions.Session, ref: str) -> None:
    talk.append("user", "x")
    with pytest.raises(sessions.Missing):
        store.read(ref)


def test_a_stream_is_stored_to_its_end(talk: sessions.Session) -> None:
    """A body may be a file; short ones stand in the row, long ones out of it."""
    short = talk.append("user", io.BytesIO(b"hello"))
    assert (short.body, short.payload) == (b"hello", None)
    long = talk.append("user", io.BytesIO(b"0123456789" * 300_000))
    assert (long.body, long.size) == (None, 3_000_000)
    assert talk.read(2, 2_999_995).text == "56789"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"kind": "thought"}, ValueError),
        ({"kind": "tool_use"}, ValueError),
        ({"kind": "user", "agent": "x" * 600}, sessions.TooLarge),
        ({"kind": "user", "name": "two\nlines"}, sessions.TooLarge),
        ({"kind": "user", "more": {"x": "y" * 5000}}, sessions.TooLarge),
        ({"kind": "assistant", "calls": [str(n) for n in range(65)]}, sessions.TooLarge),
    ],
)  # fmt: skip
def test_long_names_are_refused(talk: sessions.Session, words: dict[str, object], error: type[Exception]) -> None:
    """What would grow every page is no name; nothing was stored."""
    kind = str(words.pop("kind"))
    with pytest.raises(error):
        talk.append(kind, "x", **words)  # type: ignore[arg-type]
    assert talk.items() == []


def test_ids_are_checked(store: sessions.Store, talk: sessions.Session) -> None:
    with pytest.raises(ValueError, match="letters"):
        store.create(id="a/b")
    with pytest.raises(sessions.StoreError, match="already"):
        store.create(id="talk")
    assert len({store.create().id for _ in range(20)}) == 20


def test_items_are_never_changed(store: sessions.Store, talk: sessions.Session) -> None:
    """The schema itself refuses it."""
    talk.append("user", "x")
    with (
        pytest.raises(sessions.StoreError, match="never changed"),
        store.connections.transaction("test") as connection,
    ):
        connection.execute("UPDATE item SET body = 'y'")


def test_an_item_for_a_deleted_session_is_refused(store: sessions.Store, talk: sessions.Session) -> None:
    store.delete("talk")
    with pytest.raises(sessions.Missing, match="deleted"):
        talk.append("user", "x")
    with pytest.raises(sessions.Missing):
        talk.append("user", "x" * 100_000)
    store.clean()
    assert store.stats().orphans == 0


def test_tokens_are_counted_by_whoever_can(path: Path) -> None:
    """A callable counts, also a long body in pieces; a number that is given wins."""
    with sessions.open(path, count_tokens=lambda text: text.count("a")) as store:
        talk = store.create()
        assert talk.append("user", "banana").tokens == 3
        assert talk.append("user", "ab" * 100_000).tokens == 100_000
        assert talk.append("user", "aaa", tokens=77).tokens == 77


def test_busy_is_typed(
    path: Path, store: sessions.Store, talk: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B11: another writer that does not let go is Busy after the wait; the item was not stored and can be given
    again."""
    with store.connections.writer("test") as connection:
        connection.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sessions.Busy, match="Try again"):
        talk.append("user", "x")
    other.execute("COMMIT")
    other.close()
    assert talk.append("user", "x").pos == 1


def test_threads_share_a_store(store: sessions.Store) -> None:
    """Four threads, a session each and one together: nothing is lost, nothing is doubled."""
    both = store.create()

    def work(name: str) -> None:
        own = store.create(id=name)
        for number in range(50):
            own.append("user", str(number))
            both.append("user", f"{name} {number}")
            assert own.items(after=number)[0].text == str(number)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert both.info().items == 200
    for number in range(4):
        words = [item.text for item in both.items() if (item.text or "").startswith(f"t{number} ")]
        assert words == [f"t{number} {count}" for count in range(50)]


def test_s18_streamed_deltas_cost_their_own_bytes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S18: 500 deltas in 10 s on a session of 10 MiB: <= 40 write transactions, <= 1 MB written, WAL <= 8 MiB."""
    with sessions.open(path, upkeep=False) as store:
        talk = store.create()
        for _ in range(10):
            talk.append("tool_result", os.urandom(MIB // 2).hex(), calls="c")
        store.clean()
        commits: list[int] = []
        store.connections.committed = lambda: commits.append(1)
        now = [time.monotonic()]
        monkeypatch.setattr("midwatch.bounded.sessions.draft.time.monotonic", lambda: now[0])
        with talk.draft() as draft:
            for number in range(500):
                draft.add(f"delta {number:>4} of the answer. ")
                now[0] += 0.02
        assert len(commits) <= 40
        assert Path(f"{path}-wal").stat().st_size <= 1_000_000
        assert talk.items(after=10)[0].size == 500 * 26
        assert store.stats().drafts == 0


def test_a_draft_writes_each_byte_twice(store: sessions.Store, talk: sessions.Session) -> None:
    """B4: in rows, the answer once as a draft and once as the item, and nothing else."""
    written: list[int] = []
    answer = "word " * 20_000
    with store.connections.writer("test") as connection:
        connection.create_function("seen", 1, written.append)
        for table, column in (("draft", "data"), ("item", "body"), ("chunk", "data")):
            connection.execute(
                f"CREATE TEMP TRIGGER seen_{table} AFTER INSERT ON main.{table} "
                f"BEGIN SELECT seen(LENGTH(NEW.{column})); END"
            )
    draft = talk.draft()
    for at in range(0, len(answer), 50):
        draft.add(answer[at : at + 50])
    draft.done()
    assert sum(size or 0 for size in written) <= 2 * len(answer) + 10_000
    assert talk.open(1).read(200_000).decode() == answer


def test_a_draft_that_was_cut_short_is_found(path: Path) -> None:
    """B4: what was written of an answer when the program ended is there, and can become an item or be dropped."""
    with sessions.open(path) as store:
        talk = store.create(id="talk")
        lost = talk.draft(agent="root")
        lost.add("x" * 5000)
        talk.draft().add("y" * 5000)
    with sessions.open(path) as store:
        talk = store.session("talk")
        left = talk.drafts()
        assert [(one.kind, one.bytes) for one in left] == [("assistant", 5000), ("assistant", 5000)]
        again = talk.draft(stream=left[0].stream)
        again.add(" [cut short]")
        item = again.done()
        assert item.size == 5012
        talk.draft(stream=left[1].stream).drop()
        assert talk.drafts() == []
        with pytest.raises(sessions.Missing):
            talk.draft(stream="nobody's")


def test_a_draft_ends_once(talk: sessions.Session) -> None:
    """After an error inside its block it stays a draft; after `done` it takes no more."""
    draft = talk.draft()
    draft.add("half")
    draft.__exit__(RuntimeError, RuntimeError(), None)
    assert talk.drafts()[0].bytes == 4
    done = talk.draft()
    done.add("all")
    done.done()
    with pytest.raises(sessions.StoreError, match="done"):
        done.add("more")


def test_handles_are_flat(path: Path) -> None:
    """S27, B11: after 10,000 operations and a close as many descriptors and threads as before."""
    gc.collect()  # what other tests left is none of ours
    before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(20):
        with sessions.open(path) as store:
            talk = store.create()
            for number in range(125):
                talk.append("user", "x" * (number * 100))
                talk.items(number)
                talk.info()
                talk.read(1)
            b"".join(talk.assemble())
            assert len(os.listdir("/proc/self/fd")) <= before + 12
    assert len(os.listdir("/proc/self/fd")) == before
    assert threading.active_count() == threads


def test_a_closed_store_says_so(path: Path) -> None:
    store = sessions.open(path)
    talk = store.create()
    store.close()
    store.close()
    with pytest.raises(sessions.Closed, match="Open it again"):
        talk.append("user", "x")
    with pytest.raises(sessions.Closed):
        talk.items()


def test_branches_of_branches_end(store: sessions.Store) -> None:
    """64 levels, then it says so."""
    talk = store.create()
    talk.append("user", "x")
    for _ in range(d.DEPTH - 1):
        talk = talk.branch()
        talk.append("user", "y")
    with pytest.raises(sessions.TooLarge, match="levels"):
        talk.branch()
    assert len(talk.items()) == d.DEPTH


def test_importing_it_is_light() -> None:
    """Inside somebody's agent: no engine, no asyncio, no command line's libraries until they are asked for."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import midwatch.sessions; print(*sys.modules)"
    source = str(Path(sessions.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code, source], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "midwatch.engine", "typer", "rich", "psutil", "ssl", "logging", "midwatch.bounded.spool"}
    assert not heavy & set(done.stdout.split())
    assert sessions.AsyncStore.__name__ == "AsyncStore"
    with pytest.raises(AttributeError):
        _ = sessions.nonsense
