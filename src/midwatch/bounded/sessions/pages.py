"""One stretch of a body for a reader: text where it is text, base64 where it is not; never more than the inline cap.

Offsets are raw ones; a page never splits a character, so that all pages together are the body. Must not know where a
body lies. Tests: tests/bounded/sessions/test_store.py.
"""

from __future__ import annotations

import base64

from midwatch.bounded import text as texts
from midwatch.bounded.sessions.showing import Seekable, escape, stretch
from midwatch.bounded.sessions.values import Page


def page(ref: str, body: Seekable, size: int, offset: int, length: int, cap: int, *, raw: bool) -> Page:
    """`length` bytes from `offset` on, fewer when their JSON would be larger than `cap`. Raises ValueError."""
    if offset < 0 or length <= 0:
        raise ValueError(f"read: offset {offset}, length {length}: an offset is 0 or more, a length 1 or more")
    body.seek(min(offset, size))
    data = stretch(body, min(length, cap))
    binary = raw or texts.is_binary(data)
    if binary:
        data = data[: cap * 3 // 4]
        return _page(ref, base64.b64encode(data).decode(), offset, len(data), size, "base64")
    if offset + len(data) < size:
        data = data[: texts.trim_end(data)] or data
    while len(escape(text := data.decode("utf-8", "replace"))) > cap:
        data = data[: len(data) * 7 // 8]
        data = data[: texts.trim_end(data)] or data
    return _page(ref, text, offset, len(data), size, "text")


def _page(ref: str, text: str, offset: int, used: int, size: int, encoding: str) -> Page:
    following = offset + used
    return Page(
        ref=ref, text=text, offset=offset, size=size, encoding=encoding,
        next=following if used and following < size else None,
    )  # fmt: skip
