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
Again = Callable[[int, int], bytes]


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
    """One stream. `begin` once for each stretch of it, then `feed` its bytes in order, then `end`.

    Lines are counted when a match wants its number. `again(begin, end)` gives bytes that have passed once more, for
    that; without it they are counted as they pass.
    """

    def __init__(
        self, pattern: Pattern, found: Found, guard: Callable[[], None], again: Again | None = None
    ) -> None:
        self._pattern, self._found, self._guard, self._again = pattern, found, guard, again
        self._quick = pattern.plain or (pattern.must[0] if pattern.must else b"")

    def begin(self, offset: int, lines_before: int) -> None:
        """The first byte that is fed has this offset; so many newlines stand before it."""
        self._data = b""
        self._offset = offset  # of _data[0]
        self._at = 0  # where to look next
        self._known = self._line_begin = offset  # up to here lines are counted
        self._line = lines_before + 1
        self._last = -1  # offset of the last match

    def feed(self, data: bytes) -> bool:
        """False: whoever takes the matches has enough."""
        if self._again is None:
            self._count(self._offset + self._at)
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._offset += self._at
        self._at = 0
        return self._look(final=False)

    def end(self) -> bool:
        """The rest: a last line without newline."""
        return self._look(final=True)

    def _look(self, *, final: bool) -> bool:
        data, size = self._data, len(self._data)
        self._guard()
        while self._at < size:
            if self._quick and self._skip(size if final else data.rfind(b"\n", self._at) + 1):
                continue
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

    def _skip(self, stop: int) -> bool:
        """Go on to the next line that can match, before `stop`. False: this one can, or there is none in sight."""
        at = self._data.find(self._quick, self._at, stop)
        if at < 0:
            skipped, self._at = stop > self._at, max(stop, self._at)
            return skipped
        line = self._data.rfind(b"\n", self._at, at) + 1
        skipped, self._at = line > self._at, max(line, self._at)
        return skipped

    def _lines(self, begin: int, end: int) -> bool:
        """Whole lines; the first may be the rest of a long one."""
        self._guard()
        data, at = self._data, begin
        while at < end:
            if self._pattern.by_line:
                first, last = at, _line_end(data, at, end)
                start, _ = self._pattern.first(data[first:last], 0, last - first)
                start += first if start >= 0 else 0
            else:
                start, stop = self._pattern.first(data, at, end)
                if start < 0 or start >= end:
                    break
                first = data.rfind(b"\n", at, start) + 1 or at
                last = _line_end(data, start, end)
                if stop > last:  # it goes over the line's end: is there one that does not?
                    start, _ = self._pattern.first(data[first:last], 0, last - first)
                    start += first if start >= 0 else 0
            if start >= 0 and not self._tell(start, last):
                return False
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

    def _count(self, offset: int) -> None:
        """Know the line at this offset."""
        while self._known < min(offset, self._offset) and self._again is not None:
            data = self._again(self._known, min(offset, self._offset))
            if not data:
                self._known = self._offset  # the file was cut meanwhile
            self._counted(data, 0, len(data))
        self._counted(self._data, self._known - self._offset, offset - self._offset)

    def _counted(self, data: bytes, begin: int, end: int) -> None:
        if end <= begin:
            return
        lines = data.count(b"\n", begin, end)
        if lines:
            self._line += lines
            self._line_begin = self._known + data.rfind(b"\n", begin, end) + 1 - begin
        self._known += end - begin

    def _tell(self, start: int, line_end: int) -> bool:
        offset = self._offset + start
        if offset <= self._last:
            return True
        self._last = offset
        self._count(offset)
        first = max(self._line_begin - self._offset, start - _LEAD, 0)
        words = self._data[first : min(line_end, first + EXCERPT)]
        return self._found(self._line, offset, offset - self._line_begin, words)


def _line_end(data: bytes, at: int, end: int) -> int:
    last = data.find(b"\n", at, end)
    return end if last < 0 else last
