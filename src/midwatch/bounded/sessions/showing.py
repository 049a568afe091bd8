"""A body as it stands inside a JSON string: whole, or by both its ends with a sentence that says how to read the
rest.

At most one piece of 64 KiB is in memory, and what is given never exceeds the room that was promised, escapes and
notice counted. Must not choose. Tests: tests/bounded/sessions/test_assemble.py.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterator
from json.encoder import encode_basestring
from typing import Protocol

from midwatch.bounded import text as texts
from midwatch.bounded.sessions.choose import Shown
from midwatch.bounded.sessions.values import Item
from midwatch.policy import defaults_sessions as d

HOW = 'sessions_read(ref="{ref}", offset={offset})'
_HEAD_SHARE = 0.375  # 12 KiB of 32, as exec shows its output


class Seekable(Protocol):
    """A body as a file that can be read from anywhere."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...


def escape(text: str) -> bytes:
    """Text as it stands between the quotes of a JSON string."""
    return encode_basestring(text)[1:-1].encode("utf-8", "backslashreplace")


def stretch(body: Seekable, size: int) -> bytes:
    """`size` bytes from where the file stands, fewer only at its end: one read ends with its row."""
    found = bytearray()
    while len(found) < size and (data := body.read(size - len(found))):
        found += data
    return bytes(found)


def fragments(shown: Shown, body: Seekable, how: str = HOW) -> Iterator[bytes]:
    """The inside of the JSON string that shows this item."""
    item = shown.item
    if shown.gone:
        yield _bounded(f"[{shown.gone}: {item.mime}, {item.size:,} bytes. See it: {_call(how, item, 0)}]", shown.room)
    elif item.picture:
        yield from as_base64(body)
    elif not item.textual:
        yield _bounded(f"{texts.dump(body.read(512), item.size)}\n[Read it: {_call(how, item, 0)}]", shown.room)
    elif shown.whole:
        yield from as_text(body)
    else:
        yield ends(item, body, shown.room, how)


def as_text(body: Seekable) -> Iterator[bytes]:
    """All of it as escaped JSON text, a piece at a time; what is no UTF-8 becomes U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := body.read(d.PIECE):
        yield escape(decoder.decode(data))
    yield escape(decoder.decode(b"", True))


def as_base64(body: Seekable) -> Iterator[bytes]:
    """All of it in base64, a piece at a time."""
    kept = b""
    while data := body.read(d.PIECE):
        kept += data
        whole = len(kept) - len(kept) % 3
        yield base64.b64encode(kept[:whole])
        kept = kept[whole:]
    yield base64.b64encode(kept)


def ends(item: Item, body: Seekable, room: int, how: str) -> bytes:
    """Start and end of a text, and between them what is missing and how to read it: at most `room` bytes."""
    space = max(0, room - d.NOTICE_BYTES)
    body.seek(0)
    raw = stretch(body, min(item.size, int(space * _HEAD_SHARE) + 4))
    if texts.is_binary(raw):
        return _bounded(f"{texts.dump(raw, item.size)}\n[Read it: {_call(how, item, 0)}]", room)
    head, used = _fitting(raw[: texts.trim_end(raw)], int(space * _HEAD_SHARE), at_end=False)
    start = max(used, item.size - (space - len(head)))
    body.seek(start)
    raw = stretch(body, item.size - start)
    cut = texts.trim_start(raw)
    tail, kept = _fitting(raw[cut:], space - len(head), at_end=True)
    missing = item.size - used - kept
    notice = f"\n[{missing:,} of {item.size:,} bytes not shown here. Read on: {_call(how, item, used)}]\n"
    return head + escape(notice)[: max(0, room - len(head) - len(tail))] + tail


def _fitting(raw: bytes, room: int, *, at_end: bool) -> tuple[bytes, int]:
    """As much of one end as fits when it is cleaned and escaped, and how many raw bytes that is."""
    size = min(len(raw), room)
    for _ in range(8):
        part = raw[len(raw) - size :] if at_end else raw[:size]
        part = part[texts.trim_start(part) :] if at_end else part[: texts.trim_end(part)]
        shown = escape(texts.clean(part, cut=not at_end))
        if len(shown) <= room:
            return shown, len(part)
        size = min(size - 1, int(size * room / len(shown) * 0.97))
    return b"", 0


def _bounded(text: str, room: int) -> bytes:
    shown = escape(text)
    while len(shown) > room:
        text = text[: int(len(text) * room / len(shown) * 0.97)]
        shown = escape(text)
    return shown


def _call(how: str, item: Item, offset: int) -> str:
    return how.format(ref=item.ref, offset=offset)
