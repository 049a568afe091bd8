"""A21: files by the same pages as spools."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from midwatch.bounded.spool import SpoolError
from midwatch.bounded.spool.file import read_file
from midwatch.policy import defaults_bounded as d


def test_any_line_and_any_byte(tmp_path: Path) -> None:
    """By line, by column, by offset, raw; with where to go on."""
    path = tmp_path / "lines"
    path.write_bytes(b"".join(b"line %07d\n" % number for number in range(1, 200_001)))
    page = read_file(path, line=150_000, count=2)
    assert page.text == "line 0150000\nline 0150001\n"
    assert (page.line, page.next_line) == (150_000, 150_002)
    assert read_file(path, line=150_001, column=5, length=7).text == "0150001"
    assert read_file(path, offset=13 * 99_999 + 5, length=7).text == "0100000"
    assert read_file(path, line=200_001).eof
    assert read_file(path, line=5_000_000).eof
    whole, at = b"", 13 * 190_000
    while True:
        page = read_file(path, offset=at)
        whole, at = whole + page.data, page.next_offset
        if page.eof:
            break
    assert whole == path.read_bytes()[13 * 190_000 :]


def test_a_sparse_giant_costs_a_page(tmp_path: Path) -> None:
    """60 GB: its start and its end are read, nothing between."""
    path = tmp_path / "giant"
    path.write_bytes(b"start\n")
    os.truncate(path, 60 << 30)
    page = read_file(path, offset=(60 << 30) - 10)
    assert page.encoding == "base64"
    assert page.data == bytes(10)
    assert page.eof


def test_counting_ends_at_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of a file that is too long to be counted through: said, with what to do."""
    path = tmp_path / "long"
    path.write_bytes(b"text\n" * 200_000)
    monkeypatch.setattr(d, "FILE_SCAN", -1.0)
    with pytest.raises(SpoolError, match="read it by offset"):
        read_file(path, line=100_000)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """FIFOs and devices do not block."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero"), tmp_path / "none"):
        with pytest.raises(SpoolError):
            read_file(path)
