"""Frames between keeper and engine: four bytes of big-endian length, then one JSON object in UTF-8.

Knows nothing of what the frames mean. Tests: tests/keeper/test_wire.py.
"""

from __future__ import annotations

import json

from midwatch.keeper.constants import MAX_FRAME

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing for real costs the keeper memory
    from typing import Any


def encode(message: dict[str, Any]) -> bytes:
    """Return the frame of one message; ValueError when it is too large to send."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME:
        raise ValueError(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return len(body).to_bytes(4, "big") + body


class Frames:
    """Puts frames together again from whatever pieces the socket delivers."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = bytearray()

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        """Add bytes, return the messages they complete; ValueError when the stream is not ours."""
        self.held += piece
        done: list[dict[str, Any]] = []
        while len(self.held) >= 4:
            end = 4 + int.from_bytes(self.held[:4], "big")
            if end > MAX_FRAME + 4:
                raise ValueError(f"a frame claims {end - 4} bytes, the limit is {MAX_FRAME}")
            if len(self.held) < end:
                break
            message = json.loads(self.held[4:end])
            del self.held[:end]
            if not isinstance(message, dict):
                raise ValueError("a frame is not a JSON object")
            done.append(message)
        return done
