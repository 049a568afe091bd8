"""Tape: start and end of a stream, whatever the sizes of the reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from midwatch.bounded import tape as tapes
from midwatch.bounded.tape import Tape


@given(st.lists(st.integers(0, 70), max_size=60), st.integers(1, 40), st.integers(1, 60))
def test_both_ends_are_exact(sizes: list[int], start: int, end: int) -> None:
    """However a stream is cut into reads, its first and last bytes are the stream's."""
    tape = Tape(start, end, 70, count=True)
    stream = bytearray()
    for number, wanted in enumerate(sizes):
        size = min(wanted, len(tape.buffer))
        chunk = bytes((number * 7 + at) % 256 for at in range(size))
        tape.buffer[:size] = chunk
        tape.took(size)
        stream += chunk
    assert tape.total == len(stream)
    assert tape.lines == stream.count(b"\n")
    assert bytes(tape.start) == bytes(stream[:start])
    newest = tape.newest(end)
    assert newest == bytes(stream[len(stream) - len(newest) :])
    assert len(newest) == min(end, len(stream))


def test_a_quiet_command_costs_two_small_buffers() -> None:
    """A flood gets the large ones, both of them; what was kept before is not lost by that."""
    tape = Tape(10, 10, 1 << 20)
    assert len(tape.buffer) == tapes._SMALL
    for number in range(3):
        size = len(tape.buffer)
        tape.buffer[:] = bytes([number]) * size
        tape.took(size)
    assert len(tape.buffer) == 1 << 20
    assert tape.newest(10) == b"\2" * 10
