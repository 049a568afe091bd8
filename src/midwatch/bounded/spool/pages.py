"""One page of a spool or of a file: at most `inline_cap` bytes of text, its notice included, and where to read on.

By line: for reading, long lines shortened in their middle, of a line that returns to its start the last state. By
offset, or by line and column: every byte in turn, so that an endless line can be read, too; escape sequences are left
out. raw: nothing is changed; what is no UTF-8 comes as base64, and so does anything binary. Edges never split a
character, so pages in sequence are the output. Must not know where bytes lie. Tests: tests/bounded/test_spool_pages.py.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import Literal

import msgspec

from midwatch.bounded import text
from midwatch.bounded.limits import Limits
from midwatch.bounded.spool.errors import SpoolError
from midwatch.bounded.spool.meta import State
from midwatch.bounded.spool.reader import Source
from midwatch.policy import defaults_bounded as d

Encoding = Literal["text", "raw", "base64"]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """`offset` and `line` are of its first byte, the next ones of the first byte behind it."""

    ref: str
    state: State
    encoding: Encoding
    text: str
    offset: int
    next_offset: int
    line: int | None  # None: not known, the line began in the part that is not kept
    next_line: int | None
    eof: bool  # nothing follows, and nothing will
    bytes_total: int
    lines_total: int
    skipped: tuple[int, int] | None = None  # a stretch between what was asked for and this page that is not kept
    cut: int = 0  # bytes left out inside long lines
    notes: tuple[str, ...] = ()

    @property
    def data(self) -> bytes:
        """The page's bytes, of a raw or base64 page exactly those of the output."""
        if self.encoding == "base64":
            from binascii import a2b_base64

            return a2b_base64(self.text)
        return self.text.encode("utf-8", "surrogateescape")

    def notice(self, how: str = "spool_read(ref={ref}, offset={offset})") -> str:
        """One line about it, with the call that reads on."""
        return notice(self, how)


def read(
    source: Source,
    limits: Limits,
    *,
    offset: int | None = None,
    line: int | None = None,
    length: int | None = None,
    count: int | None = None,
    column: int = 0,
    raw: bool = False,
) -> Page:
    """From a byte or from a line on; `length` in bytes, `count` in lines, `column` in bytes inside the line."""
    for name, value, least in (
        ("offset", offset, 0), ("line", line, 1), ("length", length, 1), ("count", count, 1), ("column", column, 0),
    ):  # fmt: skip
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise SpoolError("usage", f"{name} is {value!r}: a whole number from {least} on")
    if offset is not None and line is not None:
        raise SpoolError("usage", "either an offset or a line")
    if column and line is None:
        raise SpoolError("usage", "a column needs its line")
    begin = offset or 0
    if line is not None:
        begin = _line(source, line, column)
    begin, skipped = _kept(source, begin)
    room = limits.inline_cap - d.PAGE_NOTICE
    most = min(length or room, room)
    if text.is_binary(source.read(*_first(source))):
        piece = _base64(source, begin, most, room)
    elif raw:
        piece = _raw(source, begin, most, room)
    elif line is not None and not column and length is None:
        piece = _lines(source, begin, room, min(count or limits.lines_cap, limits.lines_cap), limits.line_cap)
    else:
        stop = _line_end(source, line, begin) if line is not None else None
        piece = _bytes(source, begin, most, room, stop)
    return _page(source, piece, skipped)


class _Piece(msgspec.Struct, frozen=True):
    encoding: Encoding
    text: str
    begin: int
    end: int
    cut: int = 0


def _first(source: Source) -> tuple[int, int]:
    begin = source.info.kept[0][0] if source.info.kept else 0
    return begin, begin + d.BINARY_LOOK


def _kept(source: Source, begin: int) -> tuple[int, tuple[int, int] | None]:
    """The next byte that is kept, and what had to be stepped over."""
    kept = source.info.kept
    for first, last in kept:
        if begin < first:
            return first, (begin, first)
        if begin < last:
            return begin, None
    return (max(begin, kept[-1][1]) if kept else begin), None


def _line(source: Source, line: int, column: int) -> int:
    start = source.line_start(line)
    if start is not None:
        return start + column
    for begin, _ in source.info.kept[1:]:
        if column == 0 and line <= source.lines_before(begin) + 1:
            return source.info.kept[0][1]  # in the part that is not kept: read on behind it
    raise SpoolError("gone", f"line {line} begins in the part that is not kept; read by offset ({ranges(source)})")


def ranges(source: Source) -> str:
    """What is kept, in words."""
    return "kept: bytes " + " and ".join(f"{begin:,} to {end - 1:,}" for begin, end in source.info.kept)


def _line_end(source: Source, line: int, begin: int) -> int | None:
    end = source.line_start(line + 1)
    if end is not None and begin >= end and end < source.info.bytes_stored:
        raise SpoolError("usage", f"line {line} ends at byte {end:,}: it has no such column")
    return end


def _stretch(source: Source, begin: int, end: int) -> tuple[int, bytes, bool]:
    """Bytes from `begin` on, where they really begin (not in the middle of a character), and: is that all there is?"""
    data = source.read(begin, end)
    skip = _rest_of_character(source, begin, data)
    final = begin + len(data) >= source.info.bytes_stored and source.info.state != "running"
    data = data[skip:]
    if not final and data and not text.trim_end(data):  # less than one character was asked for
        more = source.read(begin + skip, begin + skip + 4)
        data = more[: max(1, next((n for n in range(1, 5) if text.trim_end(more[:n]) == n), 0))]
        final = False
    return begin + skip, data, final


def _rest_of_character(source: Source, begin: int, data: bytes) -> int:
    """How many of these bytes belong to a character that began before them."""
    if not begin or not (cut := text.trim_start(data)):
        return 0
    before = source.read(max(0, begin - 3), begin)
    if not before:
        return cut  # its beginning is not kept
    lead = before[text.trim_end(before) :]
    return cut if lead and _decodes(lead + data[:cut]) else 0


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _raw(source: Source, begin: int, most: int, room: int) -> _Piece:
    start, data, final = _stretch(source, begin, begin + most)
    whole = data if final else data[: text.trim_end(data)]
    try:
        return _Piece("raw", whole.decode("utf-8"), start, start + len(whole))
    except UnicodeDecodeError:
        return _base64(source, begin, most, room)


def _base64(source: Source, begin: int, most: int, room: int) -> _Piece:
    data = source.read(begin, begin + min(most, room // 4 * 3 - 3))
    if begin + len(data) < source.info.bytes_stored:
        data = data[: text.trim_end(data) or len(data)]  # the next page may be text, and begins with a character
    return _Piece("base64", b2a_base64(data, newline=False).decode(), begin, begin + len(data))


def _bytes(source: Source, begin: int, most: int, room: int, stop: int | None) -> _Piece:
    start, data, final = _stretch(source, begin, begin + most if stop is None else min(begin + most, max(stop, begin)))
    if not final and (stop is None or start + len(data) < stop):
        data = data[: whole_end(data)]
    while True:
        shown = _shown(data)
        if len(shown.encode()) <= room:
            return _Piece("text", shown, start, start + len(data))
        data = data[: whole_end(data[: max(1, len(data) * room // (len(shown.encode()) + 1))])]


def whole_end(data: bytes) -> int:
    """Where to cut so that neither a character nor an escape sequence is split."""
    end = text.trim_end(data)
    start = data.rfind(b"\x1b", max(0, end - d.PAGE_ESCAPE), end)
    if start > 0 and text.clean(data[start:end]).startswith("\\x1b"):
        end = start
    if end > 1 and data[end - 1 : end] == b"\r":
        end -= 1
    return end


def _shown(data: bytes) -> str:
    lines = data.split(b"\n")
    return "\n".join(text.clean(text.last_state(line)) for line in lines)


def _lines(source: Source, begin: int, room: int, count: int, line_cap: int) -> _Piece:
    out: list[str] = []
    used = cut = 0
    at, base, data = begin, begin, b""
    while len(out) < count:
        stop = data.find(b"\n", at - base)
        if stop < 0:
            base, data = at, source.read(at, at + d.READ_BUFFER)
            stop = data.find(b"\n")
            if not data:
                break
        if stop < 0 and len(data) >= d.READ_BUFFER:
            shown, end = _endless(source, at, data, line_cap)
        else:
            end = base + stop + 1 if stop >= 0 else base + len(data)
            shown = text.shown_line(data[at - base : stop if stop >= 0 else len(data)], line_cap)
        ended = stop >= 0 or source.read(end - 1, end) == b"\n"
        words = shown.text + "\n" if ended else shown.text
        size = len(words.encode())
        if used + size > room:
            break
        if not ended and source.info.state == "running" and out:
            break  # half a line: its rest is being written
        out.append(words)
        used, cut, at = used + size, cut + shown.cut, end
    return _Piece("text", "".join(out), begin, at, cut)


def _endless(source: Source, at: int, data: bytes, line_cap: int) -> tuple[text.Line, int]:
    """A line longer than the buffer: its end is found by the index, what lies between is not read."""
    line = source.lines_before(at) + 1
    found = source.line_start(line + 1)
    stretch = next(last for first, last in source.info.kept if first <= at < last)
    end = min(found if found is not None else stretch, stretch)
    body = end - (found is not None and end == found and source.read(end - 1, end) == b"\n")
    first = max(at + line_cap, body - d.READ_BUFFER // 8)
    back = source.read(first, body)
    if b"\r" in back:  # it returns to its start: what a terminal would show now
        shown = text.shown_line(text.last_state(back), line_cap)
        return text.Line(shown.text, body - at - min(body - at, len(shown.text.encode()))), end
    words = text.clean(text.last_state(data[:line_cap])) + text.clean(back[text.trim_start(back) :])
    return text.both_ends(words.encode(), line_cap, more=first - at - line_cap), end


def tail(source: Source, limits: Limits, lines: int) -> Page:
    """The last lines that fit."""
    if isinstance(lines, bool) or lines < 1:
        raise SpoolError("usage", f"lines is {lines!r}: a whole number from 1 on")
    room = limits.inline_cap - d.PAGE_NOTICE
    begin, end = source.info.kept[-1] if source.info.kept else (0, 0)
    first = max(begin, end - d.READ_BUFFER)
    data = source.read(first, end)
    if text.is_binary(source.read(*_first(source))):
        return read(source, limits, offset=max(begin, end - d.BINARY_LOOK), raw=True)
    lines = min(lines, limits.lines_cap)
    ended = data.endswith(b"\n")
    whole = source.line_start(max(1, source.lines_before(end) + 1 - ended - lines + 1))
    if whole is not None and whole < end:  # they may be long, but shortened they may fit
        whole_piece = _lines(source, whole, room, lines, limits.line_cap)
        if whole_piece.end == end:
            return _page(source, whole_piece, None)
    piece = text.from_end(data, room, lines, limits.line_cap, begins=first == 0)
    return _page(source, _Piece("text", piece.text, first + piece.begin, first + piece.end, piece.cut), None)


def _page(source: Source, piece: _Piece, skipped: tuple[int, int] | None) -> Page:
    info = source.info
    running = info.state == "running"
    eof = piece.end >= info.bytes_stored and not running
    notes = []
    if skipped:
        notes.append(f"bytes {skipped[0]:,} to {skipped[1] - 1:,} are not kept")
    if not info.complete and not running and eof and info.why:
        notes.append(info.why)
    return Page(
        ref=info.ref, state=info.state, encoding=piece.encoding, text=piece.text, offset=piece.begin,
        next_offset=piece.end, line=source.number(piece.begin), next_line=source.number(piece.end), eof=eof,
        bytes_total=info.bytes_total, lines_total=info.lines_total, skipped=skipped, cut=piece.cut,
        notes=tuple(notes),
    )  # fmt: skip


def notice(page: Page, how: str) -> str:
    """At most PAGE_NOTICE bytes."""
    lines = f", line {page.line:,}" if page.line is not None else ""
    if page.next_line is not None and page.line is not None and page.next_line - 1 > page.line:
        lines = f", lines {page.line:,} to {page.next_line - 1:,}"
    where = f"bytes {page.offset:,} to {page.next_offset - 1:,}"
    if page.next_offset == page.offset:
        where = f"nothing at byte {page.offset:,}"
    words = [f"{where} of {page.bytes_total:,}{lines}", *page.notes]
    if page.encoding == "base64":
        words.append("as base64")
    if page.cut:
        words.append(f"{page.cut:,} bytes inside long lines are not shown")
    if page.eof:
        words.append("this is the end")
    else:
        more = "still being written; more later: " if page.state == "running" else "more: "
        words.append(more + how.format(ref=page.ref, offset=page.next_offset, line=page.next_line or 1))
    line = "; ".join(words).encode()[: d.PAGE_NOTICE - 2]
    return "[" + line[: text.trim_end(line)].decode() + "]"
