"""Writing a spool: both ends kept, everything counted, whatever the pieces and the lines are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bounded.spooling import spooled, store_at

from midwatch.bounded.spool import SpoolError, shape

PIECES = st.lists(st.binary(max_size=120) | st.text("ab\n", max_size=120).map(str.encode), max_size=12)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "BLOCK", 16)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(PIECES, st.integers(64, 300), st.booleans())
@pytest.mark.usefixtures("small_blocks")
def test_both_ends_and_every_line_can_be_read_back(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], cap: int, adopted: bool
) -> None:
    """A5, A8: against the output itself: bytes kept, line starts and numbers; also with the ring in order."""
    store = store_at(tmp_path_factory.mktemp("spool") / "s", spool_cap=cap)
    whole = b"".join(pieces)
    info = spooled(store, pieces)
    assert (info.bytes_total, info.lines_total) == (len(whole), whole.count(b"\n"))
    assert info.complete == (len(whole) <= cap)
    if adopted:
        store.adopt(info.ref)
        info = store.info(info.ref)
    _reads_as(store, info.ref, whole, info.kept)


def _reads_as(store: object, ref: str, whole: bytes, kept: tuple[tuple[int, int], ...]) -> None:
    from midwatch.bounded.spool import reader
    from midwatch.bounded.spool.store import Store

    assert isinstance(store, Store)
    starts = [0, *(at + 1 for at, byte in enumerate(whole) if byte == 10)]
    with store._home.opened() as folder:
        name, info = store._known(folder, ref)
        with reader.opened(folder, name, info) as source:
            for begin, end in kept:
                assert source.read(begin, end) == whole[begin:end]
                for offset in range(begin, end + 1):
                    assert source.lines_before(offset) == whole.count(b"\n", 0, offset)
            for number, start in enumerate(starts, 1):
                held = any(begin < start <= end or start == 0 == begin for begin, end in kept)
                assert source.line_start(number) == (start if held else None), (number, start, kept)
            assert source.line_start(len(starts) + 1) == len(whole)
            layout = source.layout()
            assert b"".join(os.pread(source.fd, size, at) for at, size, _, _ in layout) == b"".join(
                whole[begin:end] for begin, end in kept
            )


def test_a_buffer_may_be_used_again(tmp_path: Path) -> None:
    """Of a bytearray only the first bytes count; a memoryview is taken as it is."""
    store = store_at(tmp_path / "s")
    writer = store.begin()
    buffer = bytearray(b"one\ntwo\nold\nold\n")
    writer.write(buffer, 8)
    buffer[:] = b"xxxxxxxxxxxxxxxx"
    writer.write(memoryview(b"_three\n_")[1:7])
    assert (writer.bytes_total, writer.lines_total) == (14, 3)
    writer.close()
    assert writer.ref is not None
    assert store.read(writer.ref).text == "one\ntwo\nthree\n"


def test_the_limit_is_sixty_four_mebibytes(tmp_path: Path) -> None:
    """A5: of 70 MiB the first 48 and the last 16 are there, the middle is said to be missing."""
    store = store_at(tmp_path / "s")
    writer = store.begin()
    for number in range(70):
        writer.write(bytes([number]) * (1 << 20))
    info = writer.close()
    assert info.kept == ((0, 48 << 20), (54 << 20, 70 << 20))
    assert not info.complete
    assert info.why == "6,291,456 bytes in the middle are more than a spool keeps"
    assert store.read(info.ref, offset=(48 << 20) - 1, length=1).data == bytes([47])
    page = store.read(info.ref, offset=48 << 20, length=1)
    assert (page.data, page.skipped) == (bytes([54]), (48 << 20, 54 << 20))
    store.release(info.ref)


def test_what_is_skipped_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood that passed elsewhere: until the ring is full again only what came after it is there, at every moment."""
    monkeypatch.setattr(shape, "BLOCK", 16)
    store = store_at(tmp_path / "s", spool_cap=256)
    writer = store.begin()
    writer.write(b"%07d\n" * 64 % tuple(range(64)))
    writer.skip(800, 100)
    whole = b"%07d\n" * 64 % tuple(range(64)) + b"?" * 800
    for number in range(164, 204):
        words = b"%07d\n" % number
        writer.write(words)
        whole += words
        assert writer.ref is not None
        info = store.info(writer.ref)
        assert info.kept == ((0, 192), (max(1312, len(whole) - 64), len(whole)))
        page = store.read(writer.ref, offset=info.kept[1][0], raw=True)
        assert page.data == whole[info.kept[1][0] :]
        assert page.line == info.kept[1][0] // 8 + 1
        assert store.read(writer.ref, line=number + 1).text == words.decode()
    info = writer.close()
    assert (info.bytes_total, info.lines_total) == (len(whole), 204)
    assert info.why == f"{len(whole) - 256:,} bytes in the middle are more than a spool keeps"


@pytest.mark.parametrize("more", [1, 3, 8, 9])
def test_what_follows_a_skip_is_adopted_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """B3: old bytes of the ring are in no session store."""
    monkeypatch.setattr(shape, "BLOCK", 16)
    store = store_at(tmp_path / "s", spool_cap=256)
    for skipped in (64, 80):
        writer = store.begin()
        writer.write(b"old old\n" * 64)
        writer.skip(skipped, 0)
        writer.write(b"new new\n" * more)
        found = store.adopt(writer.close().ref)
        kept = b"old old\n" * 24 + b"new new\n" * min(more, 8)
        assert (found.path.read_bytes(), found.size) == (kept, len(kept))
        assert writer.ref is not None
        assert store.tail(writer.ref, 1).text == "new new\n"


def test_files_are_ours_alone(tmp_path: Path) -> None:
    """A7: folder 0700, files 0600, their names say nothing, no draft is left."""
    old = os.umask(0)
    try:
        store = store_at(tmp_path / "deep" / "s")
        info = spooled(store, b"secret")
    finally:
        os.umask(old)
    assert os.stat(store.folder).st_mode & 0o777 == 0o700
    for path in store.folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert info.ref not in path.name
        assert not path.name.endswith(".new")


def test_a_disk_that_refuses_stops_the_spool_not_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A5, S8: after 5 MiB nothing more is stored; counting goes on, what is stored can be read, the reason is said."""
    room = 5 << 20
    real = os.pwrite

    def full(fd: int, data: bytes, at: int) -> int:
        if at >= room:
            raise OSError(28, "No space left on device")
        return real(fd, data[: max(0, room - at)], at)

    store = store_at(tmp_path / "s")
    writer = store.begin()
    monkeypatch.setattr(os, "pwrite", full)
    line = b"x" * 99 + b"\n"
    for _ in range(100):
        writer.write(line * 10_000)
    info = writer.close()
    assert (info.bytes_total, info.lines_total, info.bytes_stored) == (100_000_000, 1_000_000, room)
    assert not info.complete
    assert info.why == "the disk refused after 5,242,880 bytes: No space left on device"
    monkeypatch.undo()
    page = store.read(info.ref, line=52_000, count=1)
    assert page.text == line.decode()
    assert store.read(info.ref, offset=room).notes == (info.why,)


def test_an_unusable_folder_is_no_exception(tmp_path: Path) -> None:
    """A file, a link, or nothing where the folder should be: no reference, and why."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("file", "link"):
        writer = store_at(tmp_path / name).begin()
        writer.write(b"a\nb")
        assert writer.ref is None
        assert not writer.complete
        assert writer.why.startswith("no spool could be made: ")
        assert writer.close().bytes_total == 3
    assert (tmp_path / "file").read_text() == "mine"
    assert not list((tmp_path / "real").iterdir())


@pytest.mark.unprivileged("root may write everywhere")
def test_a_folder_made_unwritable(tmp_path: Path) -> None:
    """What is open goes on; a new one is refused with the reason; what is there can be read."""
    store = store_at(tmp_path / "s")
    old = spooled(store, b"old")
    writer = store.begin()
    store.folder.chmod(0o500)
    try:
        writer.write(b"new")
        info = writer.close()
        assert info.bytes_total == 3
        assert store.begin().ref is None
        assert store.read(old.ref).text == "old"
        assert store.read(info.ref).text == "new"
    finally:
        store.folder.chmod(0o700)


def test_nothing_is_left_of_what_is_discarded(tmp_path: Path) -> None:
    """And a reference to it is unknown."""
    store = store_at(tmp_path / "s")
    writer = store.begin()
    writer.write(b"x" * 100)
    writer.discard()
    writer.close()
    assert {path.name for path in store.folder.iterdir()} == {"lock"}
    with pytest.raises(SpoolError) as caught:
        store.info(writer.ref or "")
    assert caught.value.code == "unknown"


def test_facts_are_bounded(tmp_path: Path) -> None:
    """A caller that hands in a megabyte of facts gets a meta file that can be read."""
    store = store_at(tmp_path / "s")
    info = spooled(store, b"x", much="y" * 1_000_000)
    assert list(store.info(info.ref).facts) == ["left_out"]
