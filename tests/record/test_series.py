"""The rings of samples on disk: fixed size, on disk at once, torn tails skipped (S53, bounded.md D3)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from midwatch.record import series
from midwatch.record.series import Row, Series, path_of, read

MIB = 1 << 20


def a_store(tmp_path: Path, said: list[str] | None = None) -> Series:
    return Series(tmp_path / "series", (said if said is not None else []).append)


def test_a_sample_is_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    """S53: the last samples on disk are as old as the last look, whoever is killed now."""
    store = a_store(tmp_path)
    row = Row(1000.0, 50 * MIB, "upper-bound", 7, 40 * MIB, 0, 1, 2, 300, 12, 1024, 3, 9)
    store.add("p/a", row)
    assert read(store.folder, "p/a")[0] == [row], "read by another open file, without a close"


def test_absent_stays_absent(tmp_path: Path) -> None:
    """Absent is never 0."""
    store = a_store(tmp_path)
    store.add("p/a", Row(1.0, None, "absent", 1))
    (row,) = read(store.folder, "p/a")[0]
    assert row.held is None
    assert row.fds is None
    assert row.cgroup is None
    assert series.shown(row) == {"at": 1.0, "quality": "absent", "run": 1}


def test_the_ring_keeps_the_newest_and_never_grows(tmp_path: Path) -> None:
    """D3: 600 fast samples and 24 h of half minutes in less than 200 KiB, for ever."""
    store = a_store(tmp_path)
    for number in range(20_000):
        store.add("p/a", Row(1000.0 + number * 10.0, number * MIB, run=1))
    fast, slow = read(store.folder, "p/a")
    assert [row.held for row in fast] == [n * MIB for n in range(20_000 - series.FAST, 20_000)]
    assert len(slow) == series.SLOW
    assert slow == sorted(slow, key=lambda span: span.at)
    assert (slow[-1].low, slow[-1].high, slow[-1].last) == (19_995 * MIB, 19_997 * MIB, 19_997 * MIB)
    assert os.stat(path_of(store.folder, "p/a")).st_size <= series.SIZE < 200 << 10


def test_a_successor_goes_on_where_the_last_writer_stopped(tmp_path: Path) -> None:
    """An engine's death loses no row and overwrites none (S53)."""
    for start in (0, 5):
        store = a_store(tmp_path)
        for number in range(start, start + 5):
            store.add("p/a", Row(float(number), number * MIB))
        store.close()
    assert [row.at for row in read(a_store(tmp_path).folder, "p/a")[0]] == [float(n) for n in range(10)]


@pytest.mark.parametrize("cut", [3, 40, 87])
def test_a_torn_row_is_skipped(tmp_path: Path, cut: int) -> None:
    """A power cut in the middle of a row costs that row, nothing else."""
    store = a_store(tmp_path)
    for number in range(3):
        store.add("p/a", Row(float(number), number * MIB))
    path = path_of(store.folder, "p/a")
    whole = path.read_bytes()
    os.truncate(path, len(whole) - cut)
    assert [row.at for row in read(store.folder, "p/a")[0]] == [0.0, 1.0]
    path.write_bytes(whole[:-cut] + os.urandom(cut))
    assert [row.at for row in read(store.folder, "p/a")[0]] == [0.0, 1.0]
    path.write_bytes(os.urandom(1000))
    assert read(store.folder, "p/a") == ([], [])


def test_what_stands_still_is_not_written_again(tmp_path: Path) -> None:
    """D3: flat stretches cost nothing; `seen` says until when the last row holds."""
    store = a_store(tmp_path)
    for number in range(14):
        store.add("p/a", Row(100.0 + 2 * number, 50 * MIB + number * 100, fds=5))
    assert len(read(store.folder, "p/a")[0]) == 1
    store.add("p/a", Row(128.0, 50 * MIB, fds=6))
    assert [row.fds for row in read(store.folder, "p/a")[0]] == [5, 6], "a descriptor more is news"
    store.add("p/a", Row(129.0, 51 * MIB, fds=6))
    store.add("p/a", Row(130.0, 51 * MIB, run=2, fds=6))
    assert len(read(store.folder, "p/a")[0]) == 4, "a megabyte is news, another run is"
    assert series.seen(store.folder) is None
    store.seen()
    assert series.seen(store.folder) is not None


def test_the_file_goes_with_its_service(tmp_path: Path) -> None:
    """Nothing is left of a service that was removed; no service, no file, no error."""
    store = a_store(tmp_path)
    store.add("p/a", Row(1.0, 1))
    store.forget("p/a")
    store.forget("p/b")
    assert read(store.folder, "p/a") == ([], [])
    assert not path_of(store.folder, "p/a").exists()
    store.add("p/a", Row(2.0, 2))
    assert len(read(store.folder, "p/a")[0]) == 1


def test_many_services_need_few_descriptors(tmp_path: Path) -> None:
    """500 services share 64 open files."""
    store = a_store(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for turn in range(2):
        for number in range(500):
            store.add(f"p/s{number}", Row(float(turn), turn * MIB))
    assert len(os.listdir("/proc/self/fd")) - before <= 64
    assert all(len(read(store.folder, f"p/s{n}")[0]) == 2 for n in range(0, 500, 50))
    store.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_disk_that_refuses_is_told_once_an_episode(tmp_path: Path) -> None:
    """The guard goes on without its record."""
    said: list[str] = []
    store = a_store(tmp_path, said)
    (tmp_path / "series").write_text("in the way")
    for _ in range(3):
        store.add("p/a", Row(1.0, 1))
        store.seen()
    assert len(said) == 1
    assert "series" in said[0]
    (tmp_path / "series").unlink()
    store.add("p/a", Row(1.0, 1))
    store.seen()
    assert len(read(store.folder, "p/a")[0]) == 1
