"""S55: stores that other programs wrote, with rows of any size: listed, read, assembled, exported, never written."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch import sessions
from midwatch.bounded.sessions import slices
from midwatch.bounded.sessions.slices import Slice

MIB = 1 << 20


def message(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def talk_of(size: int) -> list[dict[str, Any]]:
    """A prompt, a request, a small round, a round with a huge result, an answer."""
    call = {"id": "c1", "type": "function", "function": {"name": "grep", "arguments": "{}"}}
    return [
        message("system", "be good"), message("user", 'find "x"\n'),
        message("assistant", "", tool_calls=[call]), message("tool", "small", tool_call_id="c1"),
        message("assistant", "", tool_calls=[{**call, "id": "c2"}]),
        message("tool", "A" * 100 + 'line "7"\\\n' * (size // 10) + "the end", tool_call_id="c2"),
        message("assistant", "done"),
    ]  # fmt: skip


def rows(path: Path, talk: list[dict[str, Any]]) -> None:
    """The newer shape: a row an item."""
    with sqlite3.connect(path) as base:
        base.executescript(
            "CREATE TABLE sessions (id TEXT PRIMARY KEY, messages TEXT, created_at TEXT, title TEXT DEFAULT '');"
            "CREATE TABLE session_items (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL,"
            "position INTEGER NOT NULL,"
            "item_type TEXT NOT NULL, agent_name TEXT, message_json TEXT, implicit BOOLEAN, subsession_id TEXT, "
            "summary_text TEXT);"
        )
        base.execute("INSERT INTO sessions VALUES ('one', '[]', '2026-03-14T10:00:00Z', 'a title')")
        base.executemany(
            "INSERT INTO session_items (session_id, position, item_type, message_json) VALUES ('one', ?, 'message', ?)",
            [(at, json.dumps(one)) for at, one in enumerate(talk)],
        )
    base.close()


def column(path: Path, talk: list[dict[str, Any]]) -> None:
    """The older shape: one JSON array a session."""
    with sqlite3.connect(path) as base:
        base.execute(
            "CREATE TABLE sessions (id TEXT PRIMARY KEY, messages TEXT, created_at TEXT, title TEXT DEFAULT '')"
        )
        items = [{"message": {"agentName": "root", "message": one, "implicit": False}} for one in talk]
        base.execute(
            "INSERT INTO sessions VALUES ('one', ?, '2026-03-14T10:00:00Z', 'a title')", (json.dumps(items),)
        )
    base.close()


shapes = pytest.mark.parametrize("write", [rows, column])


@shapes
def test_s55_rows_of_30_megabytes(path: Path, write: Any) -> None:
    """S55 (3 MB here; 30 MB and its memory in tests/system): works, the long row as preview and reference."""
    write(path, talk_of(3 * MIB))
    before = path.read_bytes()
    with sessions.foreign.open(path) as store:
        assert [(info.id, info.title) for info in store.list().sessions] == [("one", "a title")]
        talk = store.session("one")
        items = talk.items()
        assert [item.kind for item in items] == [
            "system",
            "user",
            "assistant",
            "tool_result",
            "assistant",
            "tool_result",
            "assistant",
        ]
        assert items[1].text == 'find "x"\n'
        assert items[2].calls == items[3].calls == ("c1",)
        assert items[5].size > 3 * MIB
        assert items[5].body is None
        found = json.loads(b"".join(talk.assemble()))
        assert len(found) == 7
        assert "not shown here" in found[5]["content"]
        assert "the end" in found[5]["content"]
        assert len(found[5]["content"]) > 4096
        page = talk.read(6, 1000, 500)
        assert (page.offset, page.next) == (1000, 1500)
        assert 'line \\"7' in page.text
        pieces: list[bytes] = []
        talk.export(pieces.append)
        lines = [json.loads(line) for line in b"".join(pieces).splitlines()]
        assert len(lines) == 7
        assert "the end" in lines[5]["body"]
    assert path.read_bytes() == before


@shapes
def test_one_broken_row_costs_itself(path: Path, write: Any) -> None:
    """Cut off, no JSON, not an object, NULL: a note in its place, the rest is there."""
    write(path, talk_of(100))
    with sqlite3.connect(path) as base:
        if write is rows:
            for value in ('{"role": "us', "nonsense", "[1]", None, ""):
                base.execute(
                    "INSERT INTO session_items (session_id, position, item_type, message_json) "
                    "VALUES ('one', 99, 'x', ?)",
                    (value,),
                )
        else:
            base.execute("UPDATE sessions SET messages = substr(messages, 1, length(messages) - 30)")
    base.close()
    with sessions.foreign.open(path) as store:
        talk = store.session("one")
        assert [item.kind for item in talk.items()][:4] == ["system", "user", "assistant", "tool_result"]
        assert json.loads(b"".join(talk.assemble()))[0]["content"] == "be good"


def test_summaries_and_empty_sessions(path: Path) -> None:
    rows(path, talk_of(10))
    with sqlite3.connect(path) as base:
        base.execute(
            "INSERT INTO session_items (session_id, position, item_type, summary_text) "
            "VALUES ('one', 50, 'summary', 'so far')"
        )
        base.execute("INSERT INTO sessions VALUES ('empty', NULL, NULL, NULL)")
    base.close()
    with sessions.foreign.open(path) as store:
        assert [one["content"] for one in json.loads(b"".join(store.session("one").assemble()))] == [
            "be good",
            'find "x"\n',
            "so far",
        ]
        assert store.session("empty").items() == []
        assert b"".join(store.session("empty").assemble()) == b"[]"
        with pytest.raises(sessions.Missing):
            store.session("nobody")
        page = store.list(limit=1)
        assert [info.id for info in store.list(after=page.after, limit=1).sessions] == ["one"]


def test_an_unknown_database_is_not_read(path: Path) -> None:
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE t (x)")
    base.close()
    with pytest.raises(sessions.NotOurs):
        sessions.foreign.open(path)


class _Text(Slice):
    """A text that is read in small steps."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data, self.step, self.at = data, step, 0

    def read(self, size: int, /) -> bytes:
        found = self.data[self.at : self.at + self.step]
        self.at += len(found)
        return found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\[]{},ü\n', max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='a"[', max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.lists(VALUES, max_size=6), st.integers(1, 9), st.booleans())
def test_an_array_is_cut_into_its_elements(values: list[Any], step: int, wide: bool) -> None:
    """Whatever stands in it and wherever a page ends."""
    data = json.dumps(values, indent=1 if wide else None, ensure_ascii=False).encode()
    found = [json.loads(data[begin:end]) for begin, end in slices.elements(_Text(data, step))]
    assert found == values


@pytest.mark.parametrize("stored", ['{broken "json', '{"role":"tool"', "[" * 5000])
def test_a_row_that_is_no_json_is_shown_as_it_is(tmp_path: Path, stored: str) -> None:
    """It was shown, and exported, as `null`: what somebody may want to repair was gone from view."""
    path = tmp_path / "session.db"
    rows(path, [message("user", "hello")])
    with sqlite3.connect(path) as base:
        base.execute("UPDATE session_items SET message_json = ?", (stored,))
    with sessions.foreign.open(path) as store:
        talk = store.session("one")
        assert [(item.kind, item.text) for item in talk.items()] == [("note", stored)]
        lines: list[bytes] = []
        talk.export(lines.append)
        assert json.loads(b"".join(lines))["body"] == stored
