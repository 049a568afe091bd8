"""Room: the quota of all spools, the disk's reserve, and who has to go."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest
from tests.bounded.spooling import spooled, store_at

from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import Store, meta, quota, refs, retention, shelf
from midwatch.policy import defaults_bounded as d

MIB = 1 << 20


def make_older(store: Store, ref: str, seconds: float) -> None:
    """As if it had been made and ended so long ago."""
    path = store.folder / f"{refs.name_of(ref)}.json"
    info = meta.decode(path.read_bytes())
    assert info is not None
    ended = info.ended - seconds if info.ended else None
    path.write_bytes(meta.encode(msgspec.structs.replace(info, created=info.created - seconds, ended=ended)))


def test_a_tenth_of_the_free_disk_at_most() -> None:
    """min(2 GiB, 10 %), by what would be free without the spools: filling them does not lower it."""
    limits = Limits()
    assert quota.quota(1 << 40, 0, limits) == 2 << 30
    assert quota.quota(10 << 30, 0, limits) == 1 << 30
    assert quota.quota(9 << 30, 1 << 30, limits) == 1 << 30


def test_the_quota_stops_a_spool_in_the_middle(tmp_path: Path) -> None:
    """What fits is stored, to the byte; the rest is counted; `why` says which limit it was."""
    store = store_at(tmp_path / "s", spool_quota=3 * MIB)
    writer = store.begin()
    for _ in range(10):
        writer.write(b"x" * MIB)
    info = writer.close()
    assert (info.bytes_total, info.bytes_stored) == (10 * MIB, 3 * MIB)
    assert info.why == "stopped after 3,145,728 bytes: the quota of all spools (3,145,728 bytes) is used up"
    assert store.read(info.ref, offset=3 * MIB - 1).data == b"x"
    assert sum(path.stat().st_size for path in store.folder.glob("*.data")) == 3 * MIB


def test_the_disks_reserve_is_kept(tmp_path: Path) -> None:
    """spool_free more than there is: nothing is stored, the reason is said."""
    store = store_at(tmp_path / "s", spool_free=1 << 60)
    info = spooled(store, b"x" * 1000)
    assert info.bytes_stored == 0
    assert "the disk would have less than" in info.why


def test_older_spools_make_room(tmp_path: Path) -> None:
    """The oldest goes first, only as many as are needed, and what it was is still known."""
    store = store_at(tmp_path / "s", spool_quota=5 * MIB)
    old = [spooled(store, bytes([number]) * MIB) for number in range(4)]
    for age, info in enumerate(reversed(old), 1):
        make_older(store, info.ref, d.SPOOL_YOUNG + 10 * age)
    new = spooled(store, b"n" * 2 * MIB)
    assert new.complete
    assert [store.info(info.ref).state for info in old] == ["gone", "done", "done", "done"]
    assert store.info(old[0].ref).why.endswith("newer spools needed its room")


def test_the_young_are_not_evicted(tmp_path: Path) -> None:
    """Nor pinned ones: a new spool is incomplete rather than take away what was just given."""
    store = store_at(tmp_path / "s", spool_quota=2 * MIB)
    young, pinned = spooled(store, b"y" * MIB), spooled(store, b"p" * MIB)
    make_older(store, pinned.ref, 10 * d.SPOOL_YOUNG)
    store.adopt(pinned.ref)
    new = spooled(store, b"n" * MIB)
    assert not new.complete
    assert store.read(young.ref, length=1).data == b"y"
    assert store.read(pinned.ref, length=1).data == b"p"


def test_who_has_died_goes_before_who_lives(tmp_path: Path) -> None:
    """Live owners: an agent that runs still knows its references, however old they are."""
    store = store_at(tmp_path / "s", spool_quota=2 * MIB)
    mine, dead = spooled(store, b"m" * MIB), spooled(store, b"d" * MIB)
    make_older(store, mine.ref, 3 * d.SPOOL_YOUNG)
    make_older(store, dead.ref, 2 * d.SPOOL_YOUNG)
    path = store.folder / f"{refs.name_of(dead.ref)}.json"
    info = meta.decode(path.read_bytes())
    assert info is not None
    path.write_bytes(meta.encode(msgspec.structs.replace(info, start=info.start + 1)))
    assert spooled(store, b"n" * MIB).complete
    assert (store.info(mine.ref).state, store.info(dead.ref).state) == ("done", "gone")


def test_a_reservation_is_given_back(tmp_path: Path) -> None:
    """Of the 8 MiB that a writer reserves nothing is left once it has closed."""
    store = store_at(tmp_path / "s")
    writer = store.begin()
    writer.write(b"x")
    data = store.folder / f"{refs.name_of(writer.ref)}.data"
    assert data.stat().st_size == d.SPOOL_STEP
    writer.close()
    assert data.stat().st_size == 1


def test_two_writers_share_one_quota(tmp_path: Path) -> None:
    """What one has reserved the other cannot have: together they stay inside."""
    store = store_at(tmp_path / "s", spool_quota=20 * MIB)
    writers = [store.begin(), store.begin()]
    for _ in range(16):
        for writer in writers:
            writer.write(b"x" * MIB)
    infos = [writer.close() for writer in writers]
    stored = sum(info.bytes_stored for info in infos)
    assert 19 * MIB <= stored <= 20 * MIB
    with store._home.opened() as folder:
        assert shelf.taken(folder).size == stored


def test_age(tmp_path: Path) -> None:
    """Seven days; what is still written and what is pinned have no age."""
    store = store_at(tmp_path / "s")
    old, pinned, young = (spooled(store, b"x") for _ in range(3))
    store.adopt(pinned.ref)
    running = store.begin()
    assert running.ref is not None
    for ref in (old.ref, pinned.ref, running.ref):
        make_older(store, ref, 8 * 86_400)
    make_older(store, young.ref, 6 * 86_400)
    assert store.sweep().aged == 1
    states = [store.info(ref).state for ref in (old.ref, pinned.ref, young.ref, running.ref)]
    assert states == ["gone", "done", "done", "running"]
    assert store.info(old.ref).why.endswith("older than 7 days")
    running.close()


def test_begin_sweeps_once_a_minute(tmp_path: Path) -> None:
    """A process that never ends still forgets old spools; one that begins many does not look each time."""
    store = store_at(tmp_path / "s")
    old = spooled(store, b"x")
    make_older(store, old.ref, 8 * 86_400)
    spooled(store, b"y")
    assert store.info(old.ref).state == "done"
    store._swept = time.time() - d.SPOOL_SWEEP
    spooled(store, b"z")
    assert store.info(old.ref).state == "gone"


def test_a_full_disk_loses_the_line_not_the_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room for a line about what is removed, it is removed without."""
    store = store_at(tmp_path / "s")
    info = spooled(store, b"x")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("midwatch.bounded.spool.folder.write_all", full)
    assert store.release(info.ref) == 1
    assert {path.name for path in store.folder.iterdir()} == {"lock"}


def test_sums_count_what_is_promised(tmp_path: Path) -> None:
    """A reserved file has no blocks yet; the disk's reserve takes them as used."""
    store = store_at(tmp_path / "s")
    writer = store.begin()
    writer.write(b"x" * 4096)
    with store._home.opened() as folder:
        taken = shelf.taken(folder)
    assert taken.size == d.SPOOL_STEP
    assert d.SPOOL_STEP - 65_536 <= taken.promised <= d.SPOOL_STEP
    writer.close()
    assert retention.Swept() == store.sweep()
    assert os.listdir(store.folder)
