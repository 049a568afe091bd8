"""The write-ahead logs of a service's databases: by stat alone, said once, never opened (WAL-1 to WAL-6)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.conftest import Stagehand, a_spec

from midwatch.engine.guard.wal import Sizes, judge
from midwatch.model.finding import FdSnapshot

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
    ],
)
def test_how_large_is_too_large(wal: int, db: int, free: int | None, level: str) -> None:
    """WAL-2: by size, by share of the database, by what is free on the disk."""
    assert judge(Sizes("/x.db", db, wal, free), [])[0] == level


def test_growing_ten_looks_in_a_row_is_a_starved_checkpoint() -> None:
    """WAL-3: large and growing is another thing than large."""
    sizes = [(17 + number) * MIB for number in range(10)]
    level, words = judge(Sizes("/x.db", 10 * GIB, 27 * MIB, None), sizes)
    assert level == "warn"
    assert "grown 10 looks in a row" in words
    assert judge(Sizes("/x.db", 10 * GIB, 26 * MIB, None), sizes)[0] == ""


def test_it_is_said_once_with_its_handles_and_once_more_when_it_is_over(bare: Stagehand, tmp_path: Path) -> None:
    """WAL-1, WAL-6: size and handles are two facts in one line; the end is said, too."""
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
    with log.open("wb") as file:
        file.truncate(MIB)
    bare.pass_time(130)
    (over,) = bare.events("wal.ok")
    assert over["wal_bytes"] == MIB
    assert bare.phase() == "up"
