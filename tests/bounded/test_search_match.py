"""The worker's matching, against Python's own line by line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midwatch.bounded.search import match
from midwatch.bounded.search.match import Pattern, Scanner
from midwatch.policy import defaults_bounded as d

PATTERNS = (
    "a",
    "ab",
    "^a",
    "b$",
    "a.*b",
    "[^b]+",
    r"\s+b",
    "a|^$",
    "(?:ab)+",
    "a(?!b)",
    "(?<=a)b",
    r"\Ab",
    r"b\Z",
    "a++b",
    "",
    r"a\b",
    "x?",
    r"[\s\S]b",
    ".*b",
    ".*a.*b$",
    ".*",
    ".*a|b",
    "(a)+ b",
    ".*?b",
)


def scan(pattern: Pattern, pieces: list[bytes]) -> list[tuple[int, int, int]]:
    """Both ways of counting lines have to agree."""
    whole = b"".join(pieces)
    found = _scan(pattern, pieces, None)
    step = 7 if len(whole) < 1000 else 9999
    assert _scan(pattern, pieces, lambda begin, end: whole[begin : min(end, begin + step)]) == found
    return found


def _scan(pattern: Pattern, pieces: list[bytes], again: match.Again | None) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []

    def take(line: int, offset: int, column: int, excerpt: bytes) -> bool:
        assert len(excerpt) <= match.EXCERPT
        found.append((line, offset, column))
        return True

    scanner = Scanner(pattern, take, lambda: None, again)
    scanner.begin(0, 0)
    for piece in pieces:
        scanner.feed(piece)
    scanner.end()
    return found


@settings(max_examples=400)
@given(
    st.sampled_from([one for one in PATTERNS if one]),
    st.lists(st.text("ab \n", max_size=30).map(str.encode), max_size=6),
    st.booleans(),
)
def test_as_line_by_line(words: str, pieces: list[bytes], ignore_case: bool) -> None:
    """Whatever the pieces are, and whether a pattern could match across lines or looks beyond them."""
    whole = b"".join(pieces)
    expected, offset = [], 0
    flags = re.IGNORECASE if ignore_case else 0
    for number, line in enumerate(whole.split(b"\n"), 1):
        hit = re.search(words.encode(), line, flags)
        if hit and (offset < len(whole)):
            expected.append((number, offset + hit.start(), hit.start()))
        offset += len(line) + 1
    assert scan(Pattern(words, regex=True, ignore_case=ignore_case), pieces) == expected


@given(
    st.lists(st.text("ab\n", max_size=30).map(str.encode), max_size=6), st.text("ab", min_size=1, max_size=3)
)
def test_texts_as_line_by_line(pieces: list[bytes], words: str) -> None:
    """One match a line, its first."""
    whole = b"".join(pieces)
    lines = whole.split(b"\n")
    expected = [number for number, line in enumerate(lines, 1) if words.encode() in line]
    assert [line for line, _, _ in scan(Pattern(words, regex=False, ignore_case=False), pieces)] == expected


def test_other_alphabets() -> None:
    """A text is found as its bytes; an expression with such letters knows them as letters."""
    data = "größe\nGRÖSSE\nstraße und größer\n".encode()
    assert [line for line, _, _ in scan(Pattern("größe", regex=False, ignore_case=False), [data])] == [1, 3]
    assert [line for line, _, _ in scan(Pattern("GRÖ.?E?", regex=True, ignore_case=True), [data])] == [
        1,
        2,
        3,
    ]
    column = scan(Pattern("g[rö]{2}ß", regex=True, ignore_case=False), [data])[-1]
    assert column[2] == len("straße und ".encode())
    assert scan(Pattern("ä", regex=True, ignore_case=False), [b"\xff\xfe\n\xc3\xa4\n"]) == [(2, 3, 0)]


@pytest.mark.parametrize("size", [1, 1000, 65_535, 65_536, 65_537, 300_000])
def test_long_lines_are_looked_at_in_windows(size: int) -> None:
    """Matches in one long line: each window's first, none twice, across windows too, with its column."""
    line = bytearray(b"." * 1_000_000)
    places = [0, 65_533, 131_000, 200_000, 700_001, 999_994]
    for place in places:
        line[place : place + 6] = b"needle"
    whole = b"first\n" + bytes(line) + b"\nneedle\n"
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)] if size > 1000 else [whole]
    for regex in (False, True):
        found = scan(Pattern("needle", regex=regex, ignore_case=False), pieces)
        assert [column for number, _, column in found if number == 2] == places
        assert [offset for number, offset, _ in found if number == 2] == [6 + place for place in places]
        assert found[-1] == (3, 6 + 1_000_001, 0)


def test_a_window_is_no_line() -> None:
    """^ and $ do not match where a window begins or ends."""
    data = b"x" * 500_000 + b"\n"
    assert len(scan(Pattern("^x", regex=True, ignore_case=False), [data])) == 1
    assert scan(Pattern("xx$", regex=True, ignore_case=False), [data])[-1][2] == 499_998
    assert len(scan(Pattern("x{3}$", regex=True, ignore_case=False), [data])) == 1


def test_its_numbers_are_the_figures() -> None:
    """The worker is stdlib only and has them again."""
    assert (match.WINDOW, match.OVERLAP, match.EXCERPT) == (d.LINE_WINDOW, d.LINE_OVERLAP, d.EXCERPT)
