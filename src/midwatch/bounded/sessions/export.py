"""A session as JSON lines, streamed: one line an item, its body inside, a piece in memory at a time.

Text as text, anything else as base64 (`encoding`); text that is no UTF-8 too, so that nothing is lost. Must not
choose or cut. Tests: tests/bounded/sessions/test_export.py.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Iterator

from midwatch.bounded.sessions.errors import StoreError
from midwatch.bounded.sessions.showing import Seekable, as_base64, as_text
from midwatch.bounded.sessions.values import Item
from midwatch.policy import defaults_sessions as d


def lines(items: Iterable[Item], opened: Callable[[Item], Seekable]) -> Iterator[bytes]:
    """The bytes of the export, in pieces."""
    for item in items:
        fields = {
            "pos": item.pos, "kind": item.kind, "role": item.role, "at": item.at, "agent": item.agent,
            "name": item.name, "calls": item.calls,
            "mime": item.mime, "tokens": item.tokens, "size": item.size, "covers": item.covers,
            "more": item.more,
        }  # fmt: skip
        head = json.dumps({key: value for key, value in fields.items() if value or key in ("pos", "size")})
        try:
            text = _is_text(opened(item))
            body = opened(item)
        except StoreError as error:
            yield f'{head[:-1]}, "missing": {json.dumps(str(error))}}}\n'.encode()
            continue
        encoding = "" if text else '"encoding": "base64", '
        yield f'{head[:-1]}, {encoding}"body": "'.encode()
        yield from (as_text(body) if text else as_base64(body))
        yield b'"}\n'


def _is_text(body: Seekable) -> bool:
    """Is all of it UTF-8?"""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        while data := body.read(d.PIECE):
            decoder.decode(data)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True
