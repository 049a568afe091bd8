"""The write-ahead logs of a service's databases: by stat alone, said once, never opened (WAL-1 to WAL-6)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.conftest import Stagehand, a_spec

from midwatch.model.finding import FdSnapshot
from midwatch.policy.leaks.wal import Probe, Sizes, advice, judge, read_probe

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("wal", "db", "free", "level"),
    [
        (4 * MIB, MIB, GIB, ""),  # SQLite's own auto-checkpoint size, however small the database
        (20 * MIB, 2 * GIB, 10 * GIB, ""),
        (64 * MIB, 10 * GIB, 100 * GIB, "warn"),
        (20 * MIB, 40 * MIB, 100 * GIB, "warn"),
        (300 * MIB, 500 * MIB, 100 * GIB, "act"),
        (GIB, 100 * GIB, 100 * GIB, "act"),
        (50 * MIB, 10 * GIB, 400 * MIB, "act"),
        (5 * MIB, 10 * GIB, None, ""),
        (70 * MIB, GIB, 100 * GIB, "warn"),  # scenario 39: static
        (600 * MIB, GIB, 100 * GIB, "act"),  # scenario 39: over half of it
    ],
)
def test_how_large_is_too_large(wal: int, db: int, free: int | None, level: str) -> None:
    """WAL-2, scenario 39: by size, by share of the database, by what is free on the disk."""
    said, words = judge(Sizes("/x.db", db, wal, free), [])
    assert said == level
    assert ("not truncated" in words) is (level == "warn")


def test_growing_ten_looks_in_a_row_is_a_starved_checkpoint() -> None:
    """WAL-3: large and growing is another thing than large."""
    sizes = [(17 + number) * MIB for number in range(10)]
    level, words = judge(Sizes("/x.db", 10 * GIB, 27 * MIB, None), sizes)
    assert level == "warn"
    assert "grown 10 looks in a row" in words
    assert "keeps it from being folded in" in judge(Sizes("/x.db", 10 * GIB, 70 * MIB, None), [], pinned=True)[1]
    assert judge(Sizes("/x.db", 10 * GIB, 26 * MIB, None), sizes)[0] == ""


def test_it_is_said_once_with_its_handles_and_once_more_when_it_is_over(bare: Stagehand, tmp_path: Path) -> None:
    """WAL-1, WAL-3, WAL-6: size, handles and holders are facts of their own in one line; the end is said, too."""
    db, log = tmp_path / "state.db", tmp_path / "state.db-wal"
    db.write_bytes(b"x")
    with log.open("wb") as file:
        file.truncate(100 * MIB)
    bare.apply(a_spec(launch={}, sqlite=(str(db), "missing.db")))
    bare.machine.procs[bare.pid()].table = FdSnapshot(0.0, ((str(log), "sqlite-wal", 46),))
    bare.do(bare.engine.guards.start)
    bare.pass_time(300)
    (line,) = bare.events("wal.warn")
    assert line["wal_bytes"] == 100 * MIB
    assert line["handles"] == 46
    (holder,) = line["holders"]
    assert (holder["pid"], holder["age_s"]) == (bare.pid(), 3600)
    assert f"open in pid {bare.pid()} (/bin/a) for 1 h" in line["words"]
    assert any("journal_size_limit" in step for step in line["do"])
    (shown,) = bare.engine.guards.wal.report("p/a")
    assert (shown["level"], shown["wal_bytes"], shown["probe"]) == ("warn", 100 * MIB, None)
    with log.open("wb") as file:
        file.truncate(MIB)
    bare.pass_time(130)
    (over,) = bare.events("wal.ok")
    assert over["wal_bytes"] == MIB
    assert bare.phase() == "up"


def test_another_machines_file_system_is_a_failure_whatever_its_size(bare: Stagehand, tmp_path: Path) -> None:
    """WAL-5: a log on NFS, 9p or virtiofs: shared memory does not reach the other machine."""
    (tmp_path / "a.db").write_bytes(b"x")
    (tmp_path / "a.db-wal").write_bytes(b"")
    bare.machine.remotes[str(tmp_path)] = "virtiofs"
    bare.apply(a_spec(sqlite=(str(tmp_path / "a.db"),)))
    bare.do(bare.engine.guards.start)
    bare.pass_time(100)
    (line,) = bare.events("wal.warn")
    assert line["level"] == "act"
    assert "virtiofs" in line["words"]
    assert "on a disk of the machine" in line["do"][0]


def test_no_advice_ever_leaves_wal_mode() -> None:
    """WAL-5: close, read briefly, limit the journal's size; never another journal mode, never a truncation by hand."""
    every = [
        *advice(Sizes("/a.db", GIB, GIB, None), "act", False),
        *advice(Sizes("/a.db", GIB, 70 * MIB, None), "warn", False),
        *advice(Sizes("/a.db", GIB, 70 * MIB, None), "warn", True),
        *advice(Sizes("/a.db", GIB, 0, None, "nfs4"), "act", False),
    ]
    text = " ".join(every)
    assert "closing(" in text
    assert "keep reads short" in text
    assert "journal_size_limit" in text
    for word in ("journal_mode", "DELETE", "TRUNCATE", "leave WAL"):
        assert word not in text
    assert advice(Sizes("/a.db", GIB, 0, None), "", True) == []


@pytest.mark.parametrize(
    ("code", "output", "starved", "words"),
    [
        (0, b"0 9376 0\n", True, "0 of 9376 frames"),  # WAL-4, scenario 40: busy 0 does not mean that it worked
        (0, b"1 12 5\n", True, "5 of 12 frames"),
        (0, b"0 9376 9376\n", False, "all 9376 frames"),
        (0, b"0 -1 -1\n", False, "all 0 frames"),
        (3, b"it is not in WAL mode\n", False, "it is not in WAL mode"),
        (None, b"", False, "no answer in time"),
        (1, b"", False, "exit code 1"),
        (0, b"garbage", False, "garbage"),
    ],
)
def test_the_verdict_is_done_against_log(code: int | None, output: bytes, starved: bool, words: str) -> None:
    """WAL-4, scenario 40: from done < log, never from busy; an answer that cannot be read is no verdict."""
    probe = read_probe(code, output)
    assert probe.starved is starved
    assert words in probe.words
    assert bool(probe.error) is (code != 0 or b"garbage" in output)
    assert Probe() == read_probe(0, b"0 0 0")
