"""The session store in processes of its own: memory, several writers, kill -9 at many moments, a full disk."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from midwatch import sessions

MIB = 1 << 20
PROGRAM = Path(__file__).with_name("sessions_program.py")
SRC = Path(__file__).parents[2] / "src"


def start(act: str, *words: object) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(SRC)}
    argv = [sys.executable, str(PROGRAM), act, *(str(word) for word in words)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, env=environ, text=True)


def run(act: str, *words: object, patience: float = 50) -> dict[str, Any]:
    with start(act, *words) as process:
        out, _ = process.communicate(timeout=patience)
    assert process.returncode == 0
    found = json.loads(out.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.db"


@pytest.mark.slow
def test_s23_memory_of_a_large_append(path: Path) -> None:
    """S23: 60 MiB appended from a stream: growth <= 8 MiB; from memory: the same beside the caller's own bytes."""
    found = run("append", path, 60 * MIB)
    assert found["stream"] <= 8 * MIB
    assert found["memory"] <= 8 * MIB


@pytest.mark.slow
def test_s19_memory_of_listing_and_assembling(path: Path) -> None:
    """S19 (1,168 sessions, 60 MB in one of them; 531 MB in the bench): growth <= 32 MiB, assembling <= 4 MiB."""
    with sessions.open(path, upkeep=False) as store:
        with store.connections.transaction("test") as connection:
            connection.executemany(
                "INSERT INTO session (ref, created, updated, title) VALUES (?, ?, ?, 'a title of a session')",
                [(f"s{number}", number, number) for number in range(1167)],
            )
        talk = store.create(id="large")
        talk.append("system", "be good")
        talk.append("user", "go on")
        for number in range(300):
            talk.append("tool_use", "{}", calls=f"c{number}")
            talk.append("tool_result", os.urandom(100_000).hex(), calls=f"c{number}")
    found = run("context", path, "large")
    assert found["listed"] == 1168
    assert found["bytes"] <= 1_572_864
    assert found["grown"] <= 32 * MIB
    assert found["assemble"] <= 4 * MIB


def _foreign(path: Path, kind: str) -> None:
    huge = json.dumps(
        {"role": "tool", "content": 'some "words" of a result\n' * (30 * MIB // 27), "tool_call_id": "c2"}
    )
    call = {"id": "c2", "type": "function", "function": {"name": "grep", "arguments": "{}"}}
    rest = [
        json.dumps({"role": "user", "content": "go"}),
        json.dumps({"role": "assistant", "content": "", "tool_calls": [call]}),
    ]
    with sqlite3.connect(path) as base:
        if kind == "rows":
            base.executescript(
                "CREATE TABLE sessions (id TEXT PRIMARY KEY, created_at TEXT, title TEXT);"
                "CREATE TABLE session_items (id INTEGER PRIMARY KEY, session_id TEXT, position INTEGER, "
                "message_json TEXT, summary_text TEXT); INSERT INTO sessions VALUES ('one', '2026-01-01', 't');"
            )
            for at, row in enumerate([*rest, huge]):
                base.execute(
                    "INSERT INTO session_items (session_id, position, message_json) VALUES ('one', ?, ?)", (at, row)
                )
        else:
            base.execute("CREATE TABLE sessions (id TEXT PRIMARY KEY, created_at TEXT, title TEXT, messages TEXT)")
            items = ",".join(f'{{"message":{{"agentName":"root","message":{row}}}}}' for row in [*rest, huge])
            base.execute("INSERT INTO sessions VALUES ('one', '2026-01-01', 't', ?)", (f"[{items}]",))
    base.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rows", "column"])
def test_s55_memory_of_somebody_elses_30_mb_rows(path: Path, kind: str) -> None:
    """S55: open, list items, assemble, export, read the end: growth <= 16 MiB a step, the row as preview and
    reference."""
    _foreign(path, kind)
    found = run("foreign", path)
    assert found["count"] == 3
    for step in ("open", "items", "assemble", "export", "read"):
        assert found[step] <= 16 * MIB, step
    assert 4096 < found["bytes"] < 200_000
    assert found["exported"] > 30 * MIB
    assert '"tool_call_id": "c2"' in found["tail"] or "c2" in found["tail"]


@pytest.mark.slow
def test_s17_the_cascade_of_the_report(path: Path, tmp_path: Path, home: Path) -> None:
    """S17 (2,008 matches of 20 KB, 40 MB; of 1 MB each they would be stopped at 1 GiB, S1): exec, store, context,
    provider: growth <= 32 MiB, the model sees <= 40,960 bytes, the full list is in the spool and not in the store."""
    found = run("cascade", path, tmp_path / "spool")
    assert found["grown"] <= 32 * MIB
    assert 4096 < found["text"] <= 40_960
    assert found["exec_text"] <= 40_960
    assert (found["lines"], found["whole"], found["ref"]) == (2008, True, True)
    assert found["last"] > 3000
    assert found["store"] < MIB


@pytest.mark.slow
def test_s25_three_processes_share_a_store(path: Path) -> None:
    """S25: 3 processes, 1,000 items each: all there, in order, no error; the log <= 64 MiB and emptied at the end."""
    with sessions.open(path) as store:
        store.create(id="both")
    processes = [start("writes", path, "both", 1000) for _ in range(3)]
    found = [json.loads(process.communicate(timeout=55)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    with sessions.open(path) as store:
        for one in found:
            assert one["wal"] <= 64 * MIB
            talk = store.session(one["name"])
            assert talk.info().items == 1000
            after, seen = 0, []
            while page := talk.items(after):
                seen += [item.text for item in page]
                after = page[-1].pos
            assert seen == [str(number) for number in range(1000)]
        both = store.session("both")
        assert both.info().items == both.info().last == 750
    assert sorted(one.name for one in path.parent.iterdir()) == ["agent.db"]


@pytest.mark.slow
def test_s26_a_slow_reader_holds_nothing(path: Path) -> None:
    """S26 (6 s and up to 60 MB here): the log stays small although somebody reads all the
    time."""
    with sessions.open(path, upkeep=False) as store:
        talk = store.create(id="talk")
        for number in range(50):
            talk.append("user", str(number) * 20_000)
        other = store.create()
        reader = start("slow_reader", path, "talk", 6)
        assert reader.stdout
        reader.stdout.readline()
        most = 0
        end = time.monotonic() + 5
        written = 0
        while time.monotonic() < end and written < 60 * MIB:
            other.append("tool_result", os.urandom(MIB), calls="c")
            written += MIB
            most = max(most, store.stats().wal_bytes)
        out, _ = reader.communicate(timeout=30)
        assert json.loads(out.splitlines()[-1])["reads"] > 10
    assert most <= 64 * MIB


@contextmanager
def killed(process: subprocess.Popen[str], after: float) -> Iterator[list[list[Any]]]:
    """What it had said when it was killed so many seconds after its first word."""
    assert process.stdout
    first = process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    process.wait(20)
    process.stdout.close()
    yield [json.loads(line) for line in (first + rest).splitlines() if line.endswith("]")]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["payload", "draft", "delete", "items"])
def test_s23_a_writer_is_killed_at_many_moments(path: Path, what: str) -> None:
    """S23, B2, B4: 12 kills -9 while payloads, drafts, deletions, small items and branches are written: what was
    said to be stored is there whole, what is there is whole, orphans go with the next sweep, the file is sound."""
    chance = random.Random(what)
    for _ in range(12):
        with (
            killed(start("endless", path, what), chance.uniform(0.0, 0.25)) as said,
            sessions.open(path, upkeep=False) as store,
        ):
            for name, pos, size in said:
                body, found = store.session(name).open(pos), 0
                while part := body.read(MIB):
                    found += len(part)
                assert found == size
            name = said[-1][0]
            assert len(said) <= store.session(name).info().items <= len(said) + 1
            store.clean()
            assert store.stats().orphans == 0
            with store.connections.reader("test") as connection:
                assert connection.execute("PRAGMA quick_check").fetchone()[0] == "ok"
                counted = connection.execute(
                    "SELECT COUNT(*) FROM session s WHERE s.items <> "
                    "(SELECT COUNT(*) FROM item i WHERE i.session = s.id)"
                ).fetchone()[0]
                shared = connection.execute(
                    "SELECT COUNT(*) FROM payload p WHERE p.refs <> "
                    "(SELECT COUNT(*) FROM item i WHERE i.payload = p.id)"
                ).fetchone()[0]
            assert (counted, shared) == (0, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.root("mounts a file system")
def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    """ENOSPC in the middle of payloads: DiskFull, what was stored is readable, and deleting makes room again."""
    found = run("fill", small_disk / "agent.db")
    assert found["kept"] >= 5
    assert "bytes are free" in found["refused"]
    assert "no room" in found["full"]
    assert found["last"] == f"{found['small'] - 1} " * 1000
    assert found["first"].startswith("some words")
    assert found["again"] == 1
