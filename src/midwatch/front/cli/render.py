"""How things look: durations, sizes, one-line tables that fit a terminal, colours on a terminal only.

Text for people is made here and nowhere else, so that a golden screen tests it. Must not ask anybody for
anything. Tests: tests/front/test_render.py.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from json import dumps
from typing import Any

from midwatch.front.cli.declare import SCHEMA_VERSION

NARROW = 80  # columns every table fits into
NONE = "-"
_PAINT = {
    "up": "32",
    "done": "32",
    "ok": "32",
    "starting": "36",
    "pending": "36",
    "backoff": "33",
    "stopping": "33",
    "killing": "33",
    "degraded": "31",
    "waiting": "33",
    "held": "31",
    "gave_up": "31",
    "failing": "31",
    "bold": "1",
    "dim": "2",
}


def say_json(value: dict[str, Any]) -> None:
    """One JSON document on stdout, with its schema version."""
    document = {"schema_version": SCHEMA_VERSION, **value}
    print(dumps(document, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


def duration(seconds: float | None) -> str:
    """At most two units: "45s", "12m", "2h10m", "9d4h"; below ten seconds one decimal, "3ms"."""
    if seconds is None:
        return NONE
    if seconds < 0:
        return "0s"
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f}ms" if seconds else "0s"
    if seconds < 10:
        return f"{seconds:.1f}s".replace(".0s", "s")
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m" if whole >= 600 or whole % 60 == 0 else f"{whole // 60}m{whole % 60}s"
    if whole < 86400:
        return _two(whole // 3600, "h", whole % 3600 // 60, "m")
    return _two(whole // 86400, "d", whole % 86400 // 3600, "h")


def _two(first: int, unit: str, second: int, small: str) -> str:
    return f"{first}{unit}{second}{small}" if second else f"{first}{unit}"


def size(count: float | None) -> str:
    """Binary units, three digits: "812K", "41M", "1.6G"."""
    if count is None:
        return NONE
    value, unit = float(count), "B"
    for bigger in ("K", "M", "G", "T"):
        if value < 999.5:
            break
        value, unit = value / 1024, bigger
    return f"{value:.0f}{unit}" if value >= 9.95 or unit == "B" else f"{value:.1f}{unit}"


def clock(wall: float, now: float | None = None) -> str:
    """Local time; with the day when it is not today's."""
    today = time.localtime(time.time() if now is None else now)
    then = time.localtime(wall)
    same = (today.tm_year, today.tm_yday) == (then.tm_year, then.tm_yday)
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S", then)


def coming(wall: float, zone: str | None, now: float) -> str:
    """A scheduled time as its schedule means it: with its zone, and how long until then."""
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    try:
        place = ZoneInfo(zone) if zone else None
    except (KeyError, ValueError, OSError):
        place = zone = None  # this computer does not know it: its own time
    then, here = (datetime.fromtimestamp(at, UTC).astimezone(place) for at in (wall, now))
    said = then.strftime("%H:%M" if then.date() == here.date() else "%Y-%m-%d %H:%M")
    return f"{said} {zone or then.tzname()} (in {duration(max(0.0, wall - now))})"


def coloured() -> bool:
    """Colours: on a terminal that says what it is, unless NO_COLOR is set."""
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") not in ("", "dumb")
    )


def paint(text: str, kind: str, on: bool) -> str:
    """The text in the colour of a state or a style."""
    code = _PAINT.get(kind)
    return f"\x1b[{code}m{text}\x1b[0m" if on and code else text


def width() -> int:
    """Columns: the terminal's, else 80."""
    if sys.stdout.isatty():
        try:
            return max(40, os.get_terminal_size(sys.stdout.fileno()).columns)
        except OSError:
            pass
    columns = os.environ.get("COLUMNS", "")
    return max(40, int(columns)) if columns.isdigit() else NARROW


def plain(text: str) -> str:
    """The text on one line: no control character of a program's making reaches the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


_COMMAND = re.compile(r"'midwatch [^']*'")


def wrap(text: str, room: int) -> list[str]:
    """Lines of at most `room` columns; a quoted command is never broken, so that it can be pasted."""
    kept = _COMMAND.sub(lambda found: found[0].replace(" ", "\xa0"), plain(text))
    lines = textwrap.wrap(kept, room, break_on_hyphens=False, break_long_words=False)
    return [piece.replace("\xa0", " ") for line in lines for piece in _broken(line, room)] or [""]


def _broken(line: str, room: int) -> list[str]:
    """A word that is wider than the line, in pieces, unless it is a command."""
    if len(line) <= room or "\xa0" in line:
        return [line]
    return [line[at : at + room] for at in range(0, len(line), room)]


def cut(text: str, room: int) -> str:
    """The text in at most `room` characters, on one line, without control characters."""
    clean = plain(text)
    return clean if len(clean) <= room else clean[: max(0, room - 1)] + "…"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    room: int,
    right: frozenset[int] = frozenset(),
    shrink: int = 0,
    kinds: Sequence[str] = (),
) -> list[str]:
    """Lines of at most `room` columns: the last column is cut, then `shrink`. `kinds` colours column 1."""
    cells = [[cut(cell, room) for cell in row] for row in rows]
    widths = [
        max(len(head[i]), *(len(row[i]) for row in cells)) if cells else len(head[i])
        for i in range(len(head))
    ]
    last = len(head) - 1
    fixed = sum(widths[:last]) + 2 * last
    widths[last] = max(len(head[last]), min(widths[last], room - fixed))
    if fixed + widths[last] > room:
        widths[shrink] = max(8, widths[shrink] - (fixed + widths[last] - room))
    lines = []
    on = bool(kinds) and coloured()
    for number, row in enumerate([list(head), *cells]):
        parts = []
        for i, cell in enumerate(row):
            text = cut(cell, widths[i])
            text = text.rjust(widths[i]) if i in right else text.ljust(widths[i])
            if on and number == 0:
                text = paint(text, "dim", True)
            elif on and i == 1:
                text = paint(text, kinds[number - 1], True)
            parts.append(text)
        lines.append("  ".join(parts).rstrip())
    return lines
