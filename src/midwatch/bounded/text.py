"""Raw bytes of an output as text for a reader: whole lines, UTF-8, no escape sequences, nothing that blows up in JSON.

Pure functions over at most a few hundred KiB; offsets that they return are raw ones, so that what is shown can be told
from what is left out. Whether anything is left out is decided by who asks (preview.py, the spool's pages). Must not
read files. Tests: tests/bounded/test_text.py.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from midwatch.policy import defaults_bounded as d

_STRING = rf"[^\x07\x1b]{{0,{d.STRING_MOST}}}(?:\x07|\x1b\\)"  # up to BEL or ST
_ESCAPES = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # CSI
    rf"|[\]PX^_]{_STRING}"  # OSC DCS SOS PM APC
    r"|[ -/]+[0-~]"  # character sets and the like
    r"|[0-Z\\`-~]"  # two characters (neither [ nor ] nor ^ nor _)
    r")"
)
_CUT_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[ -/]*)?\Z")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LONE = re.compile(r"[\ud800-\udfff]")
_PLAIN = re.compile(rb"[^\x00-\x08\x0b-\x1f\x7f-\xff]*\Z")  # printable ASCII, tab, newline: the usual case

_STRAY = 3  # bytes in another encoding make no binary of a few words
_MAGIC = (
    (b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip"), (b"\x89PNG\r\n", "PNG image"), (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"), (b"%PDF-", "PDF"), (b"\x7fELF", "ELF program"), (b"SQLite format 3\0", "SQLite database"),
    (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"7z\xbc\xaf\x27\x1c", "7-zip"),
    (b"\xcf\xfa\xed\xfe", "Mach-O program"), (b"\xca\xfe\xba\xbe", "Java class or Mach-O"), (b"\0asm", "WebAssembly"),
    (b"OggS", "Ogg"), (b"fLaC", "FLAC audio"), (b"RIFF", "RIFF (WAV, AVI or WebP)"), (b"ID3", "MP3 audio"),
    (b"\xff\xfe", "UTF-16 text"), (b"\xfe\xff", "UTF-16 text"),
)  # fmt: skip


class Line(NamedTuple):
    """One line as shown. `cut`: bytes of it that are not."""

    text: str
    cut: int = 0


class Piece(NamedTuple):
    """A stretch of output as shown: raw offsets of its first byte and behind its last one."""

    text: str
    begin: int
    end: int
    cut: int = 0  # bytes left out inside, because their line is too long
    lines: int = 0
    cut_at: int = 0  # where the first of them is, or the start of its line


def trim_end(data: bytes) -> int:
    """How much of `data` ends at a character's boundary: a code point that is cut at its end is left out, invalid bytes
    are not."""
    for back in range(1, min(3, len(data)) + 1):
        lead = data[-back]
        if lead < 0x80:
            break
        if lead >= 0xC0:
            width = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4 if lead < 0xF8 else 0
            return len(data) - back if width > back and _begins(data[-back:]) else len(data)
    return len(data)


def _begins(sequence: bytes) -> bool:
    """Could these bytes be completed to one character?"""
    try:
        sequence.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


def trim_start(data: bytes) -> int:
    """How many bytes at the start belong to a character whose beginning is missing (0 to 3)."""
    cut = 0
    while cut < min(3, len(data)) and 0x80 <= data[cut] < 0xC0:
        cut += 1
    return cut


def is_binary(first: bytes) -> bool:
    """By the first bytes of an output: a NUL, or too much that is no UTF-8."""
    look = first[: d.BINARY_LOOK]
    if 0 in look:
        return True
    look = look[: trim_end(look)] if len(first) >= d.BINARY_LOOK else look
    return len(_LONE.findall(look.decode("utf-8", "surrogateescape"))) > max(_STRAY, d.BINARY_SHARE * len(look))


def sniff(first: bytes) -> str:
    """What kind of data begins so, in words; "unknown data"."""
    if first[257:262] == b"ustar":
        return "tar archive"
    if first[4:8] == b"ftyp":
        return "MP4 or HEIF"
    return next((name for magic, name in _MAGIC if first.startswith(magic)), "unknown data")


def dump(first: bytes, total: int) -> str:
    """Binary output for a reader: size, kind, the first bytes in hex."""
    shown = first[: d.BINARY_HEX]
    rows = [shown[at : at + 16].hex(" ") for at in range(0, len(shown), 16)]
    head = f"[binary output: {total:,} bytes, {sniff(first)}; the first {len(shown)} in hex]"
    return "\n".join((head, *rows))


def clean(data: bytes, *, cut: bool = False) -> str:
    """One line's bytes, or several lines', as text: no escape sequences, other controls as \\xNN, invalid bytes as
    U+FFFD. `cut`: the end was cut off, half a sequence there is no text."""
    if _PLAIN.match(data):
        return data.decode("ascii")
    text = data.decode("utf-8", "replace")
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
        if cut:
            text = _CUT_ESCAPE.sub("", text)
    return _CONTROLS.sub(_escaped, text)


def _escaped(hit: re.Match[str]) -> str:
    return f"\\x{ord(hit.group()):02x}"


def last_state(line: bytes) -> bytes:
    """What a terminal would show of a line that returns to its start: its last part that is not empty."""
    if b"\r" not in line:
        return line
    parts = line.split(b"\r")
    for part in reversed(parts):
        if part and _ESCAPES.sub("", part.decode("utf-8", "replace")).strip():
            return part
    return b""


def shown_line(line: bytes, cap: int = d.LINE_CAP, *, cut: bool = False) -> Line:
    """One line without its newline, at most `cap` bytes of UTF-8: a longer one by both its ends."""
    text = clean(last_state(line), cut=cut)
    if len(text) <= cap // 4 or len(text.encode()) <= cap:
        return Line(text)
    return both_ends(text.encode(), cap)


def both_ends(data: bytes, cap: int, more: int = 0) -> Line:
    """The start and the end of a line that is too long; `more`: bytes between that `data` does not have."""
    front = data[: int(cap * d.LINE_HEAD)]
    back = data[len(data) - int(cap * d.LINE_TAIL) :]
    front, back = front[: trim_end(front)], back[trim_start(back) :]
    gone = len(data) - len(front) - len(back) + more
    return Line(f"{front.decode()}[+{gone} B]{back.decode()}", gone)


def from_start(data: bytes, room: int, lines: int, line_cap: int = d.LINE_CAP, *, whole: bool = False) -> Piece:
    """What fits of the start into `room` bytes of UTF-8 and `lines`. `whole`: `data` ends where the output ends."""
    out: list[str] = []
    used = end = gone = cut_at = 0
    while end < len(data) and len(out) < lines:
        stop = data.find(b"\n", end)
        ended = stop >= 0
        raw = data[end : stop if ended else len(data)]
        if not ended and not whole:
            raw = raw[: trim_end(raw)]
            if len(raw) > line_cap and b"\r" not in raw:  # nobody knows here how long it is
                part, taken = _fitting(raw, Line(clean(raw)), min(room - used, int(line_cap * d.LINE_HEAD)))
                return Piece("".join((*out, part)), 0, end + taken, gone, len(out) + 1, cut_at)
        shown = shown_line(raw, line_cap, cut=not ended and not whole)
        size = len(shown.text.encode()) + ended
        if used + size > room:
            part, taken = _fitting(raw, shown, room - used)
            if taken:
                out.append(part)
            return Piece("".join(out), 0, end + taken, gone, len(out), cut_at)
        out.append(shown.text + "\n" if ended else shown.text)
        if shown.cut and not gone:
            cut_at = end + _front(raw, shown, line_cap)
        used, gone, end = used + size, gone + shown.cut, end + len(raw) + ended
    return Piece("".join(out), 0, end, gone, len(out), cut_at)


def _front(raw: bytes, shown: Line, line_cap: int) -> int:
    """How much of a line that is cut is shown before the cut; 0 when it is not shown as it is (colours, returns)."""
    part = raw[: int(line_cap * d.LINE_HEAD)]
    part = part[: trim_end(part)]
    return len(part) if shown.text.startswith(part.decode("utf-8", "replace")) else 0


def _fitting(raw: bytes, shown: Line, room: int) -> tuple[str, int]:
    """The start of a line that does not fit, if it is shown as it is: then its raw length is known."""
    part = raw[: max(0, room)]
    part = part[: trim_end(part)]
    text = part.decode("utf-8", "replace")
    return (text, len(part)) if text and shown.text.startswith(text) and not shown.cut else ("", 0)


def from_end(data: bytes, room: int, lines: int, line_cap: int = d.LINE_CAP, *, begins: bool = False) -> Piece:
    """The last whole lines that fit. `begins`: `data` starts where a line does; else its first line is shown only when
    there is no other, and then by its end."""
    out: list[str] = []
    used = gone = cut_at = 0
    begin = len(data)
    while begin > 0 and len(out) < lines:
        ended = data[begin - 1 : begin] == b"\n"
        start = data.rfind(b"\n", 0, begin - ended) + 1
        if start == 0 and not begins:
            return _end_of_line(data, min(room, line_cap)) if not out else _joined(out, begin, data, gone, cut_at)
        shown = shown_line(data[start : begin - ended], line_cap)
        size = len(shown.text.encode()) + ended
        if used + size > room:
            break
        out.append(shown.text + "\n" if ended else shown.text)
        if shown.cut:
            cut_at = start + _front(data[start : begin - ended], shown, line_cap)
        used, gone, begin = used + size, gone + shown.cut, start
    return _joined(out, begin, data, gone, cut_at)


def _joined(backwards: list[str], begin: int, data: bytes, gone: int, cut_at: int) -> Piece:
    return Piece("".join(reversed(backwards)), begin, len(data), gone, len(backwards), cut_at)


def _end_of_line(data: bytes, cap: int) -> Piece:
    """The end of the only line there is, whose beginning is missing."""
    ended = data.endswith(b"\n")
    raw = last_state(data[: len(data) - ended])
    whole = raw[trim_start(raw) :]
    back = whole[-int(cap * d.LINE_TAIL) :] if len(whole) > cap else whole
    back = back[trim_start(back) :]
    text = clean(back)
    begin = len(data) - ended - len(back)
    return Piece(text + "\n" if ended else text, begin, len(data), 0, 1)
