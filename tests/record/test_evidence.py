"""Bundles of evidence on disk: complete or absent, private, bounded."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from midwatch.record import evidence
from midwatch.record.evidence import Bundle, Evidence


def whole(store: Evidence, run: str, tail: bytes = b"") -> Bundle:
    """One that was finished."""
    bundle = store.begin(run, "health", {"run_id": run})
    bundle.add("tail.txt", tail)
    bundle.close([])
    store.prune(keep=bundle.path)
    return bundle


def test_hlt7_a_bundle_is_private_and_says_what_is_in_it(tmp_path: Path) -> None:
    """HLT-7: a manifest, pretty JSON and the tail, 0600 in a folder of 0700."""
    store = Evidence(tmp_path / "evidence", count=5, max_bytes=1 << 20)
    bundle = store.begin("p.a.3", "watchdog", {"run_id": "p.a.3"})
    assert bundle.path == tmp_path / "evidence" / "p.a.3-watchdog-1"
    assert evidence.read_json(bundle.path / "manifest.json")["state"] == "open"
    bundle.add_json("facts.json", {"run": "p.a.3", "paths": (Path("/x"),)})
    bundle.add("tail.txt", b"last words\n")
    bundle.close([{"name": "output", "ms": 1, "problem": ""}])
    bundle.sync()
    text = (bundle.path / "facts.json").read_text()
    assert json.loads(text) == {"run": "p.a.3", "paths": ["/x"]}
    assert text.count("\n") > 2
    manifest = evidence.read_json(bundle.path / "manifest.json")
    assert manifest["files"] == {"facts.json": len(text), "tail.txt": 11}
    assert (manifest["state"], manifest["bytes"], manifest["run_id"]) == ("done", len(text) + 11, "p.a.3")
    assert {oct(path.stat().st_mode & 0o777) for path in bundle.path.iterdir()} == {"0o600"}
    assert [path.stat().st_mode & 0o777 for path in (bundle.path, store.folder)] == [0o700, 0o700]


def test_the_same_run_and_reason_again(tmp_path: Path) -> None:
    """Nothing is overwritten; odd characters cannot leave the folder."""
    store = Evidence(tmp_path, count=5, max_bytes=1 << 20)
    assert [whole(store, "p.a.3").path.name for _ in range(2)] == ["p.a.3-health-1", "p.a.3-health-2"]
    assert store.begin("../../x", "a/b", {}).path.parent == tmp_path


def test_g10_a_bundle_has_at_most_five_mebibytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """guards 10: what does not fit is cut off, and said."""
    monkeypatch.setattr(evidence, "BUNDLE_BYTES", 10)
    bundle = Evidence(tmp_path, count=5, max_bytes=1 << 20).begin("p.a.1", "health", {})
    assert bundle.add("one", b"12345678") == ""
    assert bundle.add("two", b"12345678") == "6 bytes cut off: the bundle is full"
    assert (bundle.path / "two").read_bytes() == b"12"
    assert bundle.size == 10


def test_g10_a_bundle_that_is_cut_short_is_readable_and_told_once(tmp_path: Path) -> None:
    """guards 10: its writer was killed in between; what it had written is there."""
    store = Evidence(tmp_path, count=5, max_bytes=1 << 20)
    whole(store, "p.a.1")
    torn = store.begin("p.a.2", "health", {"run_id": "p.a.2", "reason": "health"})
    torn.add("tail.txt", b"last words")
    (tmp_path / "p.old.1-health-1").mkdir()  # an earlier version's: no manifest
    [(path, manifest)] = store.cut_short()
    assert (path, manifest["state"], manifest["run_id"]) == (torn.path, "cut short", "p.a.2")
    assert (path / "tail.txt").read_bytes() == b"last words"
    assert evidence.read_json(path / "manifest.json")["state"] == "cut short"
    assert list(store.cut_short()) == []
    assert list(Evidence(tmp_path / "none", count=5, max_bytes=1).cut_short()) == []


def _age(path: Path, seconds: int) -> None:
    os.utime(path, (seconds, seconds))


def test_the_oldest_go_first_by_count(tmp_path: Path) -> None:
    """Retention by count."""
    store = Evidence(tmp_path, count=3, max_bytes=1 << 20)
    for number in range(6):
        _age(whole(store, f"p.a.{number}").path, 1000 + number)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"p.a.{n}-health-1" for n in (3, 4, 5)]


def test_the_oldest_go_first_by_bytes_and_the_newest_stays(tmp_path: Path) -> None:
    """Retention by bytes; a bundle that is too big by itself is kept all the same."""
    store = Evidence(tmp_path, count=100, max_bytes=3000)
    for number in range(4):
        _age(whole(store, f"p.a.{number}", b"x" * 1000).path, 1000 + number)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"p.a.{n}-health-1" for n in (2, 3)]
    whole(store, "p.b.1", b"x" * 5000)
    assert [path.name for path in tmp_path.iterdir()] == ["p.b.1-health-1"]


def test_a_bundle_that_cannot_be_begun_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC at the manifest: OSError, no folder; what an earlier version left unfinished is swept."""
    store = Evidence(tmp_path, count=5, max_bytes=1 << 20)
    (tmp_path / ".new-p.a.1-health-0").mkdir()

    def full(fd: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("midwatch.record.evidence.write_all", full)
        with pytest.raises(OSError, match="No space"):
            store.begin("p.a.1", "health", {})
    assert [path.name for path in tmp_path.iterdir()] == [".new-p.a.1-health-0"]
    whole(store, "p.a.1")
    assert [path.name for path in tmp_path.iterdir()] == ["p.a.1-health-1"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Somebody's link in our folder is neither counted nor entered nor removed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    store = Evidence(tmp_path / "evidence", count=1, max_bytes=1)
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "link").symlink_to(outside)
    whole(store, "p.a.1")
    whole(store, "p.a.2")
    assert (outside / "precious").exists()
