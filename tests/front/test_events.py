"""`events`: the journal in words and as JSON lines, newest last, without what is only for replay."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.front.conftest import Daemon, Done, write_journal

from midwatch.engine.layout import Layout
from midwatch.front.cli import history

Cli = Callable[..., Done]
EXIT: dict[str, Any] = {
    "event": "run.exited", "service": "shop/web", "run_id": "shop.web.1", "pid": 7, "code": 3,
    "signal": None, "cause": "crash",
    "confidence": 1.0, "because": ["exit code 3 after 2 ms"], "duration_ms": 2, "crash_count": 1,
    "decision": "crash 1 of 10, next try in 1 s", "input": {"e": "exited"}, "awake": 5.0,
}  # fmt: skip
LINES: tuple[dict[str, Any], ...] = (
    {"event": "journal.opened", "snapshot": {"states": []}, "version": 1},
    {"event": "daemon.started", "pid": 4},
    EXIT,
    {
        "event": "run.exited",
        "service": "blog/db",
        "run_id": "blog.db.1",
        "pid": 8,
        "code": 0,
        "cause": "clean",
    },
)


def test_json_lines(cli: Cli, layout: Layout) -> None:
    """One object a line: ts, event, service, run_id first; no snapshot, no input, no internal time."""
    write_journal(layout, *LINES)
    lines = [json.loads(line) for line in cli("events", "--json").out.splitlines()]
    assert [line["event"] for line in lines] == ["daemon.started", "run.exited", "run.exited"]
    for line in lines:
        assert list(line)[:4] == ["ts", "event", "service", "run_id"]
        assert not {"input", "awake", "snapshot"} & set(line)
        assert line["schema_version"] == 1
    assert set(lines[1]) >= {"pid", "code", "signal", "cause", "duration_ms", "crash_count"}


def test_words(cli: Cli, layout: Layout) -> None:
    """A line for a person: when, who, what, the fields, why, and the decision last; nothing raw gets through."""
    write_journal(layout, *LINES)
    line = cli("events", "-s", "shop/web").out.splitlines()[0]
    assert line.split("  ", 1)[1] == (
        "shop/web  run.exited  pid=7  code=3  cause=crash  confidence=1  duration_ms=2  crash_count=1  "
        "exit code 3 after 2 ms  -> crash 1 of 10, next try in 1 s"
    )
    assert "\x1b" not in history.words(
        {"ts": "2026-06-02T02:31:00.000Z", "event": "run.tail", "text": "\x1b[2J"}
    )


def test_which_lines(cli: Cli, layout: Layout) -> None:
    """-n, --service, the project of the folder, -a; a torn last line and other files' lines do no harm."""
    write_journal(layout, *LINES)
    for service in ("shop.web", "blog.db"):
        (layout.logs / service).mkdir(parents=True)
    with (layout.journal / "2026-W23.jsonl").open("a") as file:
        file.write('{"ts":"2026-06-02T02:3')
    assert len(cli("events").out.splitlines()) == 3
    assert len(cli("events", "-n", "1").out.splitlines()) == 1
    assert len(cli("events", "-n", "0", "-s", "web").out.splitlines()) == 1
    Path("midwatch.toml").write_text('[midwatch]\nproject = "blog"\n')
    assert "blog/db" in cli("events").out
    assert len(cli("events").out.splitlines()) == 1
    assert len(cli("events", "-a").out.splitlines()) == 3
    assert cli("events", "-s", "nope").code == 2
    assert cli("events", "-n", "-1").code == 2


def test_an_empty_record(cli: Cli, daemon: Daemon) -> None:
    """Nothing has happened: nothing is shown, exit 0."""
    del daemon
    assert cli("events") == Done(0, "", "")


def test_follow(layout: Layout, home: Path) -> None:
    """-f: what is there, then each new line once, without a gap."""
    write_journal(layout, *LINES)
    follower = subprocess.Popen(
        [sys.executable, "-m", "midwatch", "events", "-f", "--json", "-n", "1"],
        stdout=subprocess.PIPE,
        cwd=home,
    )
    try:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["service"] == "blog/db"
        write_journal(layout, {"event": "run.spawning", "service": "shop/web", "run_id": "shop.web.2"})
        assert json.loads(follower.stdout.readline())["event"] == "run.spawning"
    finally:
        follower.terminate()
        follower.communicate(timeout=20)


def test_what_was_open_is_told_in_words() -> None:
    """FDW-9: the record of a process's descriptors is a sentence, worst first, never a Python list."""
    files = [[f"/f{number}", "regular", 1] for number in range(9)]
    rows = [["/srv/state.db", "sqlite-main", 48], ["/dev/null", "device", 20], *files]
    line = history.words({"ts": "2026-06-02T02:31:00.000Z", "event": "fds.record", "top": rows, "by_kind": {"pipe": 2}})
    assert 'top="48 x /srv/state.db (sqlite-main), 20 x /dev/null (device), ' in line
    assert line.count(" x ") == 5
    assert "and 6 more" in line
    assert "['" not in line
    assert "by_kind=pipe:2" in line
