"""E12: the lock file is deleted or replaced while we hold it; what is done must never cost a service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from midwatch.record import lock as module
from midwatch.record.lock import Held, InstanceLock, LockWatch, identity, still_ours

INFO = {"pid": 7, "what": "up shop"}
OTHER = {"pid": 99, "what": "up other"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "lock"


@pytest.fixture
def held(path: Path) -> Iterator[InstanceLock]:
    """What the keeper does at its start and keeps for life."""
    lock = InstanceLock(path)
    lock.acquire(INFO)
    yield lock
    lock.release()


def watch(path: Path, held: InstanceLock) -> LockWatch:
    return LockWatch(path, identity(held.fileno()), INFO, misses=3)


def test_all_is_well(path: Path, held: InstanceLock) -> None:
    """Looking changes nothing, however often."""
    before = path.read_bytes()
    looks = watch(path, held)
    assert [looks.look() for _ in range(5)] == ["ours"] * 5
    assert path.read_bytes() == before
    assert still_ours(path, identity(held.fileno())) == "ours"


@pytest.mark.parametrize("whole", [False, True])
def test_a_deleted_file_is_made_and_locked_again(path: Path, held: InstanceLock, whole: bool) -> None:
    """A cleaner took the file, or the whole folder: no second daemon can start for longer than one look."""
    looks = watch(path, held)
    path.unlink()
    if whole:
        path.parent.rmdir()
    assert looks.look() == "retaken"
    assert looks.look() == "ours"
    with pytest.raises(Held) as refused:
        InstanceLock(path).acquire(OTHER)
    assert refused.value.info == INFO
    path.unlink()  # and again
    assert [looks.look(), looks.look()] == ["retaken", "ours"]
    looks.close()


def test_a_file_that_nobody_holds_is_taken(path: Path, held: InstanceLock) -> None:
    """Replaced by a copy (a restored backup): it is ours again, by another number."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.rename(path)
    looks = watch(path, held)
    assert looks.look() == "retaken"
    assert looks.look() == "ours"
    looks.close()


def test_another_daemon_holds_it(path: Path, held: InstanceLock) -> None:
    """A proven foreign lock is lost at once, stays lost, and is not touched."""
    path.unlink()
    other = InstanceLock(path)
    other.acquire(OTHER)
    before = path.read_bytes(), path.stat().st_mtime_ns
    looks = watch(path, held)
    assert [looks.look(), looks.look()] == ["lost", "lost"]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    other.release()
    assert looks.look() == "retaken"  # it has gone: nobody else is there
    looks.close()


def test_another_daemon_was_faster(path: Path, held: InstanceLock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleted at the look, taken by somebody before we could: lost, not a second holder."""
    other = InstanceLock(path)
    path.unlink()
    real = module.still_ours

    def slow(where: Path, mine: tuple[int, int]) -> module.Verdict:
        verdict = real(where, mine)
        other.acquire(OTHER)
        return verdict

    monkeypatch.setattr(module, "still_ours", slow)
    assert watch(path, held).look() == "lost"
    other.release()


def test_what_cannot_be_seen_is_said_once_and_costs_nothing(path: Path, held: InstanceLock) -> None:
    """E12: two failed looks and a good one start the count anew; three in a row are said, once, and we go on."""
    moved = path.with_name("moved")
    looks = watch(path, held)

    def hide() -> None:
        path.rename(moved)
        path.symlink_to(moved)  # is never followed

    def show() -> None:
        path.unlink()
        moved.rename(path)

    hide()
    assert still_ours(path, identity(held.fileno())) == "unsure"
    assert [looks.look(), looks.look()] == ["ours", "ours"]
    show()
    assert looks.look() == "ours"
    hide()
    assert [looks.look() for _ in range(5)] == ["ours", "ours", "unsure", "ours", "ours"]
    show()


def test_the_dead_engines_retaken_lock_is_taken_by_the_next(path: Path, held: InstanceLock) -> None:
    """The kernel gives a dead engine's lock back; its successor knows the keeper's file only and finds it gone."""
    first = watch(path, held)
    path.unlink()
    assert first.look() == "retaken"
    first.close()
    second = watch(path, held)
    assert [second.look(), second.look()] == ["retaken", "ours"]
    second.close()


def test_looking_is_cheap_in_descriptors(path: Path, held: InstanceLock) -> None:
    """A look once a minute for months leaves no descriptor behind."""
    looks = watch(path, held)
    path.unlink()
    looks.look()
    before = len(os.listdir("/dev/fd"))
    for _ in range(50):
        looks.look()
    for _ in range(5):
        path.unlink()
        looks.look()
    assert len(os.listdir("/dev/fd")) == before
    looks.close()
