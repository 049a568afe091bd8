"""The pace rule (guards 3.2): no line is crossed while asleep at the assumed rate; bounded memory of slopes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from midwatch.policy import defaults as d
from midwatch.policy.guard.pace import Track, after_gap, observe, period

MIB, GIB = 1 << 20, 1 << 30


def track(*samples: tuple[float, int]) -> Track:
    t = Track()
    for at, value in samples:
        t = observe(t, at, value)
    return t


def test_the_pause_is_clamped() -> None:
    """0.1 s to 2 s, also with a line that is crossed, and with nothing to watch."""
    assert (d.PACE_LEAST, d.PACE_MOST) == (0.1, 2.0)
    assert period([]) == 2.0
    assert period([(-5 * MIB, d.PACE_TREE)]) == 0.1
    assert period([(64 * MIB, d.PACE_TREE), (10 * GIB, d.PACE_HOST)]) == 1.0


def test_a_calm_tree_is_looked_at_every_two_seconds() -> None:
    """500 MB of 2 GiB with a calm history: 24 s of headroom, clamped."""
    t = track(*((2.0 * i, 500 * MIB) for i in range(400)))
    assert t.rate == d.PACE_TREE == 64 * MIB
    assert period([(2048 * MIB - 500 * MIB, t.rate)]) == 2.0
    assert (t.slope, t.calm, t.growth(798.0)) == (0.0, 500 * MIB, 0)


def test_a_young_run_is_watched_closely() -> None:
    """No history is not a calm history: a start may be a runaway."""
    assert d.PACE_YOUNG == 3
    t = track(*((float(at), 50 * MIB) for at in range(0, 119, 2)))
    assert t.rate == GIB
    assert observe(t, 120.0, 50 * MIB).rate == 64 * MIB


def test_polled_lines_are_watched_closely_while_that_is_cheap() -> None:
    """A calm server under 512 MiB that suddenly takes 2 GiB/s: seen in time by few, not paid for with 500."""
    assert (d.PACE_COST, d.PACE_BURST) == (0.0004, 2 * GIB)
    heads = [(452 * MIB, d.PACE_TREE)] * 10
    assert period(heads) == 2.0
    assert period(heads, [452 * MIB, 2048 * MIB]) == 452 / 2048
    assert period(heads, [452 * MIB], cost=0.0001) == 0.25
    assert period(heads, [452 * MIB], cost=0.0004) == 1.0
    assert period(heads, [452 * MIB], cost=0.0045) == 2.0
    assert period(heads, [-1.0]) == 0.1
    assert period([], [452 * MIB]) == 452 / 2048


def test_what_was_fast_once_is_watched_for_ten_minutes() -> None:
    """Four times the fastest of ten minutes, then forgotten; ten minutes are all that is kept."""
    assert (d.PACE_TIMES, d.PACE_MINUTES) == (4.0, 10)
    t = track((0.0, 300 * MIB), (1.0, 340 * MIB), (2.0, 340 * MIB))
    for at in range(60, 660, 30):
        t = observe(t, float(at), 340 * MIB)
        assert t.rate == (GIB if at < 120 else 160 * MIB if at < 600 else 64 * MIB)
        assert len(t.minutes) <= 10
        assert len(t.recent) <= 4


def test_a_jump_or_a_doubling_is_watched_closely() -> None:
    """The first odd sample is enough: more than 64 MiB between two, or twice what is calm."""
    assert (d.PACE_JUMP, d.PACE_BOOST) == (64 * MIB, GIB)
    old = ((0.0, 900 * MIB), (70.0, 900 * MIB), (140.0, 900 * MIB))
    assert track(*old, (142.0, 965 * MIB)).rate == GIB
    assert track(*old, (142.0, 960 * MIB)).rate == 120 * MIB
    slow = track(*((float(at), 100 * MIB + at * MIB // 5) for at in range(0, 520, 2)))
    assert slow.rate == 64 * MIB
    assert observe(slow, 520.0, 2 * slow.calm).rate == GIB


def test_a_gap_voids_slopes_and_keeps_levels() -> None:
    """A sleep is no growth (guards 3.2): what was held stays known."""
    t = after_gap(track((0.0, 300 * MIB), (1.0, 900 * MIB)))
    assert (t.slope, t.calm) == (0.0, 300 * MIB)
    assert observe(t, 1.01, 2 * GIB).slope == 0.0, "a suspend takes no awake time: no slope over it"
    assert after_gap(Track()) == Track()
    assert Track().growth(5.0) == 0
    assert Track().rate == GIB


def test_growth_is_that_of_the_last_minute() -> None:
    t = track((0.0, 100), (50.0, 200), (70.0, 500), (130.0, 900))
    assert t.growth(130.0) == 400
    assert t.growth(500.0) == 0


_SERIES = st.lists(st.tuples(st.floats(0.05, 5.0), st.integers(0, 8 * GIB)), min_size=1, max_size=60)


@given(_SERIES, st.integers(1, 16 * GIB))
def test_no_line_is_crossed_asleep_at_the_assumed_rate(series: list[tuple[float, int]], line: int) -> None:
    """Whatever was seen: at the assumed rate it is below the line at the next look, or the pause is the least."""
    t, at = Track(), 0.0
    for step, value in series:
        at += step
        t = observe(t, at, value)
        pause = period([(line - value, t.rate)])
        assert d.PACE_LEAST <= pause <= d.PACE_MOST
        assert pause == d.PACE_LEAST or value + t.rate * pause <= line * (1 + 1e-9)
        assert t.rate >= max(d.PACE_TREE, d.PACE_TIMES * t.slope * 0.25 if len(t.recent) > 1 else 0)


@given(st.integers(0, 64 * GIB), st.integers(512 * MIB, 8 * GIB))
def test_the_host_cannot_cross_its_reserve_unseen(free: int, reserve: int) -> None:
    """earlyoom's property with 6 GiB/s."""
    assert d.PACE_HOST == 6 * GIB
    pause = period([(free - reserve, d.PACE_HOST)])
    assert pause == d.PACE_LEAST or free - d.PACE_HOST * pause >= reserve * (1 - 1e-9)
