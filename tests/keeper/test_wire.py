"""Frames survive being torn anywhere, and nothing oversized is believed."""

from __future__ import annotations

import pytest

from midwatch.keeper import wire
from midwatch.keeper.constants import MAX_FRAME


def test_frames_torn_at_each_byte_arrive_whole() -> None:
    """Protocol: two frames cut at every possible place are the same two frames."""
    messages = [{"op": "spawn", "id": 1, "env": {"Ä": "\udc80"}}, {"op": "list", "id": 2}]
    data = b"".join(map(wire.encode, messages))
    for cut in range(len(data) + 1):
        frames = wire.Frames()
        assert frames.feed(data[:cut]) + frames.feed(data[cut:]) == messages
    frames = wire.Frames()
    assert [m for i in range(len(data)) for m in frames.feed(data[i : i + 1])] == messages


@pytest.mark.parametrize("bad", [b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\1{"])
def test_nonsense_is_refused(bad: bytes) -> None:
    """A length over the limit, something that is no object, and broken JSON are errors at once."""
    with pytest.raises(ValueError, match=r"frame|Expecting"):
        wire.Frames().feed(bad)


def test_a_frame_over_the_limit_is_not_sent() -> None:
    """Bounds: what the other side would refuse is refused here."""
    with pytest.raises(ValueError, match="over the limit"):
        wire.encode({"x": "y" * MAX_FRAME})
