"""Frames between keeper and engine: four bytes of big-endian length, then one JSON object in UTF-8.
Must not know what the frames mean. Tests: tests/keeper/test_wire.py.
"""

import json

TYPE_CHECKING = False  # importing typing for real costs 0.3 MB
if TYPE_CHECKING:
    from typing import Any

Frame = dict[str, "Any"]
VERSION = 1
FD_VARIABLE = "MIDWATCH_KEEPER_FD"
MAX_FRAME = 8 << 20  # bytes; also the most we hold for an engine that does not read


def encode(message: Frame) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()
    return len(body).to_bytes(4, "big") + body


def decode(held: bytearray) -> list[Frame]:
    """Take the complete messages out of `held`; ValueError when the stream is not ours."""
    done: list[Frame] = []
    while len(held) >= 4:
        end = 4 + int.from_bytes(held[:4], "big")
        if end > MAX_FRAME + 4:
            raise ValueError(f"a frame claims {end - 4} bytes, the limit is {MAX_FRAME}")
        if len(held) < end:
            break
        message = json.loads(held[4:end])
        if not isinstance(message, dict):
            raise ValueError("a frame is not a JSON object")
        del held[:end]
        done.append(message)
    return done
