"""Bundles of evidence on disk: complete or absent, private, bounded."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from midwatch.record.evidence import Evidence


def test_hlt7_a_bundle_is_two_private_files(tmp_path: Path) -> None:
    """HLT-7: pretty JSON and the tail, 0600 in a folder of 0700."""
    store = Evidence(tmp_path / "evidence", count=5, max_bytes=1 << 20)
    made, size = store.write("p.a.3", "watchdog", {"run": "p.a.3", "paths": (Path("/x"),)}, "last words\n")
    assert made == tmp_path / "evidence" / "p.a.3-watchdog-1"
    facts = made / "facts.json"
    assert json.loads(facts.read_text()) == {"run": "p.a.3", "paths": ["/x"]}
    assert facts.read_text().count("\n") > 2
    assert (made / "tail.txt").read_text() == "last words\n"
    assert size == facts.stat().st_size + 11
    assert {oct(path.stat().st_mode & 0o777) for path in (facts, made / "tail.txt")} == {"0o600"}
    assert (made.stat().st_mode & 0o777, (tmp_path / "evidence").stat().st_mode & 0o777) == (0o700, 0o700)


def test_the_same_run_and_reason_again(tmp_path: Path) -> None:
    """Nothing is overwritten; odd characters cannot leave the folder."""
    store = Evidence(tmp_path, count=5, max_bytes=1 << 20)
    names = [store.write("p.a.3", "health", {}, "")[0].name for _ in range(2)]
    assert names == ["p.a.3-health-1", "p.a.3-health-2"]
    assert store.write("../../x", "a/b", {}, "")[0].parent == tmp_path


def _age(path: Path, seconds: int) -> None:
    os.utime(path, (seconds, seconds))


def test_the_oldest_go_first_by_count(tmp_path: Path) -> None:
    """Retention by count."""
    store = Evidence(tmp_path, count=3, max_bytes=1 << 20)
    for number in range(6):
        made, _ = store.write(f"p.a.{number}", "health", {}, "")
        _age(made, 1000 + number)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"p.a.{n}-health-1" for n in (3, 4, 5)]


def test_the_oldest_go_first_by_bytes_and_the_newest_stays(tmp_path: Path) -> None:
    """Retention by bytes; a bundle that is too big by itself is kept all the same."""
    store = Evidence(tmp_path, count=100, max_bytes=2500)
    for number in range(4):
        made, _ = store.write(f"p.a.{number}", "health", {}, "x" * 1000)
        _age(made, 1000 + number)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"p.a.{n}-health-1" for n in (2, 3)]
    store.write("p.b.1", "health", {}, "x" * 5000)
    assert [path.name for path in tmp_path.iterdir()] == ["p.b.1-health-1"]


def test_a_failed_bundle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC in the middle: OSError, and no half a folder; what a dead engine left is swept at the next one."""
    store = Evidence(tmp_path, count=5, max_bytes=1 << 20)
    (tmp_path / ".new-p.a.1-health-0").mkdir()

    def full(fd: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("midwatch.record.evidence.write_all", full)
        with pytest.raises(OSError, match="No space"):
            store.write("p.a.1", "health", {}, "")
    assert [path.name for path in tmp_path.iterdir()] == [".new-p.a.1-health-0"]
    store.write("p.a.1", "health", {}, "")
    assert [path.name for path in tmp_path.iterdir()] == ["p.a.1-health-1"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Somebody's link in our folder is neither counted nor entered nor removed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    store = Evidence(tmp_path / "evidence", count=1, max_bytes=1)
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "link").symlink_to(outside)
    store.write("p.a.1", "health", {}, "")
    store.write("p.a.2", "health", {}, "")
    assert (outside / "precious").exists()
