"""Bytes, seconds and windows: read, print, and read again."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.model.service import Window
from midwatch.model.units import (
    exact_bytes,
    exact_seconds,
    exact_window,
    format_bytes,
    format_seconds,
    parse_bytes,
    parse_seconds,
    parse_window,
)


@pytest.mark.parametrize(("text", "count"), [
    ("512M", 512 << 20), ("1.5G", 3 << 29), ("2GiB", 2 << 30), ("2 gb", 2 << 30), ("100B", 100), ("100", 100),
    (4096, 4096), ("0", 0), ("1t", 1 << 40), ("0.5K", 512), (" 7k ", 7168),
])  # fmt: skip
def test_sizes(text: object, count: int) -> None:
    """512M is 512 x 2^20; iB and B are optional, case does not matter."""
    assert parse_bytes(text) == count


BAD_SIZES = ["2 GBB", "-1", -1, "1.5.5G", "G", "", "1e9", "1,5G", "12 12", None, True, 1.5, "٣M", "5 %"]


@pytest.mark.parametrize("bad", BAD_SIZES)
def test_refused_sizes(bad: object) -> None:
    """Negative, unknown units and other scripts' digits are refused with words."""
    with pytest.raises(ValueError, match="size"):
        parse_bytes(bad)


@pytest.mark.parametrize(("text", "seconds"), [
    ("250ms", 0.25), ("10s", 10.0), ("5m", 300.0), ("1h30m", 5400.0), ("24h", 86_400.0), ("2d", 172_800.0),
    ("1.5h", 5400.0), ("30", 30.0), (30, 30.0), (0.5, 0.5), ("1 h 30 m", 5400.0), ("0", 0.0),
])  # fmt: skip
def test_durations(text: object, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("bad", ["-5s", "10 sec", "s", "", "5m x", -1, float("nan"), float("inf"), None, True, "1e3s"])
def test_refused_durations(bad: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_seconds(bad)


def test_windows() -> None:
    """A budget like "10 in 60s" is read, "off" switches it off, nonsense is refused with an example."""
    assert parse_window("10 in 60s") == Window(10, 60.0)
    assert parse_window(" 3 in 1h30m ") == Window(3, 5400.0)
    assert [parse_window(off) for off in ("off", "OFF", "never", "none", False)] == [None] * 5
    for bad in ("10 per 60s", "x in 60s", "0 in 60s", "3 in 0s", 5, None, "", "10 in", True):
        with pytest.raises(ValueError, match="budget"):
            parse_window(bad)
    with pytest.raises(ValueError, match="duration"):
        parse_window("10 in soon")


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0 s"), (0.0001, "0 s"), (0.25, "250 ms"), (0.9996, "1 s"), (1, "1 s"), (1.5, "1.5 s"), (9.96, "10 s"),
    (8, "8 s"), (59.7, "1 m"), (300, "5 m"), (90, "1 m 30 s"), (5400, "1 h 30 m"), (86_400, "1 d"),
    (90_000, "1 d 1 h"),
    (3601, "1 h"), (-5, "-5 s"),
])  # fmt: skip
def test_durations_as_people_read_them(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(("count", "text"), [
    (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536 << 20, "1.5 GiB"), (1 << 50, "1024 TiB"),
    ((1 << 20) - 1, "1 MiB"),
])  # fmt: skip
def test_sizes_as_people_read_them(count: int, text: str) -> None:
    assert format_bytes(count) == text


@given(st.integers(0, 1 << 60))
def test_exact_sizes_round_trip(count: int) -> None:
    assert parse_bytes(exact_bytes(count)) == count


@given(st.one_of(st.integers(0, 10**9).map(float), st.integers(0, 10**9).map(lambda n: n / 1000), st.floats(1e-6, 1e9)))
def test_exact_durations_round_trip(seconds: float) -> None:
    assert parse_seconds(exact_seconds(seconds)) == pytest.approx(seconds, rel=1e-12)


@given(st.integers(1, 10**6), st.integers(1, 10**7))
def test_exact_windows_round_trip(limit: int, seconds: int) -> None:
    window = Window(limit, float(seconds))
    assert parse_window(exact_window(window)) == window
    assert parse_window(exact_window(None)) is None


def test_exact_texts_are_short() -> None:
    assert [exact_bytes(n) for n in (0, 4097, 512 << 20, 1536 << 20)] == ["0", "4097", "512M", "1536M"]
    assert [exact_seconds(n) for n in (0, 0.25, 10, 300, 86_400)] == ["0s", "250ms", "10s", "5m", "1d"]


@given(st.text(max_size=12))
def test_no_text_breaks_the_readers(text: str) -> None:
    """Whatever is written: a value or a ValueError in words, never another exception."""
    for read in (parse_bytes, parse_seconds, parse_window):
        with contextlib.suppress(ValueError):
            read(text)
