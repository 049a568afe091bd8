"""The statistics of the detector: known values, and what must not change them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.policy.leaks import trend

values = st.lists(st.floats(-1e15, 1e15), min_size=3, max_size=24)


def test_theil_sen_of_a_line_is_its_slope_and_one_wild_point_changes_nothing() -> None:
    """24 points of a line; one of them a spike of a gigabyte."""
    line = [3.0 * i for i in range(24)]
    assert trend.middle(trend.slopes(range(24), line)) == 3.0
    assert trend.middle(trend.slopes(range(24), [*line[:10], 1e9, *line[11:]])) == pytest.approx(3.0, rel=0.01)


def test_holes_in_the_floors_do_not_steepen_a_line() -> None:
    """The places are buckets, not indexes: a line with three buckets missing has its own slope."""
    places = [0, 1, 2, 6, 7, 8]
    assert trend.middle(trend.slopes(places, [2.0 * x for x in places])) == 2.0


def test_kendall_gives_the_textbook_value() -> None:
    """n = 10, all pairs rising: S = 45, variance 125, z = 44 / 11.18."""
    assert trend.kendall(list(map(float, range(10)))) == pytest.approx(44 / math.sqrt(125))
    assert trend.kendall([5.0] * 24) == 0.0
    assert trend.kendall([1.0, 1.0, 2.0, 2.0]) == pytest.approx(3 / math.sqrt((156 - 2 * 18) / 18))


def test_the_median_of_nothing_is_zero() -> None:
    assert trend.middle([]) == 0.0
    assert trend.middle([1.0, 2.0]) == 1.5


def test_the_interval_holds_the_slope_and_narrows_to_it_without_noise() -> None:
    """Sen's interval; noise widens it, the line itself is a point."""
    line = [2.0 * i for i in range(24)]
    assert trend.interval(trend.slopes(range(24), line), trend.spread(line)) == (2.0, 2.0)
    wild = [2.0 * i + (7 * i % 5) for i in range(24)]
    low, high = trend.interval(trend.slopes(range(24), wild), trend.spread(wild))
    assert low < 2.0 < high


def test_noise_is_what_is_left_beside_the_line() -> None:
    """0 on a line, about the deviation beside it, whatever the slope."""
    assert trend.noise(range(24), [5.0 * i for i in range(24)], 5.0) == 0.0
    assert trend.noise(range(24), [5.0 * i + (-1) ** i for i in range(24)], 5.0) == pytest.approx(1.4826)


@given(values)
def test_kendall_turns_with_its_sign_and_knows_only_order(ys: list[float]) -> None:
    """Mirrored values give -z; scaled ones the same z; nothing is ever NaN."""
    z = trend.kendall(ys)
    assert math.isfinite(z)
    assert trend.kendall([-y for y in ys]) == pytest.approx(-z)
    assert trend.kendall([y * 2 for y in ys]) == pytest.approx(z)


@given(values)
def test_slopes_turn_with_the_values(ys: list[float]) -> None:
    """Every statistic is finite, and a mirrored series has the mirrored slope."""
    ordered = trend.slopes(range(len(ys)), ys)
    low, high = trend.interval(ordered, trend.spread(ys))
    assert low <= high
    assert math.isfinite(trend.noise(range(len(ys)), ys, trend.middle(ordered)))
    assert trend.middle(trend.slopes(range(len(ys)), [-y for y in ys])) == -trend.middle(ordered)
