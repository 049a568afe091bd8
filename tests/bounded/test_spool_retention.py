"""What a sweep leaves: a bounded number of spools, and of lines about those that are gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.bounded.spooling import spooled, store_at

from midwatch.bounded.spool import SpoolError, refs
from midwatch.policy import defaults_bounded as d


def test_more_than_the_most_spools_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go."""
    monkeypatch.setattr(d, "SPOOL_COUNT", 5)
    store = store_at(tmp_path / "s")
    infos = [spooled(store, b"x") for _ in range(8)]
    assert store.sweep().aged == 3
    assert [store.info(info.ref).state for info in infos] == ["gone"] * 3 + ["done"] * 5


def test_of_spools_that_are_gone_a_hundred_are_remembered(tmp_path: Path) -> None:
    """A18: metadata of the last hundred, then nothing."""
    store = store_at(tmp_path / "s")
    infos = [spooled(store, b"x") for _ in range(103)]
    for info in infos:
        store.release(info.ref)
    assert store.sweep().forgotten == 3
    assert len(store.list()) == d.SPOOL_GONE == 100
    with pytest.raises(SpoolError) as caught:
        store.info(infos[0].ref)
    assert caught.value.code == "unknown"


def test_the_remains_of_a_beginning_are_removed(tmp_path: Path) -> None:
    """Killed between its files: nobody has its reference, so it goes with the next sweep. Files of others stay."""
    store = store_at(tmp_path / "s")
    good = spooled(store, b"good")
    for ends in ((".data",), (".data", ".idx"), (".data", ".idx", ".json.new")):
        name = refs.name_of(refs.fresh())
        for end in ends:
            (store.folder / f"{name}{end}").write_bytes(b"half")
    (store.folder / "notes.txt").write_text("mine")
    assert store.sweep().remains == 3
    assert {path.name for path in store.folder.iterdir()} == {
        "lock", "notes.txt", *(f"{refs.name_of(good.ref)}{end}" for end in (".data", ".idx", ".json")),
    }  # fmt: skip


def test_a_lost_spool_is_settled_once(tmp_path: Path) -> None:
    """Its writer died: it gets an end, its reservation is given back, it can be read, and it ages like any other."""
    store = store_at(tmp_path / "s")
    writer = store.begin()
    writer.write(b"before the end\n")
    ref = writer.ref
    assert ref is not None
    assert store.info(ref).state == "running"
    del writer
    assert store.info(ref).state == "lost"
    assert store.sweep().lost == 1
    assert store.sweep().lost == 0
    info = store.info(ref)
    assert (info.state, info.complete, info.why) == ("lost", False, "its writer died before the end")
    assert info.ended is not None
    assert store.read(ref).text == "before the end\n"
    assert (store.folder / f"{refs.name_of(ref)}.data").stat().st_size == 15
