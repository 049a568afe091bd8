"""Durations, sizes and tables: short, exact at their borders, and never wider than the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.front.cli.render import clock, coloured, coming, cut, duration, paint, size, table, wrap


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"), (-1, "0s"), (0, "0s"), (0.003, "3ms"), (0.4, "0.4s"), (4, "4s"), (9.5, "9.5s"), (45, "45s"),
        (59.6, "1m"), (75, "1m15s"), (720, "12m"), (3599, "59m"), (7800, "2h10m"), (7200, "2h"), (792000, "9d4h"),
    ],
)  # fmt: skip
def test_duration(seconds: float | None, text: str) -> None:
    """At most two units, at most six characters up to 99 days."""
    assert duration(seconds) == text


@given(st.floats(0, 99 * 86400))
def test_duration_is_short(seconds: float) -> None:
    """No duration widens the table."""
    assert len(duration(seconds)) <= 6


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0B"),
        (999, "999B"),
        (1000, "1.0K"),
        (41 << 20, "41M"),
        (1717986918, "1.6G"),
        (1 << 50, "1024T"),
    ],
)
def test_size(count: int | None, text: str) -> None:
    """Binary units, two or three digits; absent is never 0."""
    assert size(count) == text


@given(
    st.lists(st.tuples(st.text(max_size=40), st.text(max_size=20), st.text(max_size=200)), max_size=5),
    st.integers(60, 200),
)
def test_a_table_fits(rows: list[tuple[str, str, str]], room: int) -> None:
    """Whatever the cells hold (control characters, long names), no line is wider and none breaks."""
    lines = table(("NAME", "STATE", "DECISION"), rows, room)
    assert len(lines) == len(rows) + 1
    assert all(len(line) <= room for line in lines)
    assert all("\n" not in line and "\x1b" not in line for line in lines)


def test_cut_shows_that_it_cut() -> None:
    """What does not fit ends with an ellipsis."""
    assert cut("abcdef", 4) == "abc…"
    assert cut("a\x1b[31mb", 10) == "a [31mb"


def test_clock_names_the_day_when_it_is_not_today() -> None:
    """The same day: time only."""
    assert len(clock(1_000_000, 1_000_060)) == 8
    assert len(clock(1_000_000, 1_000_000 + 86400 * 3)) == 19


def test_colours_are_only_added_when_on() -> None:
    """A state has a colour; off means the bare text."""
    assert paint("up", "up", True) == "\x1b[32mup\x1b[0m"
    assert paint("up", "up", False) == "up"


def test_a_quoted_command_stays_on_one_line() -> None:
    """What is to be pasted is never broken, however narrow the screen; other words are, also endless ones."""
    text = "its reason is known; 'midwatch reload -f /srv/shop/midwatch.toml --dry-run' says more " + "x" * 90
    lines = wrap(text, 40)
    assert "'midwatch reload -f /srv/shop/midwatch.toml --dry-run'" in lines
    assert max(len(line) for line in lines if "midwatch" not in line) <= 40
    assert wrap("", 40) == [""]


def test_a_scheduled_time_says_its_zone() -> None:
    """03:00 in Auckland is not 03:00 here; a zone that this computer does not know is its own time."""
    noon = 1_780_315_200.0  # 2026-06-01 12:00 UTC
    assert coming(noon + 3600, "UTC", noon) == "13:00 UTC (in 1h)"
    assert coming(noon + 3600, "Pacific/Auckland", noon) == "01:00 Pacific/Auckland (in 1h)"
    assert coming(noon + 86400, "UTC", noon) == "2026-06-02 12:00 UTC (in 1d)"
    assert "(in 1h)" in coming(noon + 3600, None, noon)
    assert "(in 1h)" in coming(noon + 3600, "Mars/Olympus", noon)


@pytest.mark.parametrize(
    ("term", "no_color", "tty", "on"),
    [("xterm", "", True, True), ("dumb", "", True, False), ("", "", True, False), (None, "", True, False),
     ("xterm", "1", True, False), ("xterm", "", False, False)],
)  # fmt: skip
def test_colours(monkeypatch: pytest.MonkeyPatch, term: str | None, no_color: str, tty: bool, on: bool) -> None:
    """Only on a terminal that says what it is; never in a pipe, without TERM, or with NO_COLOR."""
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stdout.isatty", lambda: tty)
    assert coloured() is on
