"""The fsync thread: lazy, coalescing, bounded, never in the way."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from midwatch.record import flush
from midwatch.record.flush import Flusher


class Disk:
    """Stands for os.fsync; `hold` makes it hang as a dying disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.go = threading.Event()
        self.go.set()
        self.busy = threading.Event()
        monkeypatch.setattr("midwatch.record.flush.os.fsync", self._fsync)

    def _fsync(self, fd: int) -> None:
        self.count += 1
        self.busy.set()
        assert self.go.wait(30)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_no_thread_without_a_request(tmp_path: Path, disk: Disk) -> None:
    """The thread starts with the first request and ends with close."""
    before = threading.active_count()
    flusher = Flusher()
    assert threading.active_count() == before
    (tmp_path / "a").touch()
    flusher.ask(tmp_path / "a")
    assert flusher.drain()
    assert disk.count == 1
    flusher.close()
    assert threading.active_count() == before
    flusher.ask(tmp_path / "a")
    assert disk.count == 1


def test_requests_coalesce_and_never_block(tmp_path: Path, disk: Disk) -> None:
    """While one fsync hangs, 1,000 requests for two files become two; asking returns at once."""
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    flusher = Flusher()
    disk.go.clear()
    flusher.ask(tmp_path / "a")
    assert disk.busy.wait(30)
    for _ in range(500):
        flusher.ask(tmp_path / "b")
        flusher.ask(tmp_path / "c", folder=True)
    assert not flusher.drain(timeout=0.01)
    disk.go.set()
    assert flusher.drain(30)
    assert disk.count == 1 + 2 + 1
    flusher.close()


def test_the_queue_is_bounded(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs for ever costs a bounded number of paths; what is too much is counted."""
    monkeypatch.setattr(flush, "MOST_WAITING", 10)
    (tmp_path / "a").touch()
    flusher = Flusher()
    disk.go.clear()
    flusher.ask(tmp_path / "a")
    assert disk.busy.wait(30)
    for number in range(50):
        flusher.ask(tmp_path / f"x{number}")
    assert flusher.dropped == 40
    disk.go.set()
    flusher.close(30)


def test_closing_does_not_wait_for_ever(tmp_path: Path, disk: Disk) -> None:
    """A hanging disk does not keep the engine from ending."""
    (tmp_path / "a").touch()
    flusher = Flusher()
    disk.go.clear()
    flusher.ask(tmp_path / "a")
    assert disk.busy.wait(30)
    flusher.close(timeout=0.01)
    disk.go.set()


def test_a_file_that_is_gone_or_refuses_is_counted_at_most(tmp_path: Path) -> None:
    """A missing file is nothing; a link is not followed and counted."""
    (tmp_path / "link").symlink_to("/etc/passwd")
    flusher = Flusher()
    flusher.ask(tmp_path / "gone")
    flusher.ask(tmp_path / "link")
    assert flusher.drain(30)
    assert flusher.failed == 1
    flusher.close()


def test_no_thread_to_be_had_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EAGAIN by a pids limit: nothing is raised, nothing asked for is forgotten, the next request starts the thread."""
    real = threading.Thread.start

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        path.write_text("x")
    flusher = Flusher()
    monkeypatch.setattr(threading.Thread, "start", refused)
    flusher.ask(first)
    monkeypatch.setattr(threading.Thread, "start", real)
    flusher.ask(second)
    assert flusher.drain()
    flusher.close()
    assert (flusher.failed, flusher.dropped) == (0, 0)
