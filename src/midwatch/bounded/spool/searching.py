"""Search in a spool: which lines match, with the lines around them.

The worker looks through the data file by a descriptor it inherits; lines around a match are read by the index. Must not
match itself. Tests: tests/bounded/test_spool_search.py.
"""

from __future__ import annotations

from typing import Any

import msgspec

from midwatch.bounded.search import result, running
from midwatch.bounded.search.files import PATTERN_MOST
from midwatch.bounded.spool.errors import SpoolError
from midwatch.bounded.spool.reader import Overtaken, Source
from midwatch.policy import defaults_bounded as d

AROUND_MOST = 20


class Match(msgspec.Struct, frozen=True):
    """A line that matches. `before` and `after`: the lines around it, each at most as long as an excerpt."""

    line: int
    column: int | None  # None: its line began in the part that is not kept
    offset: int
    excerpt: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class SpoolMatches(msgspec.Struct, frozen=True, kw_only=True):
    """`complete`: all that is kept was searched."""

    ref: str
    state: str
    matches: tuple[Match, ...]
    complete: bool
    why: str = ""
    gap: tuple[int, int] | None = None  # a stretch of the output that is not kept, and so not searched
    schema_version: int = 1

    def text(self, cap: int = d.INLINE_CAP) -> str:
        """Matches as LINE:COLUMN: EXCERPT (LINE:@OFFSET where the line's start is not kept), lines
        around them as LINE- EXCERPT; at most `cap` bytes."""
        out: list[str] = []
        used = shown = 0
        for match in self.matches:
            block = _block(match)
            if used + len(block.encode()) > cap - d.PAGE_NOTICE:
                break
            out.append(block)
            used, shown = used + len(block.encode()), shown + 1
        words = [f"{len(self.matches):,} matches" if len(self.matches) != 1 else "1 match"]
        if shown < len(self.matches):
            words.append(f"{shown:,} of them shown")
        if self.gap:
            words.append(f"bytes {self.gap[0]:,} to {self.gap[1] - 1:,} are not kept")
        if not self.complete:
            words.append(f"there may be more: {self.why}")
        if self.state == "running":
            words.append("still being written")
        return "".join(out) + "[" + "; ".join(words) + "]"


def _block(match: Match) -> str:
    first = match.line - len(match.before)
    lines = [f"{first + number}- {words}" for number, words in enumerate(match.before)]
    place = f"{match.column + 1}" if match.column is not None else f"@{match.offset}"
    lines.append(f"{match.line}:{place}: {match.excerpt}")
    lines += [f"{match.line + 1 + number}- {words}" for number, words in enumerate(match.after)]
    return "\n".join(lines) + "\n" + ("--\n" if match.before or match.after else "")


def search(
    source: Source,
    pattern: str,
    *,
    regex: bool,
    ignore_case: bool,
    before: int,
    after: int,
    most: int,
) -> SpoolMatches:
    """At most `most` matches. Raises SpoolError("usage")."""
    if not pattern or len(pattern) > PATTERN_MOST or "\n" in pattern:
        raise SpoolError("usage", f"a pattern has 1 to {PATTERN_MOST:,} characters and no newline")
    for name, value, least, top in (
        ("before", before, 0, AROUND_MOST), ("after", after, 0, AROUND_MOST), ("max", most, 1, d.MATCHES),
    ):  # fmt: skip
        if isinstance(value, bool) or not least <= value <= top:
            raise SpoolError("usage", f"{name} is {value!r}: {least} to {top}")
    lines: list[list[Any]] = []
    last: dict[str, Any] = {}

    def take(line: Any) -> None:
        if isinstance(line, list):
            lines.append(line)
        else:
            last.update(line)

    task = {
        "pattern": pattern, "regex": regex, "ignore_case": ignore_case, "most": most, "fd": source.fd,
        "layout": source.layout(), "cpu_most": d.SEARCH_CPU,
    }  # fmt: skip
    try:
        died = running.run(task, take, fd=source.fd)
    except OSError as error:
        raise SpoolError("disk", f"the search could not be started: {error.strerror}") from None
    why = str(died or last.get("end", ""))
    if why.startswith("bad pattern"):
        raise SpoolError("usage", f"{pattern[:200]!r}: {why}")
    kept = source.info.kept
    matches = tuple(found for one in lines if (found := _match(source, one, before, after)))
    if len(matches) < len(lines):
        why = why or "its end was overwritten while it was searched"
    return SpoolMatches(
        ref=source.info.ref, state=source.info.state, matches=matches,
        complete=not why, why=why, gap=(kept[0][1], kept[1][0]) if len(kept) > 1 else None,
    )  # fmt: skip


def _match(source: Source, found: list[Any], before: int, after: int) -> Match | None:
    """None: by now other bytes are there, and perhaps they were when the worker looked."""
    line, offset, _, raw = found
    if not source.still_kept(offset):
        return None
    try:
        return _told(source, line, offset, raw, before, after)
    except Overtaken:
        return None


def _told(source: Source, line: int, offset: int, raw: str, before: int, after: int) -> Match:
    last = min(line + after, source.info.lines_total + 1)
    start = source.line_start(line)
    column = offset - start if start is not None else None
    return Match(
        line, column, offset, result.excerpt(raw.encode("latin-1")),
        tuple(_around(source, number) for number in range(max(1, line - before), line)) if before else (),
        tuple(_around(source, number) for number in range(line + 1, last + 1)),
    )  # fmt: skip


def _around(source: Source, line: int) -> str:
    start = source.line_start(line)
    if start is None:
        return "(not kept)"
    return result.excerpt(source.read(start, start + d.EXCERPT).split(b"\n", 1)[0])
