"""A9-A13: what a reader sees of raw bytes, and that nothing is claimed to be shown that is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.bounded import text
from midwatch.policy import defaults_bounded as d

BYTES = st.binary(max_size=300)
ANY_TEXT = st.text(max_size=200)
QUIET = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.just("\n"), max_size=200)


@given(ANY_TEXT, st.integers(0, 900))
def test_a_cut_of_valid_text_is_valid(words: str, at: int) -> None:
    """A9: both sides of any cut, trimmed, are valid UTF-8 and lose less than one character."""
    data = words.encode()
    before, after = data[:at], data[at:]
    kept, skipped = text.trim_end(before), text.trim_start(after)
    before[:kept].decode()
    after[skipped:].decode()
    assert len(before) - kept <= 3
    assert skipped <= 3


@given(BYTES)
def test_invalid_bytes_at_the_end_are_not_swallowed(data: bytes) -> None:
    """What trim_end leaves out could have become a character; anything else stays to be shown as U+FFFD."""
    rest = data[text.trim_end(data) :]
    assert len(rest) <= 3
    if rest:
        with pytest.raises(UnicodeDecodeError, match="unexpected end"):
            rest.decode()


@given(st.binary(max_size=3000))
def test_no_control_survives_and_json_stays_small(data: bytes) -> None:
    """A11: of any bytes only printable text, tabs and newlines are left; JSON doubles it at most."""
    shown = text.clean(data)
    assert not [c for c in shown if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160]
    assert len(json.dumps(shown, ensure_ascii=False).encode()) <= 2 * len(shown.encode()) + 2
    shown.encode()


@given(QUIET, st.integers(1, 400))
def test_a_head_is_exactly_the_start(words: str, room: int) -> None:
    """Text without controls is shown as it is, filled up to the room, and its offset is exact."""
    data = words.encode()
    piece = text.from_start(data, room, 10_000)
    assert piece.text == data[: piece.end].decode()
    assert piece.end == text.trim_end(data[: min(room, len(data))])


@given(QUIET, st.integers(1, 400))
def test_a_tail_is_exactly_the_end(words: str, room: int) -> None:
    """The last whole lines that fit, with an exact offset."""
    data = words.encode()
    piece = text.from_end(data, room, 10_000, begins=True)
    assert piece.text == data[piece.begin :].decode()
    assert piece.begin == 0 or data[piece.begin - 1 : piece.begin] == b"\n" or not piece.text
    assert len(piece.text.encode()) <= room


@given(st.binary(max_size=4000), st.integers(1, 500), st.integers(1, 40), st.booleans())
def test_no_piece_is_larger_than_its_room(data: bytes, room: int, lines: int, begins: bool) -> None:
    """A13: bytes and lines hold for any input, from both ends."""
    for piece in (
        text.from_start(data, room, lines, 256),
        text.from_end(data, room, lines, 256, begins=begins),
    ):
        assert len(piece.text.encode()) <= max(room, 64)
        assert piece.text.count("\n") <= lines
        assert 0 <= piece.begin <= piece.end <= len(data)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bPq#0\x1b\\after", "after"),
        (b"\x1b_apc\x1b\\\x1b^pm\x1b\\x", "x"),
        (b"\x1b(Bx\x1b=y\x1b7z", "xyz"),
        (b"bell\x07 nul\x00 del\x7f", "bell\\x07 nul\\x00 del\\x7f"),
        ("c1 \x9b31m".encode(), "c1 \\x9b31m"),
        (b"bad\xff", "bad�"),
        (b"\x1b[31", "\\x1b[31"),
    ],
)
def test_escape_sequences_are_removed(raw: bytes, shown: str) -> None:
    """A11: CSI, OSC, DCS, PM, APC go; a lone control is shown as what it is."""
    assert text.clean(raw) == shown


def test_a_sequence_that_the_cut_has_halved_is_no_text() -> None:
    assert text.clean(b"x\x1b[31", cut=True) == "x"
    assert text.clean(b"x\x1b", cut=True) == "x"


def test_an_unterminated_string_is_given_up() -> None:
    """A11: an OSC without an end within 4 KiB is text, so that it cannot hide what follows."""
    hidden = b"\x1b]0;" + b"a" * (d.STRING_MOST + 1) + b"\x07"
    assert text.clean(hidden).startswith("\\x1b]0;aaa")
    assert text.clean(b"\x1b]0;" + b"a" * 100 + b"\x07") == ""


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b" 10%\r 20%\r100%", "100%"),
        (b" 10%\r 20%\r100%\r", "100%"),
        (b"10%\r\x1b[2K\r", "10%"),
        (b"dos line\r", "dos line"),
        (b"\r\r", ""),
    ],
)
def test_a_carriage_return_keeps_the_last_state(raw: bytes, shown: str) -> None:
    """A12: one state of a progress bar, never an empty one when there was another."""
    assert text.shown_line(raw).text == shown


def test_dos_newlines_count_once() -> None:
    piece = text.from_start(b"a\r\nb\r\n", 100, 100, whole=True)
    assert (piece.text, piece.lines) == ("a\nb\n", 2)


def test_a_long_line_is_shown_by_both_ends() -> None:
    """A13: first 1,536 bytes, what is missing, last 256."""
    line = text.shown_line(b"a" * 5000 + b"z" * 300)
    assert line.text == "a" * 1536 + f"[+{5300 - 1536 - 256} B]" + "z" * 256
    assert len(line.text) <= d.LINE_CAP
    emoji = text.shown_line("😀".encode() * 2000)
    assert "�" not in emoji.text
    assert len(emoji.text.encode()) <= d.LINE_CAP


def test_lines_are_capped_too() -> None:
    piece = text.from_start(b"\n" * 10_000, 12288, 750)
    assert (piece.lines, piece.end) == (750, 750)
    piece = text.from_end(b"\n" * 10_000, 20480, 1250)
    assert (piece.lines, piece.begin) == (1250, 10_000 - 1250)


def test_nul_and_many_invalid_bytes_are_binary() -> None:
    """A10: a NUL in the first 8 KiB, or more than a tenth that is no UTF-8."""
    assert text.is_binary(b"text\0more")
    assert text.is_binary(bytes(range(128, 256)) * 40)
    assert not text.is_binary("the café in Köln is open on Sundays".encode("latin-1") * 100)
    assert not text.is_binary(("x" + "😀" * 4000).encode()[: d.BINARY_LOOK])
    assert not text.is_binary(b"x" * d.BINARY_LOOK + b"\0")
    assert not text.is_binary(b"")
    assert not text.is_binary("café".encode("latin-1"))


def test_binary_is_shown_as_hex() -> None:
    """A10: size, kind and 256 bytes."""
    shown = text.dump(b"\x89PNG\r\n" + bytes(5000), 5006)
    assert shown.startswith("[binary output: 5,006 bytes, PNG image")
    assert len(bytes.fromhex("".join(shown.split("\n")[1:]))) == d.BINARY_HEX
    assert text.sniff(b"\0" * 257 + b"ustar\0") == "tar archive"
    assert text.sniff(b"????") == "unknown data"


def test_the_end_of_an_endless_line_is_shown_by_its_end() -> None:
    piece = text.from_end(b"a" * 80_000 + b"END", 20_000, 100)
    assert piece.text.endswith("aEND")
    assert piece.begin == 80_003 - len(piece.text)
    assert len(piece.text) <= d.LINE_CAP
