"""The week of an event and the names of its files."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.record.weeks import WEEK_SECONDS, Part, parse, parts, week_of


@pytest.mark.parametrize(
    ("day", "week"),
    [
        ((2027, 1, 1), (2026, 53)),
        ((2027, 1, 3), (2026, 53)),
        ((2027, 1, 4), (2027, 1)),
        ((2024, 12, 30), (2025, 1)),
        ((2026, 11, 21), (2026, 47)),
        ((1970, 1, 1), (1970, 1)),
    ],
)
def test_the_week_is_the_iso_week_of_the_event(day: tuple[int, int, int], week: tuple[int, int]) -> None:
    """H1: 2027-01-01 belongs to 2026-W53."""
    assert week_of(calendar.timegm((*day, 12, 0, 0))) == week


@given(st.dates(min_value=date(1971, 1, 1), max_value=date(2200, 12, 31)))
def test_every_day_lies_in_its_week(day: date) -> None:
    """The Monday of a part and its week agree with the calendar, for any date."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
    year, week = week_of(noon)
    assert (year, week) == day.isocalendar()[:2]
    assert 0 <= noon - Part(year, week, 1).starts < WEEK_SECONDS


@pytest.mark.parametrize("part", [Part(2026, 53, 1), Part(2026, 1, 2), Part(2027, 9, 11)])
def test_names_read_back(part: Part) -> None:
    """A part's name is parsed to the same part."""
    assert parse(part.name) == part


@pytest.mark.parametrize(
    "name",
    ["", "x", "2026-W53", "2026-W53.json", "2026-W5.jsonl", "2026-W53.1.jsonl", "2026-W53.02.jsonl", "2026-W54.jsonl",
     "2026-W00.jsonl", "2026-W53.jsonl.gz", "2026-W53.2.3.jsonl", ".jsonl", "２０２６-W53.jsonl", "0000-W01.jsonl"],
)  # fmt: skip
def test_strangers_are_no_parts(name: str) -> None:
    """Any other name is left alone."""
    assert parse(name) is None


def test_parts_come_in_the_order_they_were_begun(tmp_path: Path) -> None:
    """The tenth continuation comes after the second; other files do not count."""
    for name in ("2026-W47.10.jsonl", "2026-W47.2.jsonl", "2026-W47.jsonl", "2025-W52.jsonl", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in parts(tmp_path)] == [
        "2025-W52.jsonl",
        "2026-W47.jsonl",
        "2026-W47.2.jsonl",
        "2026-W47.10.jsonl",
    ]
    assert parts(tmp_path / "absent") == []
