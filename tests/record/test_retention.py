"""Which journal files go: by weeks and by bytes, never the current one, never everything for a clock that jumped."""

from __future__ import annotations

from calendar import timegm
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from midwatch.record import retention
from midwatch.record.journal import read
from midwatch.record.retention import doomed
from midwatch.record.weeks import WEEK_SECONDS, Part

NOON = float(timegm((2026, 11, 21, 12, 0, 0)))


def test_files_older_than_so_many_weeks_go(tmp_path: Path, desk: Any) -> None:
    """H9: with 4 weeks kept, a year of weekly events leaves the present week and the 4 before it."""
    journal = desk.journal(tmp_path, weeks=4)
    for week in range(52):
        journal.write("n.n", NOON + week * WEEK_SECONDS, fields={"week": week})
    assert [line["week"] for line in read(tmp_path)] == [47, 48, 49, 50, 51]


def test_total_size_is_bounded(tmp_path: Path, desk: Any) -> None:
    """H9: 10,000 lines under a cap of 100 KB: the newest stay, the total never exceeds cap + one file."""
    journal = desk.journal(tmp_path, max_bytes=100_000, file_bytes=10_000)
    for number in range(10_000):
        journal.write("n.n", NOON, fields={"number": number})
        if number % 500 == 0:
            assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 111_000
    numbers = [line["number"] for line in read(tmp_path)]
    assert numbers == list(range(numbers[0], 10_000))
    assert len(numbers) > 500


def test_other_bounds_hold_from_the_next_file_on(tmp_path: Path, desk: Any) -> None:
    """H9: `up` with another journal_bytes tightens a journal that is being written."""
    journal = desk.journal(tmp_path, max_bytes=1 << 20, file_bytes=10_000)
    for number in range(2_000):
        journal.write("n.n", NOON, fields={"number": number})
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 50_000
    journal.bound(weeks=8, max_bytes=20_000)
    for number in range(500):
        journal.write("n.n", NOON, fields={"number": number})
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 31_000


def test_a_restart_applies_new_bounds(tmp_path: Path, desk: Any) -> None:
    """Smaller bounds after a restart hold from the first line on."""
    journal = desk.journal(tmp_path, file_bytes=5_000)
    for number in range(1000):
        journal.write("n.n", NOON, fields={"number": number})
    journal.close()
    desk.journal(tmp_path, max_bytes=12_000, file_bytes=5_000).write("n.n", NOON, fields={"number": 1000})
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 17_000


def test_a_clock_that_jumps_ahead_does_not_wipe_the_journal(tmp_path: Path, desk: Any) -> None:
    """An event of the year 2090 does not make a month of journal too old at once."""
    journal = desk.journal(tmp_path, weeks=4)
    for week in range(3):
        journal.write("n.n", NOON + week * WEEK_SECONDS)
    journal.write("far.away", timegm((2090, 1, 1, 0, 0, 0)))
    journal.write("n.n", NOON + 3 * WEEK_SECONDS)
    assert len(list(read(tmp_path))) == 5


def test_what_is_not_ours_stays(tmp_path: Path, desk: Any) -> None:
    """Files with other names in the folder are never removed."""
    (tmp_path / "notes.txt").write_text("x" * 100_000)
    (tmp_path / "2020-W01.jsonl.bak").write_text("x")
    journal = desk.journal(tmp_path, weeks=1, max_bytes=1000, file_bytes=500)
    for number in range(100):
        journal.write("n.n", NOON + number * 86400)
    assert {"notes.txt", "2020-W01.jsonl.bak"} <= {path.name for path in tmp_path.iterdir()}


parts = st.builds(Part, st.integers(2020, 2030), st.integers(1, 52), st.integers(1, 3))


@given(
    st.dictionaries(parts, st.integers(0, 1000), max_size=20),
    parts,
    st.integers(1, 100),
    st.integers(0, 5000),
)
def test_the_rules_of_retention(sizes: dict[Part, int], current: Part, weeks: int, cap: int) -> None:
    """Never the current file; afterwards within the bytes unless only the current one is left; oldest first."""
    sizes = {**sizes, current: 100}
    out = doomed(sizes, current, weeks, cap)
    assert current not in out
    assert out == sorted(out)
    left = [part for part in sizes if part not in out]
    assert left == [current] or sum(sizes[part] for part in left) <= cap
    kept = [part for part in left if part != current]
    assert not [p for p in out for k in kept if p > k and p.starts >= current.starts - weeks * WEEK_SECONDS]


def test_the_number_of_files_is_bounded() -> None:
    """A clock that flaps over a week border cannot fill the folder with tiny files."""
    sizes = {Part(2026, 47, number): 1 for number in range(1, 3000)}
    assert len(sizes) - len(doomed(sizes, Part(2026, 47, 2999), 8, 1 << 30)) == retention.MOST_FILES
