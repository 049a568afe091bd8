"""Names of journal files: one series per ISO week, `2026-W53.jsonl`, `2026-W53.2.jsonl`, ...

The week is that of the event itself (2027-01-01 belongs to 2026-W53). Must not open a journal file.
Tests: tests/record/test_weeks.py.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

WEEK_SECONDS = 7 * 86400
SUFFIX = ".jsonl"


class Part(NamedTuple):
    """One file of a week's series; sorts in the order in which they were begun."""

    year: int
    week: int
    number: int

    @property
    def name(self) -> str:
        """The file's name; the first of a week carries no number."""
        more = f".{self.number}" if self.number > 1 else ""
        return f"{self.year:04d}-W{self.week:02d}{more}{SUFFIX}"

    @property
    def starts(self) -> float:
        """Wall time of the Monday, 00:00 UTC, with which its week begins."""
        import calendar

        fourth = calendar.timegm((self.year, 1, 4, 0, 0, 0))  # 4 January is always in week 1
        monday = fourth - time.gmtime(fourth).tm_wday * 86400
        return float(monday + (self.week - 1) * WEEK_SECONDS)


def week_of(wall: float) -> tuple[int, int]:
    """ISO year and week of a wall time, in UTC."""
    year, week = time.strftime("%G %V", time.gmtime(wall)).split()
    return int(year), int(week)


def parse(name: str) -> Part | None:
    """The part that a file name stands for, None for a stranger."""
    if not name.endswith(SUFFIX):
        return None
    stem, _, number = name[: -len(SUFFIX)].partition(".")
    year, dash, week = stem.partition("-W")
    digits = [year, week, number or "1"]
    if not dash or not all(d.isascii() and d.isdigit() and len(d) <= 9 for d in digits) or len(week) != 2:
        return None
    part = Part(int(year), int(week), int(number or "1"))
    return part if part.name == name and 1 <= part.week <= 53 and 1 <= part.year <= 9999 else None


def parts(folder: str | os.PathLike[str]) -> list[Part]:
    """All parts in the folder, oldest first; an unreadable folder has none."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(part for part in map(parse, names) if part is not None)


def path_of(folder: Path, part: Part) -> str:
    """Where the part lies."""
    return os.path.join(folder, part.name)
