"""Which files are searched: what is skipped is never opened, and is counted with its reason."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from midwatch.bounded.search import walk
from midwatch.bounded.search.walk import Enough, Walk


def _walk(root: Path, **options: Any) -> Walk:
    given = {"own": [], "big": 1000, "stream": False, "most": 100, "include": [], "exclude": [], **options}
    return Walk(str(root), **given)


def _seen(one: Walk) -> list[str]:
    return [os.path.relpath(path, one.root) for path, _, _ in one.each()]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for folder in ("a/deep", "b", ".hidden"):
        (root / folder).mkdir(parents=True)
    for name in ("a/one.py", "a/deep/two.txt", "b/three.py", ".hidden/four.py", "zero"):
        (root / name).write_text("text")
    (root / "zero").write_text("")
    (root / "large").write_bytes(b"x" * 1001)
    os.truncate(root / "large", 60 << 30)
    os.mkfifo(root / "fifo")
    (root / "dev").symlink_to("/dev/zero")
    (root / "broken").symlink_to("/nowhere")
    (root / "up").symlink_to("..")
    (tmp_path / "outside").write_text("text")
    (root / "linked").symlink_to(tmp_path / "outside")
    (tmp_path / "home/spool").mkdir(parents=True)
    (tmp_path / "home/spool/data").write_text("text")
    (root / "home").mkdir()
    (root / "home/mine").write_text("text")
    (root / "ours").symlink_to(tmp_path / "home/spool/data")
    return root


def test_only_regular_files_are_opened(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A20, S16: FIFO, device, giant, broken link, folder link: counted, and not one of them is opened."""
    opened: list[str] = []
    real = os.open

    def spy(path: Any, flags: int, *more: Any, **named: Any) -> int:
        opened.append(os.path.basename(path))
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", spy)
    own = [(found.st_dev, found.st_ino) for found in (os.stat(tree / "home"), os.stat(tree.parent / "home"))]
    one = _walk(tree, own=own)
    assert _seen(one) == ["linked", ".hidden/four.py", "a/one.py", "a/deep/two.txt", "b/three.py"]
    assert {reason: count for reason, (count, _) in one.skipped.reasons.items()} == {
        "larger than 1,000 bytes": 1, "FIFO": 1, "device": 1, "broken link": 1, "link to a folder": 1,
        "midwatch's own folder": 2,
    }  # fmt: skip
    assert sorted(opened) == ["four.py", "linked", "one.py", "three.py", "two.txt"]


def test_sockets_unreadable_and_replaced(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that becomes another one between the look and the opening is not read."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tree / "b/sock"))
        walked = _walk(tree / "b")
        assert _seen(walked) == ["three.py"]
        assert walked.skipped.reasons["socket"][0] == 1
    real = os.open

    def swap(path: Any, flags: int, *more: Any) -> int:
        if str(path).endswith("three.py"):
            os.unlink(path)
            os.mkfifo(path)
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", swap)
    walked = _walk(tree / "b")
    assert _seen(walked) == []
    assert walked.skipped.reasons["replaced meanwhile"][0] == 1


@pytest.mark.unprivileged("root may read everything")
def test_what_cannot_be_read_is_counted(tree: Path) -> None:
    """And the rest is searched."""
    (tree / "a/deep").chmod(0)
    (tree / "b/three.py").chmod(0)
    try:
        walked = _walk(tree)
        assert "a/one.py" in _seen(walked)
        assert walked.skipped.reasons["unreadable (Permission denied)"][0] == 2
    finally:
        (tree / "a/deep").chmod(0o700)


def test_names_that_were_asked_for(tree: Path) -> None:
    """include and exclude are globs of names; what they leave out is counted, too."""
    walked = _walk(tree, include=["*.py"], exclude=[".*", "b"])
    assert _seen(walked) == ["a/one.py"]
    assert walked.skipped.reasons["excluded"][0] == 2


def test_numbers_end(tree: Path) -> None:
    """Files and folders are counted; beyond the limit the walk says so."""
    with pytest.raises(Enough, match="2 f"):
        _seen(_walk(tree, most=2))


def test_a_file_as_root(tree: Path) -> None:
    """One file can be searched; a device cannot; nothing there is an OSError."""
    assert _seen(_walk(tree / "a/one.py")) == ["."]
    assert _seen(_walk(tree / "linked")) == ["."]
    for other in ("dev", "fifo", "broken", "nothing"):
        with pytest.raises(OSError, match=r".*"):
            _seen(_walk(tree / other))


def test_examples_are_few() -> None:
    """Of a million skipped files three are named."""
    skipped = walk.Skipped()
    for number in range(1000):
        skipped.add("binary", str(number))
    assert skipped.reasons == {"binary": (1000, ["0", "1", "2"])}


def test_no_descriptor_is_left(tree: Path) -> None:
    """Not even when the caller stops in the middle."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        each = _walk(tree).each()
        next(each)
        each.close()  # type: ignore[attr-defined]
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before
