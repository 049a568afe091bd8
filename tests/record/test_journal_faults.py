"""The journal on disks that refuse: full, read-only, away and back again. Real file systems."""

from __future__ import annotations

import errno
import os
from calendar import timegm
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from midwatch.record import journal as journal_module
from midwatch.record.journal import Journal, read, recover

NOON = float(timegm((2026, 11, 21, 12, 0, 0)))


class Clock:
    """Stands for the monotonic clock, so that no test waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("midwatch.record.journal.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_read_only_disk_does_not_disturb(
    desk: Any, clock: Clock, mount: Callable[[str], Path], remount: Callable[[Path, str], None]
) -> None:
    """H4: state folder read-only from the start: one message, nothing raised; writable again: nothing is missing."""
    disk = mount("size=1m,ro")
    journal = desk.journal(disk / "j")
    for number in range(50):
        clock.now += 0.5
        journal.write("n.n", NOON, fields={"number": number})
    assert len(desk.troubles) == 1
    assert str(disk) in desk.troubles[0]
    assert journal.pending == 50
    remount(disk, "rw")
    clock.now += 60
    journal.retry()
    assert journal.pending == 0
    gap, *lines = read(disk / "j")
    assert (gap["event"], gap["lines"], gap["kept"]) == ("journal.gap", 0, 50)
    assert [line["number"] for line in lines] == list(range(50))
    journal.close()


def test_a_disk_that_becomes_read_only(
    desk: Any, clock: Clock, mount: Callable[[str], Path], remount: Callable[[Path, str], None]
) -> None:
    """H4: an error remount in the middle: each episode is said once, and its gap stands where it was."""
    disk = mount("size=1m")
    journal = desk.journal(disk, file_bytes=600)
    for episode in range(3):
        journal.write("be.fore", NOON)
        journal.close()
        remount(disk, "ro")
        journal.write("while", NOON)
        clock.now += 30
        journal.write("while", NOON)
        remount(disk, "rw")
        clock.now += 30
        journal.write("after", NOON)
        assert len(desk.troubles) == episode + 1
    events = [line["event"] for line in read(disk)]
    assert events == ["be.fore", "journal.gap", "while", "while", "after"] * 3
    journal.close()


def test_a_full_disk_leaves_whole_lines_only(desk: Any, clock: Clock, mount: Callable[[str], Path]) -> None:
    """Full disk: no piece of a line stays behind, the ring is bounded, one message; with room again a gap event says
    how many lines were lost, and a new snapshot stands for the inputs among them."""
    disk = mount("size=64k")
    journal = desk.journal(disk / "j")
    total = 3000
    for number in range(total):
        desk.state = {"last": number}
        journal.write(
            "n.n", NOON, fields={"number": number, "text": "x" * 100}, input={"n": number}, awake=1.0
        )
    assert len(desk.troubles) == 1
    assert "No space left" in desk.troubles[0]
    assert journal.pending == journal_module.RING_LINES
    for path in (disk / "j").iterdir():
        assert path.read_bytes().endswith(b"\n")
    disk_lines = [line["number"] for line in read(disk / "j")]
    assert disk_lines == list(range(len(disk_lines)))
    os.system(f"mount -o remount,size=4m {disk}")
    clock.now += 60
    journal.write("after.it", NOON)
    lines = list(read(disk / "j"))
    (gap,) = [line for line in lines if line["event"] == "journal.gap"]
    numbers = [line["number"] for line in lines if line["event"] == "n.n"]
    assert gap["lines"] > 0
    assert len(numbers) + gap["lines"] == total
    assert numbers[-1] == total - 1
    assert lines[-1]["event"] == "after.it"
    snapshot, inputs = recover(disk / "j")
    assert snapshot == {"last": total - 1}
    assert list(inputs) == []
    journal.close()


def test_a_full_disk_that_frees_in_drips(desk: Any, clock: Clock, mount: Callable[[str], Path]) -> None:
    """Room for a few lines only, again and again: order is kept and no line is written twice."""
    disk = mount("size=32k")
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * 24_000)
    journal = desk.journal(disk / "j")
    for number in range(200):
        journal.write("n.n", NOON, fields={"number": number, "text": "x" * 100})
    assert journal.pending
    os.truncate(ballast, 16_000)
    clock.now += 60
    journal.retry()
    assert journal.pending
    ballast.unlink()
    os.system(f"mount -o remount,size=1m {disk}")
    clock.now += 60
    journal.retry()
    assert journal.pending == 0
    numbers = [line["number"] for line in read(disk / "j") if line["event"] == "n.n"]
    assert numbers == list(range(200))
    assert len(desk.troubles) == 1
    journal.close()


def test_retries_are_paced(tmp_path: Path, desk: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk refuses, a storm of events does not become a storm of system calls: 1, 2, 4 ... 15 s apart."""
    tries = []

    def refuse(*_: Any) -> int:
        tries.append(clock.now)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("midwatch.record.journalfile.open_append", refuse)
    journal = desk.journal(tmp_path)
    for _ in range(6000):
        journal.write("n.n", NOON)
        clock.now += 0.01
    assert [round(at - 1000) for at in tries] == [0, 1, 3, 7, 15, 30, 45]


def test_a_write_that_takes_only_a_piece_is_taken_back(
    tmp_path: Path, desk: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partial write (the disk filled up inside a line) leaves the file as it was."""
    journal = desk.journal(tmp_path)
    journal.write("one.kept", NOON)
    real = os.write
    monkeypatch.setattr(
        "midwatch.record.journalfile.os.write", lambda fd, data: real(fd, data[: len(data) // 2])
    )
    journal.write("two.late", NOON)
    assert [line["event"] for line in read(tmp_path)] == ["one.kept"]
    assert (tmp_path / "2026-W47.jsonl").read_bytes().endswith(b"\n")
    monkeypatch.setattr("midwatch.record.journalfile.os.write", real)
    clock.now += 5
    journal.retry()
    assert [line["event"] for line in read(tmp_path)] == ["one.kept", "journal.gap", "two.late"]


def test_a_piece_that_cannot_be_taken_back_stands_on_its_own_line(
    tmp_path: Path, desk: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When even truncating fails, the next line begins on a fresh line."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    journal = desk.journal(tmp_path)
    journal.write("one.kept", NOON)
    real = os.write
    with monkeypatch.context() as broken:
        broken.setattr(
            "midwatch.record.journalfile.os.write", lambda fd, data: real(fd, data[: len(data) // 2])
        )
        broken.setattr("midwatch.record.journalfile.os.ftruncate", refuse)
        journal.write("two.late", NOON)
    clock.now += 5
    journal.write("three", NOON)
    assert [line["event"] for line in read(tmp_path)] == ["one.kept", "journal.gap", "two.late", "three"]


def test_the_ring_is_bounded_by_bytes_too(tmp_path: Path, desk: Any, clock: Clock) -> None:
    """Long lines: at most 1 MiB waits in memory."""
    (tmp_path / "j").write_text("a file where the folder should be")
    journal = desk.journal(tmp_path / "j")
    for _ in range(200):
        journal.write("n.n", NOON, fields={"text": "x" * 60_000})
    assert 10 < journal.pending < 30
    assert len(desk.troubles) == 1
    journal.close()


def test_closing_tries_once_more(tmp_path: Path, desk: Any, clock: Clock) -> None:
    """What waits when the engine ends gets a last chance, without waiting for the pace."""
    (tmp_path / "j").write_text("in the way")
    journal = desk.journal(tmp_path / "j")
    journal.write("a.b", NOON)
    (tmp_path / "j").unlink()
    journal.close()
    assert [line["event"] for line in read(tmp_path / "j")] == ["journal.gap", "a.b"]


@pytest.mark.unprivileged("root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path, desk: Any) -> None:
    """H4: state folder not ours to write: one message, supervision unaffected."""
    tmp_path.chmod(0o500)
    try:
        journal: Journal = desk.journal(tmp_path / "j")
        journal.write("a.b", NOON)
        journal.write("a.b", NOON)
        assert len(desk.troubles) == 1
        assert "Permission denied" in desk.troubles[0]
    finally:
        tmp_path.chmod(0o700)


def test_an_old_file_that_cannot_be_removed_is_said(
    tmp_path: Path, desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention that fails does not stop the line, and is said."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("midwatch.record.retention.os.unlink", refuse)
    journal = desk.journal(tmp_path, file_bytes=500, max_bytes=600)
    for _ in range(20):
        journal.write("n.n", NOON)
    assert desk.troubles
    assert len(list(read(tmp_path))) == 20
