"""Frames survive being torn anywhere, and nothing oversized is believed."""

from __future__ import annotations

import pytest

from midwatch.keeper import wire


def test_frames_torn_at_each_byte_arrive_whole() -> None:
    """Protocol: two frames cut at every possible place are the same two frames."""
    messages = [{"op": "spawn", "id": 1, "env": {"Ä": "\udc80"}}, {"op": "drop", "id": 2}]
    data = b"".join(map(wire.encode, messages))
    for cut in range(len(data) + 1):
        held = bytearray(data[:cut])
        first = wire.decode(held)
        held += data[cut:]
        assert first + wire.decode(held) == messages
    held, got = bytearray(), []
    for byte in data:
        held.append(byte)
        got += wire.decode(held)
    assert got == messages


@pytest.mark.parametrize("bad", [b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\1{"])
def test_nonsense_is_refused(bad: bytes) -> None:
    """A length over the limit, something that is no object, and broken JSON are errors at once."""
    with pytest.raises(ValueError, match=r"frame|Expecting"):
        wire.decode(bytearray(bad))
