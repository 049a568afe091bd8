"""Delays: B1-B4 and the growth beyond the budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from midwatch.policy.backoff import crash_delay, degraded_delay, doubled, jittered, memory_delay, over_delay
from midwatch.policy.defaults import default_backoff

BACKOFF = default_backoff()


def test_crash_delays_double_up_to_a_minute() -> None:
    """B1: 1 2 4 8 16 32 60 60 s, each lengthened by less than a tenth; B2: never above 66 s."""
    for count, base in enumerate((1, 2, 4, 8, 16, 32, 60, 60), start=1):
        assert base <= crash_delay(BACKOFF, count, f"x:{count}") < 1.1 * base
    assert crash_delay(BACKOFF, 21, "x") <= 66


def test_a_huge_count_does_not_blow_up() -> None:
    """B4: count 10^6 gives 60 to 66 s."""
    assert 60 <= crash_delay(BACKOFF, 10**6, "x") <= 66
    assert doubled(1.0, -5, 60.0) == 1.0


def test_jitter_spreads_and_stays_under_ten_percent() -> None:
    """B3: ten draws at count 4 are not all equal, and the same key always draws the same."""
    draws = [crash_delay(BACKOFF, 4, f"web:{run}:4") for run in range(10)]
    assert len(set(draws)) > 1
    assert draws == [crash_delay(BACKOFF, 4, f"web:{run}:4") for run in range(10)]


@given(st.text(), st.floats(0, 1e6), st.floats(0, 1))
def test_jitter_only_lengthens(key: str, base: float, share: float) -> None:
    assert base <= jittered(base, share, key) <= base * (1 + share)


def test_degraded_delays_grow_to_five_minutes() -> None:
    """Beyond the budget: 60 120 240 300 300 s."""
    for over, base in enumerate((60, 120, 240, 300, 300), start=1):
        assert base <= degraded_delay(BACKOFF, over, "x") < 1.1 * base


def test_delays_over_a_window() -> None:
    """C4: 1 2 4 .. 60 s; out of memory: 1 s inside its window, 60 .. 300 s over it."""
    assert [over_delay(BACKOFF, n) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [memory_delay(BACKOFF, n) for n in range(5)] == [1, 60, 120, 240, 300]
