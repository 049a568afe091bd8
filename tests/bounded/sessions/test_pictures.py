"""Width and height from headers; nonsense is not known, never an error."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.bounded.sessions.pictures import dimensions, tokens

JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08" + struct.pack(">HH", 480, 640) + b"\x03\x01\x22\x00"
WEBP = b"RIFF\x00\x00\x00\x00WEBP"


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480), (640, 480)),
        (b"GIF89a" + struct.pack("<HH", 640, 480), (640, 480)), (JPEG, (640, 480)),
        (WEBP + b"VP8X" + bytes(8) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"), (640, 480)),
        (WEBP + b"VP8 " + bytes(10) + struct.pack("<HH", 640, 480), (640, 480)),
        (WEBP + b"VP8L" + bytes(4) + b"\x2f" + (639 | 479 << 14).to_bytes(4, "little") + bytes(9), (640, 480)),
        (b"BM123456", None), (b"", None), (b"\xff\xd8\xff", None),
    ],
)  # fmt: skip
def test_dimensions(head: bytes, size: tuple[int, int] | None) -> None:
    assert dimensions(head) == size


def test_tokens_by_pixels_or_bytes() -> None:
    assert tokens(JPEG, 10**6) == 410
    assert tokens(b"BM", 4000) == 1000


@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8", WEBP + b"VP8X", WEBP + b"VP8 "]),
    st.binary(max_size=200),
)
def test_any_header_is_read(start: bytes, rest: bytes) -> None:
    assert tokens(start + rest, 100) >= 0
