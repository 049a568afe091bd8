"""Log files: exact bytes in order, also rotated and zipped; tails, times, gaps, bounds."""

from __future__ import annotations

import gzip
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.model.service import Logs
from midwatch.record import compress_helper, logs

T0 = 1.79e9


def put(
    folder: Path,
    run: str,
    n: int,
    data: bytes,
    stream: str = "out",
    index: list[tuple[int, float]] | None = None,
) -> Path:
    path = folder / f"{run}.{stream}.{n}.log"
    path.write_bytes(data)
    if index is not None:
        path.with_name(path.name + ".idx").write_bytes(
            b"".join(struct.pack("<Qd", *entry) for entry in index)
        )
    return path


def everything(folder: Path, **which: str) -> bytes:
    return b"".join(logs.stream(folder, **which))


def test_bytes_come_in_order_across_runs_files_and_gzip(tmp_path: Path) -> None:
    """Run 2 comes before run 10, file 2 before file 10, zipped or not; every byte once."""
    by_run = {2: b"", 10: b""}
    for run_no in by_run:
        for n in (0, 1, 2, 10):
            data = os.urandom(3000) + b"\n" + f"{run_no} {n}".encode()
            path = put(tmp_path, f"p.s.{run_no}", n, data)
            by_run[run_no] += data
            if n in (0, 2):
                logs.compress(path)
    put(tmp_path, "p.s.2", 0, b"stderr", "err")
    assert everything(tmp_path) == by_run[2] + by_run[10]
    assert everything(tmp_path, stream="err") == b"stderr"
    assert everything(tmp_path, run="p.s.10") == by_run[10]
    assert logs.runs(tmp_path) == ["p.s.2", "p.s.10"]
    assert logs.previous_run(tmp_path) == "p.s.2"
    assert logs.streams(tmp_path) == ["out", "err"]


def test_an_empty_or_missing_folder(tmp_path: Path) -> None:
    """Nothing printed yet is nothing, not an error."""
    for folder in (tmp_path, tmp_path / "absent"):
        assert logs.files(folder) == []
        assert everything(folder) == b""
        assert logs.tail(folder, 10) == b""
        assert logs.previous_run(folder) is None
        assert list(logs.with_times(folder)) == []
        assert logs.prune(folder, Logs(1, 1, False), set()) == []


@pytest.mark.parametrize(
    "name",
    ["x.log", "a.b.log", "p.s.1.out.log", "p.s.1.out.x.log", "p.s.y.out.0.log", "p.s.1.out.0.log.idx",
     "p.s.1.out.0.log.gz.tmp", "p.s.1..0.log", "p.s.1.out.-1.log", "p.s.1.out.0.txt", "p.s.１.out.0.log"],
)  # fmt: skip
def test_other_names_are_not_log_files(tmp_path: Path, name: str) -> None:
    """Strangers in the folder are neither shown nor removed."""
    (tmp_path / name).write_text("x" * 1000)
    assert logs.files(tmp_path) == []
    logs.prune(tmp_path, Logs(1, 1, False), set())
    assert (tmp_path / name).exists()


def test_links_and_folders_are_not_log_files(tmp_path: Path) -> None:
    """A symbolic link with a log's name shows nothing of its target."""
    (tmp_path / "p.s.1.out.0.log").symlink_to("/etc/passwd")
    (tmp_path / "p.s.1.out.1.log").mkdir()
    assert everything(tmp_path) == b""


pieces = st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"x", b"\n")), min_size=1, max_size=6)


@given(pieces, st.integers(0, 12), st.sets(st.integers(0, 5)))
def test_the_tail_is_the_tail(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], lines: int, zipped: set[int]
) -> None:
    """For any cut of any text into files, zipped or not: exactly the last lines of the whole."""
    folder = tmp_path_factory.mktemp("logs")
    for n, data in enumerate(contents):
        path = put(folder, "p.s.1", n, data)
        if n in zipped:
            logs.compress(path)
    whole = b"".join(contents)
    expected = b"".join(whole.splitlines(keepends=True)[-lines:]) if b"\r" not in whole else None
    if expected is None:
        parts = whole.split(b"\n")
        split = [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
        expected = b"".join(split[-lines:])
    if lines == 0:
        expected = b""
    assert logs.tail(folder, lines) == expected


def test_the_tail_of_a_large_file_reads_its_end_only(tmp_path: Path) -> None:
    """Lines across block borders, and the bound on bytes."""
    text = b"".join(b"%07d %s\n" % (n, b"y" * (n % 300)) for n in range(20_000))
    path = put(tmp_path, "p.s.1", 0, text)
    lines = text.splitlines(keepends=True)
    for count in (1, 2, 500, 5000, 19_999, 20_000, 30_000):
        assert logs.tail(tmp_path, count) == b"".join(lines[-count:])
    assert logs.tail(tmp_path, 20_000, most=1000) == text[-1000:]
    assert logs.tail(tmp_path, 5, "p.s.1", until=(str(path), len(b"".join(lines[:100])))) == b"".join(
        lines[95:100]
    )
    logs.compress(path)
    assert logs.tail(tmp_path, 500) == b"".join(lines[-500:])
    assert logs.tail(tmp_path, 20_000, most=1000) == text[-1000:]


def test_times_come_from_the_index(tmp_path: Path) -> None:
    """`-t`: a line has the time of the second in which its first byte came; across a rotation it keeps it."""
    put(tmp_path, "p.s.1", 0, b"one\ntwo\nthr", index=[(0, T0), (4, T0 + 5)])
    put(tmp_path, "p.s.1", 1, b"ee\nfour\n", index=[(0, T0 + 9)])
    put(tmp_path, "p.s.2", 0, b"five\r\nsix\rstill six", index=[(6, T0 + 20)])
    assert list(logs.with_times(tmp_path)) == [
        (T0, b"one\n"),
        (T0 + 5, b"two\n"),
        (T0 + 5, b"three\n"),
        (T0 + 9, b"four\n"),
        (None, b"five\r\n"),
        (T0 + 20, b"six\rstill six"),
    ]


@pytest.mark.parametrize("damage", ["missing", "torn", "garbage", "backwards", "nan"])
def test_a_damaged_index_costs_times_only(tmp_path: Path, damage: str) -> None:
    """Whatever the index holds, every byte comes out."""
    index = [(0, T0), (4, T0 + 1)]
    path = put(tmp_path, "p.s.1", 0, b"one\ntwo\n", index=index)
    side = path.with_name(path.name + ".idx")
    if damage == "missing":
        side.unlink()
    elif damage == "torn":
        side.write_bytes(side.read_bytes()[:-3])
    elif damage == "garbage":
        side.write_bytes(os.urandom(333))
    elif damage == "backwards":
        side.write_bytes(struct.pack("<QdQd", 4, T0, 0, T0))
    else:
        side.write_bytes(struct.pack("<Qd", 0, float("nan")))
    found = list(logs.with_times(tmp_path))
    assert [line for _, line in found] == [b"one\n", b"two\n"]
    if damage == "torn":
        assert [when for when, _ in found] == [T0, T0]


def test_a_line_longer_than_memory_allows_comes_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that never ends its line does not grow us."""
    monkeypatch.setattr(logs, "LONGEST_LINE", 100_000)
    put(tmp_path, "p.s.1", 0, b"z" * 1_000_000)
    found = [line for _, line in logs.with_times(tmp_path)]
    assert b"".join(found) == b"z" * 1_000_000
    assert max(map(len, found)) < 200_000


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """Gaps by number: pruned beginnings and holes; the index of a removed file tells its least size."""
    put(tmp_path, "p.s.1", 2, b"c")
    put(tmp_path, "p.s.1", 5, b"f")
    put(tmp_path, "p.s.2", 0, b"a")
    put(tmp_path, "p.s.1", 3, b"", index=[(0, T0), (700, T0 + 1)]).unlink()
    first, second = logs.gaps(tmp_path)
    assert (first.first, first.last, first.at_least) == (0, 1, None)
    assert (second.first, second.last, second.at_least) == (3, 4, 700)
    assert "unknown" in str(first)
    assert "at least 700 bytes" in str(second)
    assert everything(tmp_path) == b"cfa"


def test_a_torn_gzip_gives_what_it_has(tmp_path: Path) -> None:
    """A zipped file cut short or overwritten never raises."""
    data = b"".join(b"line %d\n" % n for n in range(50_000))
    path = tmp_path / "p.s.1.out.0.log.gz"
    packed = gzip.compress(data)
    for damaged in (packed[: len(packed) // 2], b"", b"garbage", packed[:200] + b"\0" * 200 + packed[400:]):
        path.write_bytes(damaged)
        found = everything(tmp_path)
        assert data.startswith(found[:100])
    path.write_bytes(packed[: len(packed) // 2])
    assert len(everything(tmp_path)) > 1000


def test_compressing_keeps_bytes_times_and_privacy(tmp_path: Path) -> None:
    """x.log -> x.log.gz, 0600, mtime kept, nothing else left; doing it again over a leftover is fine."""
    path = put(tmp_path, "p.s.1", 0, b"hello\n" * 1000, index=[(0, T0)])
    os.utime(path, (T0, T0))
    (tmp_path / "p.s.1.out.0.log.gz.tmp").write_text("leftover of a killed helper")
    done = Path(logs.compress(path))
    assert done.name == "p.s.1.out.0.log.gz"
    assert done.stat().st_mtime == T0
    assert stat.S_IMODE(done.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.s.1.out.0.log.gz", "p.s.1.out.0.log.idx"]
    assert next(iter(logs.with_times(tmp_path))) == (T0, b"hello\n")


def test_killed_between_the_copies_shows_each_byte_once(tmp_path: Path) -> None:
    """Both x.log and x.log.gz are there: one of them counts; compressing again settles it."""
    path = put(tmp_path, "p.s.1", 0, b"hello\n")
    (tmp_path / "p.s.1.out.0.log.gz").write_bytes(gzip.compress(b"hello\n"))
    assert everything(tmp_path) == b"hello\n"
    logs.compress(path)
    assert everything(tmp_path) == b"hello\n"
    assert not path.exists()


def test_a_growing_file_is_not_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is still written to stays as it is."""
    path = put(tmp_path, "p.s.1", 0, b"hello\n")
    real = os.fsync

    def grow(fd: int) -> None:
        with path.open("ab") as file:
            file.write(b"more\n")
        real(fd)

    monkeypatch.setattr("midwatch.record.compress_helper.os.fsync", grow)
    with pytest.raises(OSError, match="still being written"):
        logs.compress(path)
    assert path.read_bytes() == b"hello\nmore\n"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_helper_is_a_program_of_the_standard_library(tmp_path: Path) -> None:
    """`python -I -S compress_helper.py PATH` works without us and says in words what it could not do."""
    path = put(tmp_path, "p.s.1", 0, b"hello\n")
    command = [sys.executable, "-I", "-S", compress_helper.__file__]
    assert subprocess.run([*command, str(path)], check=False).returncode == 0
    assert everything(tmp_path) == b"hello\n"
    again = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "No such file" in again.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


def test_pruning_keeps_the_newest_within_the_cap(tmp_path: Path) -> None:
    """Total cap file_bytes x files over everything, oldest first, with their indexes; what is written to stays."""
    for run_no in range(1, 6):
        for n in range(3):
            put(tmp_path, f"p.s.{run_no}", n, b"x" * 1000, index=[(0, T0)] * 5)
    keep = tmp_path / "p.s.1.out.2.log"
    removed = logs.prune(tmp_path, Logs(file_bytes=1080, files=5, compress=True), {keep})
    left = {path.name for path in tmp_path.iterdir() if path.name.endswith(".log")}
    assert left == {
        "p.s.1.out.2.log",
        "p.s.4.out.2.log",
        "p.s.5.out.0.log",
        "p.s.5.out.1.log",
        "p.s.5.out.2.log",
    }
    assert {path.name for path in tmp_path.iterdir() if path.name.endswith(".idx")} == {
        f"{name}.idx" for name in left
    }
    assert sum(size for _, size in removed) == 10_000
    assert logs.prune(tmp_path, Logs(file_bytes=1080, files=5, compress=True), {str(keep)}) == []


def test_a_crash_loop_cannot_fill_the_folder(tmp_path: Path) -> None:
    """At most 200 files a service, however small they are."""
    for run_no in range(400):
        put(tmp_path, f"p.s.{run_no}", 0, b"")
    logs.prune(tmp_path, Logs(file_bytes=1 << 20, files=5, compress=False), set())
    assert len(list(tmp_path.iterdir())) == logs.MOST_FILES
    assert logs.runs(tmp_path)[0] == "p.s.200"


def test_leftovers_are_swept_after_a_day(tmp_path: Path) -> None:
    """Half-made archives and indexes without a file go once they are old; young ones may be in use."""
    for name, age in (
        ("p.s.1.out.0.log.gz.tmp", T0),
        ("p.s.1.out.1.log.idx", T0),
        ("p.s.1.out.2.log.idx", None),
    ):
        (tmp_path / name).touch()
        if age is not None:
            os.utime(tmp_path / name, (age - 1e8, age - 1e8))
    logs.prune(tmp_path, Logs(1000, 1, False), set())
    assert [path.name for path in tmp_path.iterdir()] == ["p.s.1.out.2.log.idx"]
