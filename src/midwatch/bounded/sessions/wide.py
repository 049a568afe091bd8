"""How large a body becomes in JSON, and how many tokens it has, told while it passes by.

Exact for text, an upper bound for what is no UTF-8. At C speed: bytes are counted, nothing is escaped. Must not
keep any of it. Tests: tests/bounded/sessions/test_wide.py.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

_ONE_MORE = b'"\\\n\r\t\b\f'
_FIVE_MORE = bytes(byte for byte in range(32) if byte not in _ONE_MORE)

Counter = Callable[[str], int]


class Widths:
    """Feed it every piece of a body, then `end`, then read `wide` and `tokens`."""

    def __init__(self, counter: Counter | None = None) -> None:
        self.wide = 0
        self.tokens = 0
        self._size = 0
        self._counter = counter
        self._valid = True
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._loose = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes | memoryview, *, last: bool = False) -> None:
        for at in range(0, len(data), 65536):
            part = bytes(data[at : at + 65536])
            self._size += len(part)
            self.wide += len(part) + _escapes(part)
            self._look(part)
        if last:
            self.end()

    def end(self) -> None:
        """The body is complete."""
        self._look(b"", final=True)
        if not self._valid:
            self.wide += 2 * self._size  # an invalid byte becomes U+FFFD: three
        if self._counter is None:
            self.tokens = -(-self._size // 4)

    def _look(self, part: bytes, *, final: bool = False) -> None:
        if self._valid and not (part.isascii() and not self._decoder.getstate()[0]):
            try:
                self._decoder.decode(part, final)
            except UnicodeDecodeError:
                self._valid = False
        if self._counter is not None:
            text = self._loose.decode(part, final)
            self.tokens += max(0, int(self._counter(text))) if text else 0


def of_picture(size: int) -> int:
    """Bytes of JSON of a picture: base64."""
    return 4 * -(-size // 3)


def _escapes(part: bytes) -> int:
    kept = len(part)
    one = kept - len(part.translate(None, _ONE_MORE))
    return one + 5 * (kept - len(part.translate(None, _FIVE_MORE)))
