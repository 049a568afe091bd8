"""Which lines of a stream of bytes match. Part of the worker: standard library only.

A stream is looked at in stretches of whole lines, at most one window (64 KiB) long; a longer line is looked at window
by window, with an overlap, and may give one match for each. One match a line otherwise. Patterns work on bytes, so
\\w, \\d, \\b and ignoring case know ASCII only; a regular expression with other characters in it works on decoded
lines, slower. Must not open files. Tests: tests/bounded/test_search_match.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from midwatch.bounded.search.required import required

WINDOW = 65536  # bytes; these three are also in policy/defaults_bounded.py, which the worker cannot import
OVERLAP = 1024
EXCERPT = 200
_LEAD = 40  # bytes of an excerpt that stand before its match

# Where a match depends on what stands beyond its line, lines have to be looked at one by one.
_BEYOND = re.compile(rb"\(\?[=!<>]|[*+?}]\+|\\[AZz]")

Found = Callable[[int, int, int, bytes], bool]  # line, offset of the match, column, excerpt -> go on?


class Pattern:
    """A text or a regular expression, to be found in bytes. Raises re.error."""

    def __init__(self, words: str, *, regex: bool, ignore_case: bool) -> None:
        self.plain = b""
        self.must: tuple[bytes, ...] = ()
        self.from_start = False
        self.by_line = self.decoded = False
        encoded = words.encode("utf-8", "surrogateescape")
        if not regex and not ignore_case:
            self.plain = encoded
            return
        self.decoded = not words.isascii()
        flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0)
        if self.decoded:
            self._text = re.compile(words if regex else re.escape(words), flags)
            self.by_line = True
        else:
            self._bytes = re.compile(encoded if regex else re.escape(encoded), flags)
            self.by_line = bool(regex and _BEYOND.search(encoded))
            if regex and not ignore_case:
                self.must = required(encoded)
            # A match of ".*x" begins where its line does; trying every other place takes quadratic time.
            self.from_start = regex and words.startswith(".*") and "|" not in words and not self.by_line
            self._begun = re.compile(b"^" + encoded, flags) if self.from_start else self._bytes
        self.at_end = regex and ("$" in words or "\\" in words)

    at_end = False  # may a match be one only because a window ends there?

    def first(self, data: bytes, begin: int, end: int) -> tuple[int, int]:
        """Where the first match begins and ends; (-1, -1)."""
        if self.plain:
            at = data.find(self.plain, begin, end)
            return at, at + len(self.plain)
        if self.decoded:
            return self._decoded(data[begin:end], begin)
        if self.must:
            places = [data.find(text, begin, end) for text in self.must]
            if -1 in places:
                return -1, -1
            at = max(places)
            begin = data.rfind(b"\n", begin, at) + 1 or begin  # no line before that one can match
        hit = self._bytes.match(data, begin, end) if self.from_start else None
        hit = hit or self._begun.search(data, begin, end)
        return hit.span() if hit else (-1, -1)

    def _decoded(self, data: bytes, begin: int) -> tuple[int, int]:
        text = data.decode("utf-8", "surrogateescape")
        hit = self._text.search(text)
        if hit is None:
            return -1, -1
        before = begin + len(text[: hit.start()].encode("utf-8", "surrogateescape"))
        return before, before + len(hit.group().encode("utf-8", "surrogateescape"))


class Scanner:
    """One stream. `begin` once for each stretch of it, then `feed` its bytes in order, then `end`."""

    def __init__(self, pattern: Pattern, found: Found, guard: Callable[[], None]) -> None:
        self._pattern, self._found, self._guard = pattern, found, guard

    def begin(self, offset: int, lines_before: int) -> None:
        """The first byte that is fed has this offset; so many newlines stand before it."""
        self._data = b""
        self._offset = offset  # of _data[0]
        self._line = lines_before + 1  # of _data[_at]
        self._at = 0  # where to look next
        self._line_begin = offset
        self._last = -1  # offset of the last match

    def feed(self, data: bytes) -> bool:
        """False: whoever takes the matches has enough."""
        self._data = self._data[self._at :] + data if self._at or self._data else data
        self._offset += self._at
        self._at = 0
        return self._look(final=False)

    def end(self) -> bool:
        """The rest: a last line without newline."""
        return self._look(final=True)

    def _look(self, *, final: bool) -> bool:
        data, size = self._data, len(self._data)
        while self._at < size:
            stop = data.rfind(b"\n", self._at, self._at + WINDOW) + 1
            if stop:
                going = self._lines(self._at, stop)
                self._at = stop
            elif size - self._at >= WINDOW:
                going = self._window(self._at, self._at + WINDOW)
                self._at += WINDOW - OVERLAP
            elif final:
                going = self._lines(self._at, size)
                self._at = size
            else:
                return True
            if not going:
                return False
        return True

    def _lines(self, begin: int, end: int) -> bool:
        """Whole lines; the first may be the rest of a long one."""
        self._guard()
        if self._pattern.by_line:
            return self._each_line(begin, end)
        data, at = self._data, begin
        while True:
            start, stop = self._pattern.first(data, at, end)
            if start < 0 or start >= end:
                break
            first = data.rfind(b"\n", at, start) + 1 or at
            last = data.find(b"\n", start, end)
            last = end if last < 0 else last
            self._pass(at, first)
            if stop > last:  # it goes over the line's end: is there one that does not?
                start, stop = self._pattern.first(data[first:last], 0, last - first)
                start = start + first if start >= 0 else -1
            if start >= 0 and not self._tell(start, last):
                return False
            at = first
            if last >= end:
                break
            self._pass(at, last + 1)
            at = last + 1
        self._pass(at, end)
        return True

    def _each_line(self, begin: int, end: int) -> bool:
        data, at = self._data, begin
        while at < end:
            last = data.find(b"\n", at, end)
            last = end if last < 0 else last
            start, _ = self._pattern.first(data[at:last], 0, last - at)
            if start >= 0 and not self._tell(at + start, last):
                return False
            self._pass(at, min(last + 1, end))
            at = last + 1
        return True

    def _window(self, begin: int, end: int) -> bool:
        """A part of a line whose end is not in sight."""
        self._guard()
        after = max(begin, self._last + 1 - self._offset)
        start, stop = self._pattern.first(self._data, after, end)
        if start < 0 or (stop == end and self._pattern.at_end):
            return True
        return self._tell(start, end)

    def _pass(self, begin: int, end: int) -> None:
        """Behind these bytes: count their lines."""
        lines = self._data.count(b"\n", begin, end)
        if lines:
            self._line += lines
            self._line_begin = self._offset + self._data.rfind(b"\n", begin, end) + 1

    def _tell(self, start: int, line_end: int) -> bool:
        offset = self._offset + start
        if offset <= self._last:
            return True
        self._last = offset
        first = max(self._line_begin - self._offset, start - _LEAD, 0)
        words = self._data[first : min(line_end, first + EXCERPT)]
        return self._found(self._line, offset, offset - self._line_begin, words)
