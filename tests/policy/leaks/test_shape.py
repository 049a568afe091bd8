"""What ten minutes of descriptor counts are called (FDW-6 as amended, scenarios 32 to 34)."""

from __future__ import annotations

import pytest

from midwatch.policy import defaults as d
from midwatch.policy.leaks.shape import describe


def test_a_move_is_more_than_ten_and_a_tenth() -> None:
    """FDW-6: both, strictly."""
    assert d.FD_SHAPE == (10.0, 0.1)
    assert describe([50, 50, 60, 60]).verdict == "flat"
    assert describe([50, 50, 61, 61]).verdict == "rising-floor"
    assert describe([200, 200, 220, 220]).verdict == "flat"
    assert describe([200, 200, 221, 221]).verdict == "rising-floor"


def test_one_connection_a_request_is_a_rising_floor_of_two_a_request() -> None:
    """Scenario 32: 100 requests, main and -wal each."""
    found = describe([20.0 + 2 * i for i in range(101)], units=100)
    assert (found.verdict, found.per_unit) == ("rising-floor", 2.0)
    assert found.words == "the floor rises, 20 to 120, 2.0 for each unit of work"


def test_a_moving_peak_over_a_flat_floor_is_a_pool_or_the_garbage_collector() -> None:
    """Scenario 33: about 200 live, near 0 after a collection; not "cured", and no alarm."""
    found = describe([2.0 * (i % 100) for i in range(600)])
    assert (found.verdict, found.floor, found.peak) == ("gc-released", 0, 198)
    assert found.words == "up to 198 and back to 0: a pool, or closed only when garbage is collected"


def test_closed_handles_are_flat() -> None:
    """Scenario 34: 2,000 calls that close change nothing."""
    found = describe([92.0, 93.0, 92.0, 94.0], units=2000)
    assert found.verdict == "flat"
    assert found.per_unit == pytest.approx(0.001)
    assert found.words == "between 92 and 94"
