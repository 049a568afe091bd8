"""What is shown of an output: all of it, or its start and its end, with the raw places of both.

Of two streams each gets its own share, so that a chatty one cannot push the other out. Pure: bytes and counts in, text
and offsets out. Must not know how the command ended. Tests: tests/bounded/test_preview.py.
"""

from __future__ import annotations

from typing import NamedTuple

from midwatch.bounded import text
from midwatch.bounded.limits import Limits
from midwatch.policy import defaults_bounded as d

_HEAD_LINES = 0.8  # of the lines: the first 12,288 bytes are shown down to lines of 8 bytes
MARK = 80  # bytes of the line that stands for what is left out


class Kept(NamedTuple):
    """What there is of one stream: its first and last bytes (which may overlap), and how much it was."""

    start: bytes
    end: bytes
    total: int
    lines: int


class Shown(NamedTuple):
    """`head` is all of it if `whole`. `head_end`, `tail_begin`: raw offsets of what is not shown between them."""

    head: str
    tail: str
    head_end: int
    tail_begin: int
    whole: bool
    binary: bool = False
    cut: int = 0  # bytes left out inside of shown lines
    next_line: int = 1  # the first line that is not shown whole, counted from 1
    lines_left: int = 0  # newlines in what is not shown
    cut_at: int = 0  # raw offset of the first byte left out inside of a shown line

    @property
    def omitted(self) -> int:
        """Raw bytes that are not shown."""
        return self.tail_begin - self.head_end + self.cut

    def text(self) -> str:
        """Head, what is missing, tail; ends with a newline unless it is all of an output that does not."""
        if self.whole:
            return self.head
        gone = self.tail_begin - self.head_end
        if not gone:
            return self.head + self.tail
        mark = f"[... {gone:,} bytes with {self.lines_left:,} newlines are not shown ...]\n"
        return f"{_lined(self.head)}{mark}{self.tail}"


def _lined(words: str) -> str:
    return words if not words or words.endswith("\n") else words + "\n"


def show(kept: Kept, limits: Limits, head: int, tail: int) -> Shown:
    """At most `head` + `tail` bytes of UTF-8 of this stream."""
    if text.is_binary(kept.start):
        dump = text.dump(kept.start, kept.total)[: head + tail]
        return Shown(dump, "", 0, kept.total, False, binary=True, lines_left=kept.lines)
    if kept.total <= min(head + tail, len(kept.start)):
        piece = text.from_start(kept.start, head + tail, limits.lines_cap, limits.line_cap, whole=True)
        if piece.end == kept.total and not piece.cut:
            return Shown(piece.text, "", kept.total, kept.total, True)
    return _both(kept, limits, head, tail)


def _both(kept: Kept, limits: Limits, head: int, tail: int) -> Shown:
    front = int(limits.lines_cap * _HEAD_LINES)
    all_there = len(kept.start) == kept.total
    first = text.from_start(kept.start, head, front, limits.line_cap, whole=all_there)
    rest = kept.end[-(kept.total - first.end) :] if first.end < kept.total else b""
    begins = len(rest) == kept.total - first.end and (kept.start[first.end - 1 : first.end] == b"\n" or first.end == 0)
    last = text.from_end(rest, tail, limits.lines_cap - first.lines, limits.line_cap, begins=begins)
    begin = kept.total - len(rest) + last.begin
    before = kept.start.count(b"\n", 0, first.end)
    left = kept.lines - before - rest.count(b"\n", last.begin)
    return Shown(
        first.text, last.text, first.end, begin, False, cut=first.cut + last.cut, next_line=before + 1, lines_left=left,
        cut_at=first.cut_at if first.cut else kept.total - len(rest) + last.cut_at,
    )  # fmt: skip


def rooms(limits: Limits, notice: int) -> tuple[int, int]:
    """Bytes for head and tail of a cut output, if the notice takes so much."""
    free = max(0, limits.inline_cap - notice - MARK)
    if limits.head + limits.tail <= free:
        return limits.head, limits.tail
    head = int(free * d.HEAD_SHARE / (d.HEAD_SHARE + d.TAIL_SHARE))
    return head, free - head


def shares(room: int, out: int, err: int) -> tuple[int, int]:
    """`room` bytes for two streams that would need `out` and `err`: stderr has at least its quarter of it."""
    least = int(room * d.STDERR_SHARE)
    for_err = max(min(err, least), room - out) if err <= least else max(least, room - out)
    return room - min(for_err, room), min(for_err, room)
