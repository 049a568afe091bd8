"""What is shown of an output, and that its offsets say the truth about what is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from midwatch.bounded import preview
from midwatch.bounded.limits import DEFAULTS, Limits
from midwatch.bounded.preview import Kept, Shown

SMALL = Limits(inline_cap=2048, line_cap=256, lines_cap=50)


def kept(data: bytes, limits: Limits = DEFAULTS) -> Kept:
    return Kept(data[: limits.inline_cap], data[-limits.tail * 4 :], len(data), data.count(b"\n"))


def shown(data: bytes, limits: Limits = DEFAULTS) -> Shown:
    one = preview.show(kept(data, limits), limits, limits.inline_cap, 0)
    return one if one.whole else preview.show(kept(data, limits), limits, *preview.rooms(limits, 300))


def test_what_fits_is_shown_whole() -> None:
    data = b"line\n" * 100 + b"no newline at the end"
    one = shown(data)
    assert (one.whole, one.head, one.omitted) == (True, data.decode(), 0)
    assert one.text() == data.decode()


def test_a_cut_output_shows_its_exact_start_and_its_last_lines() -> None:
    """A3: the first 12,288 bytes; whole lines at the end; a line that says what is between."""
    data = b"".join(b"line number %06d\n" % number for number in range(20_000))
    one = shown(data)
    assert one.head.encode() == data[:12_288]
    assert data.endswith(one.tail.encode())
    assert 20_480 - 20 < len(one.tail) <= 20_480
    assert one.omitted == len(data) - len(one.head) - len(one.tail)
    assert one.next_line == data[:12_288].count(b"\n") + 1
    assert one.lines_left == data[one.head_end : one.tail_begin].count(b"\n")


@given(st.binary(max_size=6000) | st.text(max_size=3000).map(str.encode))
def test_the_numbers_add_up_for_any_output(data: bytes) -> None:
    """Nothing is shown twice, nothing is more than its room, what is not shown is counted."""
    one = shown(data, SMALL)
    assert 0 <= one.head_end <= one.tail_begin <= len(data)
    assert len(one.text().encode()) <= 2048
    assert one.text().count("\n") <= SMALL.lines_cap + 2
    assert one.whole == (not one.omitted and not one.binary)


def test_an_endless_line_is_shown_by_its_ends() -> None:
    """S4: of one line of 300 MB its first 1,536 bytes and its last 256, and where to go on."""
    data = b"a" * 300_000
    big = Kept(data[:40_960], data[-81_920:], 300_000_000, 0)
    one = preview.show(big, DEFAULTS, 12_288, 20_480)
    assert (one.head, one.tail) == ("a" * 1536, "a" * 256)
    assert (one.head_end, one.tail_begin, one.lines_left) == (1536, 300_000_000 - 256, 0)


def test_stderr_has_its_share() -> None:
    """A6: at least a quarter if it needs it, and what either does not need is the other's."""
    assert preview.shares(1000, 5000, 5000) == (750, 250)
    assert preview.shares(1000, 5000, 100) == (900, 100)
    assert preview.shares(1000, 100, 5000) == (100, 900)
    assert preview.shares(1000, 100, 100) == (100, 900)
    assert preview.shares(1000, 5000, 0) == (1000, 0)


def test_a_small_cap_leaves_room_for_the_notice() -> None:
    head, tail = preview.rooms(SMALL, 700)
    assert head + tail + 700 + preview.MARK == 2048
    assert 0.3 < head / tail < 0.7
