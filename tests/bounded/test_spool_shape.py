"""Where bytes lie in a spool's data file, and what its index says about them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from midwatch.bounded.spool import shape
from midwatch.bounded.spool.shape import Header, Shape
from midwatch.policy import defaults_bounded as d

SHAPES = st.builds(Shape, st.integers(1, 200), st.integers(1, 200))


@given(SHAPES, st.integers(0, 2000))
def test_what_is_kept_lies_in_different_places(made: Shape, stored: int) -> None:
    """A5: the first and the last bytes, all inside the file, none twice."""
    places = [
        at + number
        for begin, end in made.kept(stored)
        for at, size in made.pieces(begin, end)
        for number in range(size)
    ]
    assert len(places) == len(set(places)) == min(stored, made.head + made.ring)
    assert all(0 <= place < made.file_bytes(stored) for place in places)


@given(SHAPES, st.integers(0, 2000))
def test_a_ring_in_order_reads_forward(made: Shape, stored: int) -> None:
    """With its turn, what is kept is the file from its first to its last byte (adoption relies on it)."""
    turn = made.turn(made.kept(stored))
    if stored <= made.head + made.ring:
        assert turn == 0
        return
    places = [
        at + number
        for begin, end in made.kept(stored)
        for at, size in made.pieces(begin, end, turn)
        for number in range(size)
    ]
    assert places == list(range(made.head + made.ring))


@given(SHAPES, st.integers(0, 1000), st.integers(0, 500))
def test_what_is_about_to_be_overwritten_is_gone(made: Shape, stored: int, more: int) -> None:
    """No byte of a write that is under way lands on one that counts as kept."""
    touched = {at + n for at, size in made.pieces(stored, stored + more) for n in range(size)}
    kept = made.kept(stored, stored + more)
    places = {at + n for begin, end in kept for at, size in made.pieces(begin, end) for n in range(size)}
    assert not touched & places
    assert all(begin <= end <= stored for begin, end in kept)


def test_the_index_does_not_grow_with_the_lines() -> None:
    """A8: a full spool's index has some 8 kB, of empty lines as of one long line; one block is scanned for a line."""
    assert Shape(48 << 20, 16 << 20).index_bytes < 9000
    assert d.SPOOL_BLOCK == shape.BLOCK == 65536


@given(st.integers(1, 1 << 40), st.data())
def test_a_damaged_header_is_not_believed(seen: int, data: st.DataObject) -> None:
    """Any changed byte, any cut: None, never other numbers."""
    stored = data.draw(st.integers(0, seen))
    header = Header(seen, seen // 2, stored, 0, 48 << 20, 16 << 20, stored)
    packed = header.pack()
    assert shape.unpack(packed) == header
    at = data.draw(st.integers(0, len(packed) - 5))
    wrong = bytearray(packed)
    wrong[at] ^= data.draw(st.integers(1, 255))
    assert shape.unpack(bytes(wrong)) is None
    assert shape.unpack(packed[:at]) is None
