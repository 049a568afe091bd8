"""A21: images are judged by their header, before anything decodes them."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.bounded import image
from midwatch.bounded.image import ImageRefused
from midwatch.policy import defaults_bounded as d


def _png(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))


def _jpeg(width: int, height: int) -> bytes:
    app = b"\xff\xe0" + struct.pack(">H", 2 + 14) + b"JFIF\0" + bytes(9)
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + 60_000) + b"\xff\xc0" * 30_000
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8" + app + thumbnail + b"\xff\xff\xdb\0\3\0" + frame


def _webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


CASES = {
    "png": (_png(640, 480), "png"),
    "jpeg": (_jpeg(640, 480), "jpeg"),
    "gif": (b"GIF89a" + struct.pack("<HH", 640, 480) + b"\0\0\0", "gif"),
    "bmp": (b"BM" + bytes(16) + struct.pack("<ii", 640, -480) + bytes(20), "bmp"),
    "webp": (_webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 640, 480)), "webp"),
    "webp lossless": (_webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14)), "webp"),
    "webp extended": (_webp(b"VP8X", bytes(4) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")), "webp"),
}


@pytest.mark.parametrize("name", CASES)
def test_an_image_is_judged_by_its_header(name: str) -> None:
    """Kind and size; too many bytes or pixels are refused with both numbers; a cut header is said."""
    data, kind = CASES[name]
    found = image.judge(data, 1000)
    assert (found.kind, found.width, found.height, found.mime) == (kind, 640, 480, f"image/{kind}")
    with pytest.raises(ImageRefused, match="5,242,880 are allowed"):
        image.judge(data, d.IMAGE_BYTES + 1)
    with pytest.raises(ImageRefused, match="640 x 480 pixels"):
        image.judge(data, 1000, pixels=640 * 480 - 1)
    for cut in range(len(data) - 20, 0, -max(1, len(data) // 50)):
        try:
            assert image.judge(data[:cut], 1000) == found
        except ImageRefused:
            continue


def test_a_bomb_is_refused() -> None:
    """A few hundred bytes that would be 16 GB of pixels."""
    with pytest.raises(ImageRefused, match=r"65,535 x 65,535 pixels, at most 40,000,000"):
        image.judge(_png(65_535, 65_535), 300)


@given(st.binary(max_size=200), st.sampled_from([data[:n] for data, _ in CASES.values() for n in (0, 4, 12, 30)]))
def test_garbage_is_refused_or_an_image(rest: bytes, head: bytes) -> None:
    """No other exception, no endless loop."""
    try:
        assert image.judge(head + rest, 100).width > 0
    except ImageRefused:
        return


def test_files(tmp_path: Path) -> None:
    """Only the header is read, of regular files."""
    path = tmp_path / "big.png"
    path.write_bytes(_png(10, 10))
    os.truncate(path, 1 << 40)
    with pytest.raises(ImageRefused, match="1,099,511,627,776 bytes"):
        image.look(path)
    assert image.look(path, size=1 << 41).width == 10
    os.mkfifo(tmp_path / "fifo")
    for other in (tmp_path / "fifo", Path("/dev/zero"), tmp_path):
        with pytest.raises(ImageRefused, match="regular file"):
            image.look(other)
