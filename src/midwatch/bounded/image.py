"""An image's kind and size by its header, before anything decodes it: PNG, JPEG, GIF, WebP, BMP.

A file of 200 kB can become gigabytes once decoded, so whoever hands images to a model asks here first. Reads at most
256 KiB. Must not decode. Tests: tests/bounded/test_image.py.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

import msgspec

from midwatch.policy import defaults_bounded as d

_READ = 256 << 10  # a JPEG's size may stand behind a thumbnail and a colour profile
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's start-of-frame markers


class ImageRefused(Exception):
    """Not an image, a damaged one, or one that is too large. Says what it is and what is allowed."""


class Image(msgspec.Struct, frozen=True):
    kind: str
    width: int
    height: int
    size: int  # bytes of the file

    @property
    def mime(self) -> str:
        return f"image/{self.kind}"


def look(path: str | Path, *, size: int = d.IMAGE_BYTES, pixels: int = d.IMAGE_PIXELS) -> Image:
    """What it is, if it may be decoded. Raises ImageRefused, OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ImageRefused(f"{path} is not a regular file")
        return judge(os.pread(fd, _READ, 0), found.st_size, size=size, pixels=pixels)
    finally:
        os.close(fd)


def judge(first: bytes, total: int, *, size: int = d.IMAGE_BYTES, pixels: int = d.IMAGE_PIXELS) -> Image:
    """By the first bytes of `total`. Raises ImageRefused."""
    try:
        kind, width, height = _header(first)
    except (struct.error, IndexError):
        raise ImageRefused("the image's header is cut off") from None
    if not width or not height:
        raise ImageRefused(f"a {kind} image of {width} x {height} pixels has nothing in it")
    if total > size:
        raise ImageRefused(f"the image has {total:,} bytes, at most {size:,} are allowed")
    if width * height > pixels:
        raise ImageRefused(f"the image has {width:,} x {height:,} pixels, at most {pixels:,} in all are allowed")
    return Image(kind, width, height, total)


def _header(first: bytes) -> tuple[str, int, int]:
    if first.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png", *struct.unpack_from(">II", first, 16)
    if first.startswith((b"GIF87a", b"GIF89a")):
        return "gif", *struct.unpack_from("<HH", first, 6)
    if first.startswith(b"\xff\xd8\xff"):
        return _jpeg(first)
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return _webp(first)
    if first.startswith(b"BM"):
        width, height = struct.unpack_from("<ii", first, 18)
        return "bmp", abs(width), abs(height)
    raise ImageRefused("not a PNG, JPEG, GIF, WebP or BMP image")


def _jpeg(first: bytes) -> tuple[str, int, int]:
    at = 2
    while True:
        if first[at] != 0xFF:
            raise ImageRefused("the JPEG image's header is damaged")
        marker = first[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", first, at + 5)
            return "jpeg", width, height
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        else:
            at += 2 + max(2, struct.unpack_from(">H", first, at + 2)[0])


def _webp(first: bytes) -> tuple[str, int, int]:
    kind = first[12:16]
    if kind == b"VP8X":
        return "webp", 1 + int.from_bytes(first[24:27], "little"), 1 + int.from_bytes(first[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", first, 21)[0]
        return "webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", first, 26)
        return "webp", width & 0x3FFF, height & 0x3FFF
    raise ImageRefused("a WebP image of an unknown kind")
