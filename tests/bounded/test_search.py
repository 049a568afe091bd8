"""bounded_search: what comes back, what it costs, what is said about the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.bounded.spooling import store_at

from midwatch.bounded import search as searching
from midwatch.bounded.search import SearchError, search
from midwatch.policy import defaults_bounded as d


def _lines(folder: Path, files: int, each: int, line: str = "a needle here") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (folder / f"{number:04}.txt").write_text("other\n" + f"{line}\n" * each)
    return folder


def test_hits_have_their_place(tmp_path: Path, home: Path) -> None:
    """Path as it was asked for, line, column, excerpt; files and bytes are counted."""
    root = _lines(tmp_path / "root", 2, 1)
    found = search(root, "needle")
    assert [str(hit) for hit in found.hits] == [
        f"{root}/000{number}.txt:2:3: a needle here" for number in range(2)
    ]
    assert (found.complete, found.matches, found.files) == (True, 2, 2)
    assert found.bytes_read == 40
    assert found.spool is None
    old = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert search("root", "needle").hits[0].path == "root/0000.txt"
    finally:
        os.chdir(old)


def test_two_hundred_matches_are_shown_and_the_rest_goes_to_a_spool(tmp_path: Path, home: Path) -> None:
    """A20: the spool has all of them, in order, and the text says how to read it."""
    root = _lines(tmp_path / "root", 30, 10)
    store = store_at(tmp_path / "s")
    found = search(root, "needle", store=store)
    assert (len(found.hits), found.matches, found.spool_complete) == (200, 300, True)
    assert found.spool is not None
    info = store.info(found.spool)
    assert info.lines_total == 300
    assert store.read(found.spool, line=300).text == f"{root}/0029.txt:11:3: a needle here\n"
    text = found.text()
    assert f"spool_read(ref={found.spool})" in text
    assert len(text.encode()) <= 40_960
    assert search(root, "needle").spool is None


def test_s54_the_same_search_again_is_told_of_the_first(tmp_path: Path, home: Path) -> None:
    """S54: it runs, and its notice names the earlier reference."""
    root = _lines(tmp_path / "root", 30, 10)
    store = store_at(tmp_path / "s")
    first, second = search(root, "needle", store=store), search(root, "needle", store=store)
    assert first.earlier is None
    assert second.earlier == first.spool
    assert second.spool != first.spool
    assert str(first.spool) in second.text()
    assert search(root, "needle", store=store, ignore_case=True).earlier is None


def test_an_excerpt_is_short_however_long_the_match(tmp_path: Path, home: Path) -> None:
    """H1: a pattern that matches whole megabytes gives 200 bytes around its start."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root/min.js").write_bytes(b"x" * 50_000 + b"\xc3\xa4" * 100 + b"needle" + b"y" * 1_000_000)
    for pattern in (".*x.*", "needle.*", ".*y", "[^z]*needle"):
        found = search(tmp_path / "root", pattern, regex=True)
        assert found.matches >= 1
        for hit in found.hits:
            assert 100 <= len(hit.excerpt.encode()) <= 200
    assert "needle" in search(tmp_path / "root", "needle").hits[0].excerpt


def test_the_text_fits_its_cap(tmp_path: Path, home: Path) -> None:
    """Whatever paths and excerpts are: at most 40,960 bytes, and it says how many of the matches it shows."""
    folder = tmp_path / "root" / ("ä" * 100) / ("\x1b" * 200) / ("z" * 200)
    root = _lines(folder, 10, 30, "needle " + "\x02" * 190)
    found = search(tmp_path / "root", "needle")
    text = found.text()
    assert len(text.encode()) <= 40_960
    shown = text.count("needle")
    assert 0 < shown < 200
    assert f"the first {shown:,} are shown" in text
    assert len(found.text(cap=4000).encode()) <= 4000
    assert root.is_dir()


def test_a_line_longer_than_the_window_is_searched_in_windows(tmp_path: Path, home: Path) -> None:
    """Each window's first match, with its column."""
    (tmp_path / "one").write_bytes(b"." * 100_000 + b"needle" + b"." * 100_000 + b"needle")
    found = search(tmp_path / "one", "needle")
    assert [(hit.line, hit.column) for hit in found.hits] == [(1, 100_000), (1, 200_006)]
    assert d.LINE_WINDOW == 65_536
    assert d.LINE_OVERLAP == 1024


def test_large_files_are_skipped_unless_asked_for(tmp_path: Path, home: Path) -> None:
    """H2: more than 10 MiB is left out and said; big="stream" reads it, in pieces."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root/big.log").write_bytes(b"line\n" * 2_200_000 + b"needle\n")
    found = search(tmp_path / "root", "needle")
    assert found.hits == ()
    assert found.complete
    assert "left out: 1 larger than 10,485,760 bytes" in found.text()
    assert found.skipped[0].examples == (str(tmp_path / "root/big.log"),)
    assert search(tmp_path / "root", "needle", big="stream").hits[0].line == 2_200_001


def test_a_search_ends_at_its_number_of_files(tmp_path: Path, home: Path) -> None:
    """What was found by then is the answer."""
    root = _lines(tmp_path / "root", 20, 1)
    found = search(root, "needle", files=5)
    assert (found.matches, found.complete, found.files) == (5, False, 5)
    assert "not finished: 5 files were looked at; narrow the folder or the pattern" in found.text()


def test_a_search_ends_at_its_time(tmp_path: Path, home: Path) -> None:
    """Also with what was found by then."""
    root = _lines(tmp_path / "root", 400, 200)
    (root / "a.log").write_bytes(b"needle\n" + b"x" * 60_000_000)
    found = search(root, "e+dle", regex=True, timeout=0.001, big="stream")
    assert not found.complete
    assert "stopped after 0.001 s" in found.why


def test_binary_and_own_folders_are_left_out(tmp_path: Path, home: Path) -> None:
    """H4: the instance's home and the store's folder, wherever they are; what has a NUL in its first 8 KiB."""
    root = _lines(tmp_path / "root", 1, 1)
    (root / "store.db").write_bytes(b"SQLite format 3\0needle")
    store = store_at(root / "spool")
    writer = store.begin()
    writer.write(b"needle\n")
    writer.close()
    (root / "mine").mkdir()
    (root / "mine/x").write_text("needle")
    found = search(root, "needle", store=store, own=[root / "mine"])
    assert [hit.path for hit in found.hits] == [f"{root}/0000.txt"]
    assert {one.reason: one.count for one in found.skipped} == {"binary": 1, "midwatch's own folder": 2}
    (home / "journal").mkdir()
    (home / "journal/x").write_text("needle")
    assert search(home.parent / home.name / "..", "needle", include=["x"], files=10, timeout=5).hits == ()
    assert len(search(home, "needle").hits) == 1  # but who names it gets it


def test_names_that_are_no_text(tmp_path: Path, home: Path) -> None:
    """Bytes that are no UTF-8, newlines and escapes in names do not break the lines or the worker's JSON."""
    root = tmp_path / "root"
    root.mkdir()
    for name in (b"a\xff", b"b\nc", b"d\x1b[31m", b"e'\"\\"):
        with open(bytes(root) + b"/" + name, "wb") as file:
            file.write(b"needle \xff\x00\n"[:8])
    found = search(root, "needle")
    assert found.matches == 4
    text = found.text()
    assert "\x1b" not in text
    assert text.count("\n") == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pattern": ""}, "a pattern has"),
        ({"pattern": "a\nb"}, "a pattern has"),
        ({"pattern": "(", "regex": True}, "bad pattern"),
        ({"root": "/nowhere/at/all"}, "No such file"),
        ({"root": "/dev/zero"}, "neither a folder"),
        ({"timeout": 0}, "unlimited"),
        ({"files": -1}, "unlimited"),
        ({"most": True}, "unlimited"),
        ({"timeout": float("inf")}, "unlimited"),
        ({"big": "all"}, "big"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    tmp_path: Path, home: Path, options: dict[str, object], words: str
) -> None:
    """With a sentence, not with an empty result."""
    with pytest.raises(SearchError, match=words):
        search(**{"root": tmp_path, "pattern": "x", **options})  # type: ignore[arg-type]


def test_names_are_loaded_when_they_are_used() -> None:
    """The worker imports this package's neighbours without its __init__; others get it fast."""
    assert set(searching.__all__) == {"Hit", "SearchError", "SearchResult", "search"}
    with pytest.raises(AttributeError):
        searching.nothing  # noqa: B018
