"""How fast descriptors are counted where a full table ends the run (FDW-10), and when three counts are enough."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from midwatch.policy import defaults as d
from midwatch.policy.guard.fds import Track, observe, period, urgent

SHARES = (0.7, 0.85)


def track(*counts: tuple[float, int]) -> Track:
    found = Track()
    for at, count in counts:
        found = observe(found, at, count)
    return found


def play(rate: float, soft: int, begin: int = 10) -> tuple[float, int, int]:
    """(time, descriptors, counts taken) when it is called urgent, for a leak of so many a second."""
    at, found, taken = 0.0, Track(), 0
    while taken < 10_000:
        count = begin + int(rate * at)
        found, taken = observe(found, at, count), taken + 1
        if urgent(found, soft, SHARES) or count >= soft:
            return at, count, taken
        at += period(found, soft)
    return at, -1, taken


def test_the_pause_is_clamped() -> None:
    """A tenth of a second to a second, also without a limit, without a slope, and when it is full."""
    assert d.FD_COUNT == (0.1, 1.0)
    assert period(Track(), 1024) == period(track((0.0, 9)), None) == 1.0
    assert period(track((0.0, 9), (1.0, 9)), 1024) == period(track((0.0, 90), (1.0, 9)), 1024) == 1.0
    assert period(track((0.0, 9), (1.0, 1024)), 1024) == 0.1


def test_the_slope_is_that_of_the_last_counts() -> None:
    """A start that opens two hundred files and is done is no leak."""
    assert d.FD_COUNTS == 6
    assert track(*((float(at), 200) for at in range(7))).slope == 0.0
    assert track((0.0, 0), *((float(at), 200) for at in range(1, 7))).slope == 0.0
    assert track((0.0, 10), (1.0, 30), (2.0, 50)).slope == 20.0


def test_twenty_a_second_are_told_long_before_the_end() -> None:
    """Scenarios 35, 36 at speed: 20/s under launchd's 256; three counts above the line, 20 left at the least."""
    assert d.FD_HASTE == 8.0
    at, count, taken = play(20.0, 256)
    assert 179 < count <= 236
    assert at < 12.0
    assert taken < 40, "bounded: it is no busy loop"


def test_two_hundred_a_second_under_a_thousand() -> None:
    """Also where the regular counts see one step only."""
    assert 716 < play(200.0, 1024)[1] <= 1000


def test_a_slow_one_is_left_to_the_regular_counts() -> None:
    """Three hours to the limit: three regular counts come in time. A burst that is over is no state either."""
    assert d.FD_URGENT == 15.0
    assert not urgent(track(*((float(at), 900 + at) for at in range(6))), 1024, SHARES)
    assert not urgent(track((0.0, 300), (1.0, 1000), (2.0, 1000), (3.0, 990)), 1024, SHARES)
    assert not urgent(track((0.0, 880), (1.0, 950)), 1024, SHARES), "two counts are not three"
    assert not urgent(track((0.0, 10), (1.0, 400), (2.0, 800)), 1024, SHARES), "far from the line"
    assert not urgent(track((0.0, 880), (1.0, 950), (2.0, 1010)), None, SHARES)


@given(st.floats(1, 400), st.integers(128, 65536))
def test_what_takes_a_second_or_more_above_the_line_is_always_seen(rate: float, soft: int) -> None:
    """Whatever the rate: a leak that needs over 1.5 s from the line to the limit never reaches it unseen."""
    line = min(0.85 * soft, max(0.7 * soft, soft - d.FD_LEFT))
    if (soft - line) / rate < 1.5 or soft / rate > 4000:
        return
    _, count, _ = play(rate, soft, begin=0)
    assert count < soft
