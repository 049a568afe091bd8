"""A spool given to a session store: one file in order, its sum, and no end of its own."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest
from tests.bounded.spooling import spooled, store_at

from midwatch.bounded.spool import SpoolError, Store, folder, refs

WHOLE = bytes(range(256)) * 39 + b"end"  # the ring ends in its middle


def _wrapped(path: Path) -> tuple[Store, str]:
    store = store_at(path, spool_cap=4096)
    return store, spooled(store, [WHOLE[:5000], WHOLE[5000:]]).ref


def test_the_file_has_both_ends_in_order(tmp_path: Path) -> None:
    """B3: path, size and sha256 are of the same bytes; pages are the same before and after."""
    store, ref = _wrapped(tmp_path / "s")
    before = store.read(ref, offset=len(WHOLE) - 900, raw=True).data
    found = store.adopt(ref)
    kept = WHOLE[:3072] + WHOLE[-1024:]
    assert found.path.read_bytes() == kept
    assert (found.size, found.sha256) == (4096, sha256(kept).hexdigest())
    assert store.read(ref, offset=len(WHOLE) - 900, raw=True).data == before
    assert store.adopt(ref) == found
    assert store.info(ref).pinned
    assert store.release(ref) == 4096
    assert not found.path.exists()


def test_what_fits_is_not_copied(tmp_path: Path) -> None:
    """The data file itself is adopted."""
    store = store_at(tmp_path / "s")
    ref = spooled(store, WHOLE).ref
    path = store.folder / f"{refs.name_of(ref)}.data"
    inode = path.stat().st_ino
    found = store.adopt(ref)
    assert (found.path, found.path.stat().st_ino) == (path, inode)
    assert found.sha256 == sha256(WHOLE).hexdigest()


def test_a_link_of_ones_own(tmp_path: Path) -> None:
    """With `into` the spool goes on to age, and the link outlives it."""
    store, ref = _wrapped(tmp_path / "s")
    found = store.adopt(ref, tmp_path / "payload")
    assert found.path == tmp_path / "payload"
    assert not store.info(ref).pinned
    store.release(ref)
    assert sha256(found.path.read_bytes()).hexdigest() == found.sha256
    again = spooled(store, b"x").ref
    with pytest.raises(FileExistsError):
        store.adopt(again, tmp_path / "payload")


def test_one_that_is_written_cannot_be_adopted(tmp_path: Path) -> None:
    """It has no sum yet."""
    store = store_at(tmp_path / "s")
    writer = store.begin()
    assert writer.ref is not None
    for call in (store.adopt, store.release):
        with pytest.raises(SpoolError) as caught:
            call(writer.ref)
        assert caught.value.code == "busy"
    writer.close()


@pytest.mark.parametrize("after", ["copy", "meta"])
def test_a_kill_in_the_middle_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    """After the copy: the old file counts. After the meta file: the new one. The other goes with the next sweep."""
    store, ref = _wrapped(tmp_path / "s")
    name = refs.name_of(ref)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    real = os.unlink

    def unlink(path: str, *, dir_fd: int) -> None:
        if path.endswith(".data"):
            raise Killed
        real(path, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        if after == "copy":
            patch.setattr(folder, "replace_file", die)
        else:
            patch.setattr(os, "unlink", unlink)
        with pytest.raises(Killed):
            store.adopt(ref)
    both = [(store.folder / f"{name}{end}").exists() for end in (".data", ".whole")]
    assert both == [True, True]
    assert store.read(ref, offset=len(WHOLE) - 10, raw=True).data == WHOLE[-10:]
    store.sweep()
    both = [(store.folder / f"{name}{end}").exists() for end in (".data", ".whole")]
    assert both == ([True, False] if after == "copy" else [False, True])
    assert store.adopt(ref).sha256 == sha256(WHOLE[:3072] + WHOLE[-1024:]).hexdigest()
