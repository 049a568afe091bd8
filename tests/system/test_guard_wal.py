"""Real SQLite databases under real services: a pinned reader, the active probe, a log that was deleted (WAL, FDW-8)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import Instance, quiet, wait_for
from tests.system.watching import PYTHON, call, events, seen

from midwatch.engine import wal_probe

MIB = 1 << 20
WRITER = """
import os, sqlite3, sys, time
link = sqlite3.connect("state.db", isolation_level=None)
link.execute("PRAGMA journal_mode = WAL")
link.execute("PRAGMA wal_autocheckpoint = 0")
link.execute("CREATE TABLE IF NOT EXISTS t (x BLOB)")
while not os.path.exists("go"):
    time.sleep(0.05)
for _ in range(int(sys.argv[1])):
    link.execute("INSERT INTO t VALUES (zeroblob(1048576))")
print("written", flush=True)
if len(sys.argv) > 2:
    os.unlink("state.db-wal")
    print("deleted", flush=True)
time.sleep(600)
"""
READER = """
import sqlite3, time
link = sqlite3.connect("state.db", isolation_level=None)
link.execute("BEGIN")
link.execute("SELECT count(*) FROM t").fetchall()
print("reading", flush=True)
time.sleep(600)
"""
TOML = """
[service.a]
command = [{python}, "writer.py", {words}]
sqlite = {sqlite}
"""


def logged(instance: Instance, word: str) -> None:
    logs = instance.home / "logs"
    wait_for(lambda: any(word in path.read_text() for path in logs.rglob("*.log")), f"it says {word!r}")


def begin(instance: Instance, words: str, sqlite: str) -> Path:
    (instance.folder / "writer.py").write_text(WRITER)
    instance.up(TOML.format(python=PYTHON, words=words, sqlite=sqlite), "--no-wait")
    database = instance.folder / "state.db"
    wait_for((instance.folder / "state.db-wal").exists, "it is in WAL mode")
    wait_for(lambda: _has_table(database), "its table is there")
    return database


def _has_table(path: Path) -> bool:
    with sqlite3.connect(path) as link:
        found = link.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    link.close()
    return bool(found)


def ask(path: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-I", "-S", str(wal_probe.__file__), str(path)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def reports(instance: Instance) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call(instance, "leaks", service="p/a").get("wal", [])
    return found


def test_scenario_39_and_40_a_pinned_reader_is_named_and_the_probe_changes_nothing(instance: Instance) -> None:
    """WAL-3 to WAL-6, scenarios 39 and 40: 70 MiB of log; its reader by pid and age; done < log although busy is 0."""
    database = begin(instance, '"70"', '{ files = ["state.db"], probe = true }')
    log = instance.folder / "state.db-wal"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", READER], cwd=instance.folder, stdout=subprocess.PIPE
    ) as reader:
        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"reading\n"
            (instance.folder / "go").touch()
            logged(instance, "written")
            size = log.stat().st_size
            assert size > 64 * MIB
            answer = ask(database)
            busy, frames, done = (int(word) for word in answer.stdout.split())
            assert busy == 0, "which does not mean success"
            assert done < frames
            assert log.stat().st_size == size, "scenario 40: the log's bytes are unchanged"
        finally:
            reader.kill()
    assert ask(database).returncode == 0
    assert log.stat().st_size == size, "nor does the last probe delete it when it leaves"
    quiet(instance)


def test_scenario_39_the_daemon_names_the_reader_and_what_sqlite_says(instance: Instance) -> None:
    """WAL-3, WAL-4: `wal.warn` and `leaks` with the reader's pid; `wal.probe` once, by a process that was not ours."""
    (instance.folder / "writer.py").write_text(WRITER)
    database = instance.folder / "state.db"
    with sqlite3.connect(database, isolation_level=None) as link:
        link.execute("PRAGMA journal_mode = WAL")
        link.execute("PRAGMA wal_autocheckpoint = 0")
        link.execute("CREATE TABLE t (x BLOB)")
        with subprocess.Popen(
            [sys.executable, "-S", "-c", READER], cwd=instance.folder, stdout=subprocess.PIPE
        ) as reader:
            try:
                assert reader.stdout is not None
                assert reader.stdout.readline() == b"reading\n"
                for _ in range(70):
                    link.execute("INSERT INTO t VALUES (zeroblob(1048576))")
                instance.up(TOML.format(python=PYTHON, words='"0"', sqlite='{ files = ["state.db"], probe = true }'))
                (warned,) = seen(instance, "wal.warn", "a")
                (asked,) = seen(instance, "wal.probe", "a")
                pids = [one["pid"] for one in warned["holders"]]
                assert {reader.pid, os.getpid()} <= set(pids)
                assert f"pid {reader.pid}" in warned["words"] or len(pids) > 3
                assert all("journal_mode" not in step for step in warned["do"])
                assert asked["done_frames"] < asked["log_frames"]
                assert asked["busy"] == 0
                wait_for(lambda: (reports(instance) or [{}])[0].get("probe"), "leaks has the answer")
                told = instance.cli("leaks", "a")
                assert told.returncode == 1
                assert "wal act" in told.stdout or "wal warn" in told.stdout
                assert "asked, SQLite says: " in told.stdout
                assert "state.db" not in _opened(instance), "WAL-1: the engine has no handle on it"
            finally:
                reader.kill()
    quiet(instance)


def _opened(instance: Instance) -> str:
    pid = instance.daemon()["pid"]
    folder = Path(f"/proc/{pid}/fd")
    return " ".join(os.readlink(path) for path in folder.iterdir() if path.is_symlink())


def test_scenario_41_a_writer_with_a_deleted_log_is_a_failure(instance: Instance) -> None:
    """FDW-8, S3, scenario 41: it writes to nowhere; said at level act, and nothing is done to it."""
    if sys.platform != "linux":
        pytest.skip("descriptors of others are only looked through on Linux")
    begin(instance, '"2", "delete"', '["state.db"]')
    (instance.folder / "go").touch()
    logged(instance, "deleted")
    signs = wait_for(lambda: call(instance, "leaks", service="p/a")["signs"], "its descriptors were looked through")
    (sign,) = [one for one in signs if one["rule"] == "S3"]
    assert sign["level"] == "act"
    assert "state.db" in sign["words"]
    assert "lost" in sign["words"]
    assert events(instance, "run.exited", "a") == []


def test_who_asks_for_a_probe_of_nothing_is_told(instance: Instance) -> None:
    """The configuration: sqlite.probe needs files; a probe of what is no WAL database is an answer, not a failure."""
    (instance.folder / "midwatch.toml").write_text("[service.a]\ncommand = ['true']\nsqlite = { probe = true }\n")
    done = instance.cli("check")
    assert done.returncode != 0
    assert "sqlite.probe" in done.stdout + done.stderr
    plain = instance.folder / "plain.db"
    with sqlite3.connect(plain) as link:
        link.execute("CREATE TABLE t (x)")
    link.close()
    answer = ask(plain)
    assert (answer.returncode, answer.stdout.strip()) == (3, "it is not in WAL mode")
