"""How files are opened: private, never through a link, never inherited, never waiting for a FIFO."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from midwatch.record.files import (
    make_folder,
    open_append,
    open_fresh,
    open_read,
    open_update,
    read_small,
    write_all,
)

WRITERS: list[Callable[[Path], int]] = [open_append, open_update, open_fresh]


@pytest.mark.parametrize("opener", WRITERS)
def test_new_files_are_private_and_not_inherited(tmp_path: Path, opener: Callable[[Path], int]) -> None:
    """0600 whatever the umask; close-on-exec."""
    before = os.umask(0)
    try:
        fd = opener(tmp_path / "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o600
    assert not os.get_inheritable(fd)
    os.close(fd)


@pytest.mark.parametrize("opener", [open_append, open_update, open_read])
def test_links_are_not_followed(tmp_path: Path, opener: Callable[[Path], int]) -> None:
    """A hostile symbolic link at a path of ours is an error, not a door."""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "x").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic"):
        opener(tmp_path / "x")


def test_a_fresh_file_replaces_a_link(tmp_path: Path) -> None:
    """A temporary path may hold anything: it is removed, not written through."""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "x").symlink_to(tmp_path / "victim")
    fd = open_fresh(tmp_path / "x")
    write_all(fd, b"new")
    os.close(fd)
    assert (tmp_path / "victim").read_text() == "precious"
    assert read_small(tmp_path / "x", 2) == b"ne"


def test_folders_are_made_once_and_privately(tmp_path: Path) -> None:
    """Parents too; an existing folder keeps its mode; a file in the way is an error."""
    before = os.umask(0)
    try:
        make_folder(tmp_path / "a" / "b")
        make_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file" / "b")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")
