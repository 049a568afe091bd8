"""Pages: bounded, in whole characters, nothing between them, and what is missing is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bounded.spooling import spooled, store_at

from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import SpoolError, Store
from midwatch.policy import defaults_bounded as d

MIB = 1 << 20


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("pages") / "s", Limits(spool_free=1, inline_cap=3000, line_cap=500))


def _pages(store: Store, ref: str, *, raw: bool = False) -> list[bytes]:
    out, at = [], 0
    while True:
        page = store.read(ref, offset=at, raw=raw)
        assert len(page.text.encode()) + len(page.notice().encode()) <= store.limits.inline_cap
        assert page.offset == at
        out.append(page.data)
        if page.eof:
            return out
        assert page.next_offset > at
        at = page.next_offset


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), max_size=40), st.integers(1, 200)
)
def test_raw_pages_are_the_output(store: Store, pieces: list[bytes], times: int) -> None:
    """A9, A17: whatever the bytes are, all pages together are them, and no page splits a character."""
    whole = b"".join(pieces) * times
    ref = spooled(store, whole).ref
    pages = _pages(store, ref, raw=True)
    assert b"".join(pages) == whole
    store.release(ref)


def test_s10_emoji_at_every_cut(store: Store) -> None:
    """S10: text of four-byte characters: pages are valid UTF-8 without U+FFFD and together they are the spool."""
    for shift in range(4):
        whole = b"x" * shift + "\U0001f600".encode() * 20_000
        ref = spooled(store, whole).ref
        pages = _pages(store, ref)
        assert b"".join(pages) == whole
        assert all("\ufffd" not in page.decode() for page in pages)
        assert store.read(ref, offset=shift + 1).offset == shift + 4
        assert store.read(ref, offset=shift, length=1).text == "\U0001f600"


def test_s11_binary_comes_as_base64(tmp_path: Path) -> None:
    """S11: five megabytes of noise: every page is base64, and together they are the spool."""
    store = store_at(tmp_path / "s")
    whole = os.urandom(5_000_000)
    ref = spooled(store, whole).ref
    page = store.read(ref, offset=1_000_000)
    assert page.encoding == "base64"
    assert page.data == whole[1_000_000 : page.next_offset]
    assert "as base64" in page.notice()
    assert b"".join(_pages(store, ref)) == whole
    assert store.read(ref, line=3).encoding == "base64"
    assert store.tail(ref).encoding == "base64"


def test_s12_progress_of_two_million_updates(tmp_path: Path) -> None:
    """S12: by line the last state and no escape byte; raw the very bytes."""
    store = store_at(tmp_path / "s")
    updates = [b"\r\x1b[32m%7d of 2000000\x1b[0m" % number for number in range(1, 2_000_001)]
    info = spooled(
        store,
        [
            b"start\n",
            *(b"".join(updates[at : at + 10_000]) for at in range(0, 2_000_000, 10_000)),
            b"\ndone\n",
        ],
    )
    page = store.read(info.ref, line=1)
    assert page.text.startswith("start\n")
    assert "\x1b" not in page.text
    raw = store.read(info.ref, offset=6, length=30_000, raw=True)
    assert raw.data == b"".join(updates)[: len(raw.data)]
    assert store.tail(info.ref, 2).text == "2000000 of 2000000\ndone\n"
    assert page.text == "start\n2000000 of 2000000\ndone\n"


def test_an_escape_sequence_is_not_split_by_a_page(store: Store) -> None:
    """Pages by offset of a coloured text show its text, wherever they are cut."""
    whole = b"".join(b"\x1b[38;5;%dmword%d\x1b[0m " % (number % 256, number) for number in range(2000))
    ref = spooled(store, whole).ref
    assert b"".join(_pages(store, ref)) == b"".join(b"word%d " % number for number in range(2000))
    assert d.PAGE_ESCAPE == 64


def test_a_page_and_its_notice_fit_the_cap(tmp_path: Path) -> None:
    """L5: also when controls make four bytes of one, and for lines, offsets, raw and the end of a cut spool."""
    store = Store(tmp_path / "s", Limits(spool_free=1, spool_cap=100_000))
    for whole in (b"\x01\x02\x7f" * 60_000, b"\n" * 200_000, b"\xff" * 9 + b"word " * 50_000, b"q" * 200_000):
        ref = spooled(store, whole).ref
        for page in (
            store.read(ref),
            store.read(ref, line=1),
            store.read(ref, raw=True),
            store.read(ref, offset=80_000),
            store.read(ref, offset=len(whole) - 5),
            store.tail(ref, 5000),
        ):
            size = len(page.text.encode()) + len(page.notice().encode())
            assert size <= 40_960
            assert page.next_offset > page.offset


def test_s4_one_line_of_300_mebibytes(tmp_path: Path) -> None:
    """S4: shown short, read by column at 299 MiB, and no newline is counted that is none."""
    store = store_at(tmp_path / "s")
    writer = store.begin()
    block = b"0123456789abcdef" * 65_536
    for _ in range(300):
        writer.write(block)
    info = writer.close()
    assert info.lines_total == 0
    page = store.read(info.ref, line=1)
    assert len(page.text.encode()) <= 2048
    assert page.cut > 48 * MIB - 2048
    far = store.read(info.ref, line=1, column=299 * MIB + 3)
    assert far.offset == 299 * MIB + 3
    assert far.text.startswith("3456789abcdef0123")
    assert far.line == 1
    assert not far.eof
    gap = store.read(info.ref, line=1, column=100 * MIB)
    assert gap.skipped == (100 * MIB, 284 * MIB)
    assert "bytes 104,857,600 to 297,795,583 are not kept" in gap.notice()


def test_lines_around_a_long_one(store: Store) -> None:
    """By line: a line longer than the read buffer is shown by both its ends, the next one follows."""
    whole = b"before\n" + b"a" * 300_000 + b"b" * 300_000 + b"\nafter\nlast"
    ref = spooled(store, whole).ref
    page = store.read(ref, line=1)
    lines = page.text.split("\n")
    assert (lines[0], lines[2], lines[3]) == ("before", "after", "last")
    assert lines[1].startswith("a" * 300 + "")
    assert lines[1].endswith("b" * 60)
    assert f"[+{page.cut} B]" in lines[1]
    assert len(lines[1].replace(f"[+{page.cut} B]", "")) + page.cut == 600_000
    assert page.eof
    assert page.next_offset == len(whole)
    assert (page.line, page.next_line) == (1, 4)


def test_a_column_behind_its_line_is_refused(store: Store) -> None:
    """Not answered by a page of the next line."""
    ref = spooled(store, b"four\nnext\n").ref
    assert store.read(ref, line=1, column=4).text == "\n"
    with pytest.raises(SpoolError, match="no such column"):
        store.read(ref, line=1, column=5)
    assert store.read(ref, line=2, column=2, length=2).text == "xt"


def test_lines_are_read_on_from_any(store: Store) -> None:
    """Pages by line, one after another, are all lines; the number of lines is bounded, too."""
    whole = b"".join(b"line %d\n" % number for number in range(1, 3001))
    ref = spooled(store, whole).ref
    out, line = "", 1
    for _ in range(100):
        page = store.read(ref, line=line, count=400)
        assert page.text.count("\n") <= 400
        out += page.text
        assert page.next_line is not None
        line = page.next_line
        if page.eof:
            break
    assert out.encode() == whole
    assert store.read(ref, line=2999).text == "line 2999\nline 3000\n"
    beyond = store.read(ref, line=9000)
    assert (beyond.text, beyond.eof) == ("", True)
    assert store.read(ref, offset=1 << 40).eof


def test_a_line_in_the_part_that_is_not_kept(tmp_path: Path) -> None:
    """The page goes on behind the gap and says what it stepped over; a column in such a line cannot be found."""
    store = store_at(tmp_path / "s", spool_cap=400_000)
    whole = b"".join(b"%09d\n" % number for number in range(1, 100_001))
    info = spooled(store, whole)
    page = store.read(info.ref, line=50_000, count=2)
    assert page.skipped == info.kept[0][1:] + info.kept[1][:1]
    assert page.text == "000090001\n000090002\n"
    assert page.line == 90_001
    with pytest.raises(SpoolError, match="begins in the part that is not kept"):
        store.read(info.ref, line=50_000, column=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": -1},
        {"line": 0},
        {"length": 0},
        {"count": -5},
        {"column": -1, "line": 1},
        {"column": 5},
        {"offset": 1, "line": 1},
        {"offset": True},
        {"offset": 1.5},
        {"line": "3"},
    ],
)
def test_a_range_that_is_none_is_refused(store: Store, wrong: dict[str, int]) -> None:
    """With its name and what it may be."""
    ref = spooled(store, b"x").ref
    with pytest.raises(SpoolError) as caught:
        store.read(ref, **wrong)  # type: ignore[arg-type]
    assert caught.value.code == "usage"


def test_a_spool_is_read_while_it_is_written(tmp_path: Path) -> None:
    """A18: what is there, state running, never the end; a half line is not shown as a line; later the rest."""
    store = store_at(tmp_path / "s", spool_cap=400_000)
    writer = store.begin()
    assert writer.ref is not None
    assert store.read(writer.ref).text == ""
    writer.write(b"one\ntwo\nthr")
    page = store.read(writer.ref, line=1)
    assert (page.text, page.state, page.eof, page.next_line) == ("one\ntwo\n", "running", False, 3)
    assert "still being written" in page.notice()
    writer.write(b"ee\n")
    assert store.read(writer.ref, offset=page.next_offset).text == "three\n"
    assert store.tail(writer.ref, 1).text == "three\n"
    for _ in range(100):
        writer.write(b"x" * 9_999 + b"\n")  # the ring goes round and round while it is read
        assert set(store.tail(writer.ref, 3).text) <= {"x", "\n", *"0123456789[+ B]", *"onetwhr"}
    writer.close()
    assert store.tail(writer.ref, 1).eof


def test_an_empty_spool(store: Store) -> None:
    """Nothing, at its end."""
    ref = spooled(store, b"").ref
    for page in (store.read(ref), store.read(ref, line=1), store.read(ref, raw=True), store.tail(ref)):
        assert (page.text, page.eof, page.next_offset) == ("", True, 0)


@pytest.mark.parametrize("length", [1, 2, 3, 5, None])
@pytest.mark.parametrize("data", [
    b"abc\xff" + "aé€😀\t".encode() * 30,
    b"\xe2\x82A\xe2\x82\xac\xc3\xf0\x9f\x98\x80\xf0\x9f\x98" * 8 + b"plain text " * 9,
    b"x" * 60 + b"\xff\n" + "é😀\t".encode() * 400,
])  # fmt: skip
def test_text_behind_bytes_that_are_none_is_read_to_the_byte(store: Store, data: bytes, length: int | None) -> None:
    """A page in base64 ended inside of a character, the next one, in text, began behind it: a byte was lost."""
    ref = spooled(store, data).ref
    found, offset, eof = b"", 0, False
    while not eof:
        page = store.read(ref, offset=offset, length=length, raw=True)
        assert page.offset == offset
        found, offset, eof = found + page.data, page.next_offset, page.eof
    assert found == data
