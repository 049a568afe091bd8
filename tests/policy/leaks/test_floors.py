"""Folding samples into floors: minima, holes, new lives, the record, bounds, and surviving a restart (guards 8.4)."""

from __future__ import annotations

import math
import sys
from itertools import accumulate

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from midwatch.model.finding import Finding, Silence, Tier
from midwatch.policy import defaults as d
from midwatch.policy.leaks.detector import judge
from midwatch.policy.leaks.floors import NOTES, Series, annotate, fold, kept, skip

TIER = Tier("test", 10.0, 12, 1.0, 0.0, 1.0, math.inf)  # tail 2, keeps 15


def feed(series: Series, values: list[float | None], life: str = "a", first: int = 0) -> int:
    """One value a second from second `first`; returns how many buckets ended."""
    return sum(fold(series, TIER, life, float(first + i), value) for i, value in enumerate(values))


def test_a_floor_is_the_smallest_sample_of_its_bucket() -> None:
    """The sawtooth above it leaves no trace; the open bucket is not a floor yet."""
    series = Series("memory")
    assert feed(series, [9, 5, 7, 8, 9, 9, 9, 9, 9, 9, 30, 20, 40, 50, 60, 70, 80, 90, 20, 20, 1]) == 2
    assert series.floors == [5, 20]
    assert series.low == 1


def test_absent_and_impossible_samples_are_not_zero() -> None:
    """A bucket without a sample has no floor: the next one is two steps on."""
    series = Series("memory")
    feed(series, [5.0] * 10 + [None, math.nan, math.inf] + [None] * 7 + [6.0] * 11)
    assert series.floors == [5.0, 6.0]
    assert list(series.steps) == [1, 2]


def test_a_bucket_of_sleep_or_throttling_is_skipped() -> None:
    """Guards test 11: what was measured around a suspend is nobody's floor."""
    series = Series("memory")
    feed(series, [5.0] * 15)
    skip(series)
    feed(series, [1.0] * 16, first=15)
    assert series.floors == [5.0, 1.0]
    assert list(series.steps) == [1, 2]


def test_a_new_life_begins_anew_and_keeps_its_notes() -> None:
    """Another process identity: floors and record of the old one say nothing about it."""
    series = Series("memory")
    feed(series, [float(i) for i in range(400)])
    assert series.record is not None
    annotate(series, 401.0, "restarted as planned")
    feed(series, [7.0], life="b", first=401)
    assert (series.floors, series.steps, series.origin) == ([], b"", 401.0)
    assert not series.record
    assert series.notes == [(401.0, "restarted as planned")]


def test_a_clock_that_went_back_begins_anew() -> None:
    """Awake time never does that within a boot; after one the series is another life's."""
    series = Series("memory")
    feed(series, [5.0] * 40)
    feed(series, [6.0], first=3)
    assert (series.floors, series.origin, series.low) == ([], 3.0, 6.0)


def test_a_gap_of_a_whole_window_makes_history_of_what_was_before() -> None:
    """The engine was away for long: the floors go, the highest that held stays as the record."""
    series = Series("memory")
    feed(series, [8.0] * 40)
    feed(series, [9.0] * 11, first=39 + TIER.count * 10 + 20)
    assert len(series.floors) <= 1
    assert series.record == 8.0


def test_the_record_is_the_highest_that_a_whole_tail_held() -> None:
    """One high floor is a spike; two in a row (a tail of 12 floors) are a level."""
    series = Series("memory")
    floors = [1, 9, 1, 4, 5, 1] + [1] * 30
    feed(series, [float(floor) for floor in floors for _ in range(10)])
    assert series.record == 4.0


def test_only_the_newest_notes_are_kept() -> None:
    series = Series("memory")
    for i in range(10):
        annotate(series, float(i), f"change {i}")
    assert [words for _, words in series.notes] == [f"change {i}" for i in range(10 - NOTES, 10)]


@given(st.lists(st.tuples(st.floats(0, 2000), st.one_of(st.none(), st.floats())), max_size=60))
def test_whatever_is_fed_the_series_is_bounded_and_finite(samples: list[tuple[float, float | None]]) -> None:
    """Any gaps, any values: no more floors than kept, as many steps, nothing infinite, and a verdict in words."""
    series, at = Series("memory"), 0.0
    for gap, value in samples:
        at += gap
        fold(series, TIER, "a", at, value)
        assert len(series.floors) == len(series.steps) <= kept(TIER)
        assert all(map(math.isfinite, series.floors))
        assert list(accumulate(series.steps)) == sorted(set(accumulate(series.steps)))
        said = judge(TIER, series, 1e9)
        assert said.words if isinstance(said, Silence) else math.isfinite(said.rate)


def test_a_series_survives_a_restart_of_the_engine() -> None:
    """Written in the middle of a bucket and read back: the same floors and the same verdict as without a restart."""
    one, two = Series("memory"), Series("memory")
    for minute in range(12 * 60):
        value = (300 + minute) * float(d.MIB)
        fold(one, d.LEAK_SLOW, "life", minute * 60.0, value)
        fold(two, d.LEAK_SLOW, "life", minute * 60.0, value)
        if minute % 47 == 0:
            two = msgspec.json.decode(msgspec.json.encode(two), type=Series)
    assert one == two
    assert isinstance(judge(d.LEAK_SLOW, two, 1024.0 * d.MIB), Finding)


def test_a_series_takes_less_than_two_kibibytes() -> None:
    """Weeks of one kind of one service: the figure of the leak watch's own memory."""
    series = Series("memory")
    for minute in range(30 * 24 * 60):
        fold(series, d.LEAK_SLOW, "shop.web.2", minute * 60.0, 3e8 + minute * 1000.5)
    for i in range(NOTES):
        annotate(series, float(i), f"configuration changed {i}")
    parts = [series, series.floors, series.steps, series.notes, series.record, *series.floors]
    notes = [part for at, words in series.notes for part in (at, words, (at, words))]
    assert sum(sys.getsizeof(part) for part in parts + notes) < 2048
