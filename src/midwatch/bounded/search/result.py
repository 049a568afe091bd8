"""What a search found, what it left out and why, as a value and as text that fits a tool result.

Must not search. Tests: tests/bounded/test_search.py.
"""

from __future__ import annotations

import os

import msgspec

from midwatch.bounded import text
from midwatch.policy import defaults_bounded as d


class SearchError(Exception):
    """Nothing could be searched: a pattern that is none, a root that cannot be read. Says what to do."""


class Hit(msgspec.Struct, frozen=True):
    """One line that matches; of a line longer than 64 KiB one window. `column`: bytes from the line's start, from 0."""

    path: str
    line: int
    column: int
    offset: int
    excerpt: str

    def __str__(self) -> str:
        path = self.path if self.path.isprintable() else excerpt(self.path.encode(), len(self.path) * 4)
        return f"{path}:{self.line}:{self.column + 1}: {self.excerpt}"


class Skipped(msgspec.Struct, frozen=True):
    """Files and folders that were left out for one reason."""

    reason: str
    count: int
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.count:,} {self.reason}"


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """`complete`: everything under the root was searched, but for what `skipped` names. Otherwise `why` says it."""

    root: str
    pattern: str
    hits: tuple[Hit, ...]
    matches: int
    complete: bool
    why: str = ""
    files: int = 0
    folders: int = 0
    bytes_read: int = 0
    skipped: tuple[Skipped, ...] = ()
    spool: str | None = None  # all matches, as lines, once there are more than are shown
    spool_complete: bool | None = None
    earlier: str | None = None  # the spool of the same search a moment ago
    duration_ms: int = 0
    schema_version: int = 1

    def text(self, cap: int = d.INLINE_CAP, *, how: str = "spool_read(ref={ref})") -> str:
        """Matches as PATH:LINE:COLUMN: EXCERPT, and a last line about all of it; at most `cap` bytes."""
        lines: list[str] = []
        used = 0
        for hit in self.hits:
            line = str(hit) + "\n"
            size = len(line.encode())
            if used + size > cap - d.SEARCH_NOTICE:
                break
            lines.append(line)
            used += size
        notice = self.notice(len(lines), how=how).encode()[: d.SEARCH_NOTICE - 4]
        return "".join(lines) + notice[: text.trim_end(notice)].decode()

    def notice(self, shown: int, *, how: str) -> str:
        """What was found, shown, left out; where the rest is."""
        found = f"{self.matches:,} matches" if self.matches != 1 else "1 match"
        words = [f"{found} in {self.files:,} files" if self.files != 1 else f"{found} in 1 file"]
        if shown < self.matches:
            words.append(f"the first {shown:,} are shown")
        if not self.complete:
            words.append(f"not finished: {self.why}; narrow the folder or the pattern")
        if self.spool:
            whole = "all" if self.spool_complete else "as many as there was room for"
            words.append(f"{whole} of them: {how.format(ref=self.spool)}")
        if self.earlier:
            words.append(f"the same search was made before: {how.format(ref=self.earlier)}")
        if self.skipped:
            words.append("left out: " + ", ".join(str(one) for one in self.skipped))
        return "[" + "; ".join(words) + "]"


def excerpt(raw: bytes, room: int = d.EXCERPT) -> str:
    """A line's part as it is shown: one line of text, at most `room` bytes."""
    raw = raw[text.trim_start(raw) :]
    words = text.clean(raw[: text.trim_end(raw)], cut=True).replace("\t", " ").replace("\n", " ").encode()
    return words[: text.trim_end(words[:room])].decode().rstrip("\r")


def from_path(words: str) -> str:
    """A path as the worker says it, as text that can be shown; bytes that are no UTF-8 as U+FFFD."""
    return os.fsencode(words.encode("latin-1")).decode("utf-8", "replace")
