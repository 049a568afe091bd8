"""The store: who may see what, what is said about what is gone or damaged, and tricks with references."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.bounded.spooling import LITTLE, spooled, store_at

from midwatch.bounded.spool import SpoolError, Store, refs


def _code(store: Store, ref: str) -> str:
    with pytest.raises(SpoolError) as caught:
        store.read(ref)
    return caught.value.code


def test_references_are_long_and_lead_nowhere_else(tmp_path: Path) -> None:
    """A17: 128 bits; paths, NUL, empty and foreign ones are unknown, whatever lies where they point."""
    store = store_at(tmp_path / "s")
    info = spooled(store, b"mine")
    (tmp_path / "secret").write_text("secret")
    name = refs.name_of(info.ref)
    tricks = [
        "../secret",
        str(tmp_path / "secret"),
        "",
        ".",
        "..",
        "lock",
        f"{name}.data",
        f"{name}",
        info.ref + "/",
        info.ref + "\n",
        info.ref.upper() + "0",
        f"../s/{info.ref}",
        info.ref[:-1] + "\0",
        "0" * 32,
        "\u0660" * 32,
        "x" * 10_000,
    ]
    for trick in tricks:
        assert _code(store, trick) == "unknown", trick
        for call in (store.info, store.release, store.adopt, store.tail):
            with pytest.raises(SpoolError):
                call(trick)
    assert len({refs.fresh() for _ in range(1000)}) == 1000
    assert store.read(info.ref).text == "mine"


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    """Somebody replaces our data file by a link: damaged, not the file it leads to."""
    store = store_at(tmp_path / "s")
    info = spooled(store, b"mine")
    (tmp_path / "secret").write_text("secret")
    data = store.folder / f"{refs.name_of(info.ref)}.data"
    data.unlink()
    data.symlink_to(tmp_path / "secret")
    assert _code(store, info.ref) == "damaged"
    data.unlink()
    os.mkfifo(data)
    assert _code(store, info.ref) == "damaged"


def test_a_session_sees_its_own(tmp_path: Path) -> None:
    """A17: another session's reference is as unknown as an invented one; the owner sees everything."""
    one, two = (Store(tmp_path / "s", LITTLE, session=token) for token in ("token-1", "token-2"))
    owner = store_at(tmp_path / "s")
    info = spooled(one, b"of one")
    assert one.read(info.ref).text == owner.read(info.ref).text == "of one"
    assert _code(two, info.ref) == "unknown"
    assert ([len(store.list()) for store in (one, two, owner)]) == [1, 0, 1]
    with pytest.raises(SpoolError):
        two.release(info.ref)
    assert b"token" not in (store_file(one.folder, info.ref, ".json")).read_bytes()


def store_file(folder: Path, ref: str, end: str) -> Path:
    return folder / f"{refs.name_of(ref)}{end}"


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff" * 100, b'{"ref": 5}', b"[" * 100_000])
def test_a_damaged_meta_file_is_said_and_kept(tmp_path: Path, damage: bytes) -> None:
    """Its data are not removed by the next sweep, the others go on, and nothing raises anything else."""
    store = store_at(tmp_path / "s")
    good, bad = spooled(store, b"good"), spooled(store, b"bad")
    store_file(store.folder, bad.ref, ".json").write_bytes(damage)
    assert _code(store, bad.ref) == "damaged"
    assert [info.ref for info in store.list()] == [good.ref]
    store.sweep()
    assert store_file(store.folder, bad.ref, ".data").read_bytes() == b"bad"
    assert store.read(good.ref).text == "good"


def test_a_damaged_index_is_said(tmp_path: Path) -> None:
    """A cut index, a changed one, a missing one, data that are shorter than it says."""
    store = store_at(tmp_path / "s")
    for damage in ("cut", "changed", "missing", "short"):
        info = spooled(store, b"line\n" * 1000)
        index, data = store_file(store.folder, info.ref, ".idx"), store_file(store.folder, info.ref, ".data")
        if damage == "missing":
            index.unlink()
        elif damage == "short":
            data.write_bytes(b"line\n")
        else:
            words = index.read_bytes()
            index.write_bytes(words[:30] if damage == "cut" else b"\1" + words[1:])
        assert _code(store, info.ref) == ("gone" if damage == "missing" else "damaged"), damage
        assert store.info(info.ref).bytes_total == 5000


def test_what_is_released_is_remembered(tmp_path: Path) -> None:
    """A18: the data go, a line about them stays; releasing again frees nothing."""
    store = store_at(tmp_path / "s")
    info = spooled(store, b"x" * 1000, exit_code=0)
    assert store.release(info.ref) == 1000
    assert store.release(info.ref) == 0
    gone = store.info(info.ref)
    assert (gone.state, gone.bytes_total, gone.facts) == ("gone", 1000, {"exit_code": 0})
    assert gone.why.startswith("removed at ")
    assert gone.why.endswith(": released")
    assert _code(store, info.ref) == "gone"
    assert not store_file(store.folder, info.ref, ".data").exists()


def test_the_same_thing_again_is_known(tmp_path: Path) -> None:
    """A19: the newest spool of the same key that can still be read, of any process, for ten minutes."""
    store = store_at(tmp_path / "s")
    assert store.recent("make test") is None
    refs_made = []
    for _ in range(2):
        writer = store.begin(same="make test")
        writer.close()
        refs_made.append(writer.ref)
    other = store_at(tmp_path / "s")
    found = other.recent("make test")
    assert found is not None
    assert found.ref == refs_made[-1]
    assert other.recent("make") is None
    assert other.recent("make test", within=0) is None
    store.release(found.ref)
    again = other.recent("make test")
    assert again is not None
    assert again.ref == refs_made[0]


def test_commands_are_kept_without_their_secrets(tmp_path: Path) -> None:
    """The spool has the output as it is; what is written about it is redacted."""
    store = store_at(tmp_path / "s")
    writer = store.begin(command=["curl", "--token=abcdef123456", "x" * 5000, "\udcff"])
    info = writer.close()
    text = store_file(store.folder, info.ref, ".json").read_text()
    assert "abcdef123456" not in text
    assert len(info.command[2]) < 3000


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading, listing, releasing: a typed error that names the folder."""
    store = store_at(tmp_path / "s")
    info = spooled(store, b"x")
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    for call in (store.info, store.read, store.release):
        with pytest.raises(SpoolError, match="belongs to user") as caught:
            call(info.ref)
        assert caught.value.code == "folder"


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    """A folder of ours that others may read is made 0700 before anything is put there."""
    (tmp_path / "s").mkdir(mode=0o755)
    (tmp_path / "s").chmod(0o755)
    store = store_at(tmp_path / "s")
    spooled(store, b"x")
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_a_store_that_was_never_used_is_empty(tmp_path: Path) -> None:
    """Looking does not make a folder."""
    store = store_at(tmp_path / "s")
    assert store.list() == []
    assert store.sweep().freed == 0
    with pytest.raises(SpoolError):
        store.info("0" * 32)
    assert not store.folder.exists()


def test_the_default_folder_is_the_instances(home: Path) -> None:
    """MIDWATCH_HOME/spool."""
    assert Store().folder == home / "spool"
