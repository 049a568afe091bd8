"""`midwatch sessions`: what a person and a script see, and what is refused."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from midwatch import sessions
from midwatch.front.cli.declare import Failure, Usage
from midwatch.front.cli.quick import read
from midwatch.front.cli.sessions import VERB


def call(*words: str) -> int:
    values = read(VERB, list(words))
    assert values is not None
    return VERB.run(**values)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Three sessions, one of them with a long item."""
    name = str(tmp_path / "agent.db")
    with sessions.open(name) as store:
        for number in range(3):
            store.create(id=f"s{number}", title=f"title {number}").append("user", f"hello {number}\nworld")
        talk = store.session("s2")
        talk.append("tool_use", "{}", name="grep", calls="c")
        talk.append("tool_result", "word " * 20_000, calls="c")
        with store.connections.transaction("test") as connection:
            connection.execute("UPDATE session SET updated = updated - (3 - id) * 86400")
    return name


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    assert found["schema_version"] == 1
    return found


def test_the_list_is_paged(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("list", path, "--limit", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["SESSION", "USED", "ITEMS", "SIZE", "TITLE"]
    assert [line.split()[0] for line in lines[1:3]] == ["s2", "s1"]
    assert lines[-1].startswith("3 sessions, 5 items, 98K")
    call("list", path, "--after", lines[3].removeprefix("more: --after "))
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "s0"
    call("list", path, "--json")
    found = told(capsys)
    assert [info["id"] for info in found["sessions"]] == ["s2", "s1", "s0"]
    assert found["stats"]["items"] == 5


def test_a_session_is_shown_by_pages(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Items on a line each; a long one by its own command, whose pages are its text."""
    call("show", path, "s2")
    out = capsys.readouterr().out
    assert "hello 2 world" in out
    assert "--item 3 shows it" in out
    call("show", path, "s2", "--after", "1", "--limit", "1", "--json")
    found = told(capsys)
    assert [item["kind"] for item in found["items"]] == ["tool_use"]
    assert found["after"] == 2
    text, offset = "", 0
    while offset is not None:
        call("show", path, "s2", "--item", "3", "--offset", str(offset), "--json")
        page = told(capsys)
        text, offset = text + page["text"], page["next"]
    assert text == "word " * 20_000
    call("show", path, "s2", "--item", "3", "--length", "10")
    shown = capsys.readouterr()
    assert shown.out == "word word \n"
    assert "read on: --offset 10" in shown.err


def test_an_export_is_lines_of_json(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "talk.jsonl"
    assert call("export", path, "s2", "-o", str(target)) == 0
    assert [json.loads(line)["pos"] for line in target.read_text().splitlines()] == [1, 2, 3]
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Failure, match="not there yet"):
        call("export", path, "s2", "-o", str(target))


def test_prune_says_what_would_go_and_then_does_it(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("prune", path, "--older", "36h") == 0
    out = capsys.readouterr().out
    assert "delete  s0" in out
    assert "would go: 1 sessions" in out or "would go: 2 sessions" in out
    call("list", path, "--json")
    assert told(capsys)["stats"]["sessions"] == 3
    call("prune", path, "--keep", "1", "--yes", "--json")
    assert told(capsys)["deleted"] == ["s1", "s0"]
    call("list", path, "--json")
    assert [info["id"] for info in told(capsys)["sessions"]] == ["s2"]
    call("prune", path)
    assert "would go: 0 sessions" in capsys.readouterr().out


def test_somebody_elses_store_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """docker-agent's session.db: listed, shown, exported; prune refuses."""
    name = str(tmp_path / "session.db")
    with sqlite3.connect(name) as base:
        base.execute("CREATE TABLE sessions (id TEXT PRIMARY KEY, messages TEXT, created_at TEXT, title TEXT)")
        items = [{"message": {"agentName": "root", "message": {"role": "user", "content": "hello"}}}]
        base.execute("INSERT INTO sessions VALUES ('one', ?, '2026-01-01T00:00:00Z', 'theirs')", (json.dumps(items),))
    base.close()
    call("list", name)
    assert "theirs" in capsys.readouterr().out
    call("show", name, "one")
    assert "hello" in capsys.readouterr().out
    with pytest.raises(Failure, match="another program"):
        call("prune", name, "--keep", "1", "--yes")


@pytest.mark.parametrize(
    "words",
    [(), ("look", "x"), ("list",), ("show", "x"), ("list", "x", "y"), ("list", "x", "--yes"),
     ("prune", "x", "--older", "soon"),
     ("prune", "x", "--keep", "0"), ("list", "x", "--limit", "0")],
)  # fmt: skip
def test_a_wrong_line_does_nothing(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Usage):
        call(*words)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_not_made(path: str, tmp_path: Path) -> None:
    for words in (
        ("list", str(tmp_path / "no.db")),
        ("prune", str(tmp_path / "no.db"), "--yes"),
        ("show", path, "nobody"),
    ):
        with pytest.raises(Failure) as error:
            call(*words)
        assert error.value.code == 2
    assert not (tmp_path / "no.db").exists()
    with pytest.raises(Usage, match="position"):
        call("show", path, "s1", "--after", "x")
