"""The detector: for each condition the smallest example that fails it, and what no series may do (guards 8.4)."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.model.finding import Finding, Silence, Tier
from midwatch.policy import defaults as d
from midwatch.policy.leaks import detector, floors
from midwatch.policy.leaks.detector import detectable, judge
from midwatch.policy.leaks.floors import Series

MIB = float(d.MIB)
LIMIT = 1024 * MIB
HOUR = 3600.0


def series(values: list[float], tier: Tier = d.LEAK_SLOW, kind: str = "memory") -> Series:
    """One sample a bucket, and one more that closes the last."""
    found = Series(kind)
    for i, value in enumerate([*values, values[-1]]):
        floors.fold(found, tier, "a", i * tier.bucket, value)
    return found


def line(start: float, slope: float, count: int = 26) -> list[float]:
    return [(start + slope * i) * MIB for i in range(count)]


def failed(values: list[float], limit: float | None = LIMIT, load: Series | None = None) -> tuple[str, str]:
    said = judge(d.LEAK_SLOW, series(values), limit, load)
    assert isinstance(said, Silence), said
    return said.failed, said.words


def leak(values: list[float], tier: Tier = d.LEAK_SLOW, limit: float | None = LIMIT) -> Finding:
    said = judge(tier, series(values, tier), limit)
    assert isinstance(said, Finding), said
    return said


def test_the_figures_of_the_detector() -> None:
    """Guards 8.3, 8.4 and 9.3: the two bold rows and the two of descriptors."""
    assert Tier("slow", 1200.0, 24, 16 * MIB, 0.05, 8 * MIB, 24 * HOUR) == d.LEAK_SLOW
    assert Tier("fast", 180.0, 20, 16 * MIB, 0.05, 8 * MIB, 2 * HOUR, notes=False) == d.LEAK_FAST
    assert Tier("files", 600.0, 24, 4, 0, 2, 24 * HOUR, unit="descriptors") == d.LEAK_FILES
    assert Tier("sockets", 600.0, 24, 8, 0, 4, 24 * HOUR, unit="descriptors") == d.LEAK_SOCKETS
    assert (d.LEAK_Z, d.LEAK_HALF, d.LEAK_STEP, d.LEAK_LOAD_Z, d.LEAK_WINDOWS) == (3.0, 0.5, 0.4, 2.0, 3)
    assert (d.LEAK_NOISE, d.LEAK_ACT) == (3.0, 2 * HOUR)
    assert (d.LEAK_SLOW.tail, d.LEAK_FAST.tail) == (4, 3)


def test_sixty_mebibytes_an_hour_are_found_after_26_floors_with_rate_and_time_to_the_limit() -> None:
    """8.7 hours, not one floor earlier; 20 MiB a floor is 60 an hour."""
    found = leak(line(300, 20))
    assert found.rate * HOUR == pytest.approx(60 * MIB)
    assert found.ttl == pytest.approx((1024 - 800) / 60 * HOUR)
    assert (found.level, found.confirmed, found.now) == ("warn", 3, 800 * MIB)
    assert found.words == "memory: up by 60 MiB an hour (60 MiB to 60 MiB); its limit is 3 h 44 m away"
    assert found.reasons == (
        "up 460 MiB over 24 floors of 20 m, in both halves",
        "above all of this life before, 3 windows in a row, no single step makes it",
        "its load is not known",
    )
    assert failed(line(300, 20, 25)) == ("buckets", "25 of 26 floors of 20 m in this life: 20 m to go")


def test_too_little_a_rise_is_no_leak() -> None:
    """Less than 16 MiB, or less than 5 % of the first floor."""
    assert failed(line(300, 0.6)) == ("rise", "the floor moved by 13.8 MiB, less than 16 MiB")
    assert failed(line(600, 1))[0] == "rise"
    assert failed([300 * MIB] * 26) == ("rise", "the floor moved by 0 B, less than 16 MiB")


def test_a_rise_by_chance_is_no_trend() -> None:
    """The last floor is high, the rest goes up and down."""
    values = [(300 + 20 * (i % 2)) * MIB for i in range(25)] + [340 * MIB]
    assert failed(values)[0] == "trend"


def test_a_warm_up_that_ends_rises_in_one_half_only() -> None:
    """1 - exp(-t / 100 min): the second half is far flatter than the whole."""
    values = [(300 + 200 * (1 - math.exp(-i / 5))) * MIB for i in range(26)]
    name, words = failed(values)
    assert name == "halves"
    assert words.startswith("its second half rises at ")


def test_a_series_flat_in_half_its_pairs_has_no_slope_to_share() -> None:
    """Ties everywhere: the whole slope is 0, neither half can be half of it."""
    values = [(300 + 30 * (i >= 20)) * MIB for i in range(26)]
    assert failed(values)[0] == "halves"


def test_one_load_is_a_step() -> None:
    """Even, but for one bucket that makes 47 % of the rise; 35 % would pass."""
    values = [v + (75 * MIB if i >= 22 else 0) for i, v in enumerate(line(300, 4))]
    assert failed(values) == ("step", "one step makes 47% of the rise: something was loaded")
    leak([v + (45 * MIB if i >= 22 else 0) for i, v in enumerate(line(300, 4))])


def test_what_it_held_before_is_not_new() -> None:
    """The second day of a daily load: up again, but not above the first."""
    day = line(300, 10, 25)
    values = [*day, *([500 * MIB] * 5), *line(290, 0, 5), *line(290, 9, 26)]
    assert failed(values) == ("record", "488 MiB is not new: it has held 510 MiB before in this life")
    leak([*day, *([400 * MIB] * 5), *line(290, 0, 5), *line(290, 18, 26)])


def test_the_record_outlives_the_floors() -> None:
    """A week later the floors of that day are long gone; what they held is not."""
    values = [*line(500, 0, 30), *line(250, 0, 200), *line(250, 11, 26)]
    assert failed(values)[0] == "record"


def test_a_rising_load_explains_a_rise() -> None:
    """The gate is closed while the number of active units rises itself; a flat or short series leaves it open."""
    assert failed(line(300, 20), load=series([float(i) for i in range(26)]))[0] == "load"
    said = judge(d.LEAK_SLOW, series(line(300, 20)), LIMIT, series([5.0, 4.0] * 13))
    assert isinstance(said, Finding)
    assert "its load does not rise" in said.reasons
    short = judge(d.LEAK_SLOW, series(line(300, 20)), LIMIT, series([float(i) for i in range(9)]))
    assert isinstance(short, Finding)
    assert "its load is not known" in short.reasons


def test_three_windows_in_a_row_confirm() -> None:
    """The newest window alone is said, with what the one before lacked."""
    values = [300 * MIB, *line(450, 8, 25)]
    name, words = failed(values)
    assert name == "confirm"
    assert words.startswith("seen in 2 of 3 windows in a row; in the one before, one step makes ")
    assert failed([300 * MIB, *values[:-1]])[1].startswith("seen in 1 of 3 windows in a row")
    leak([*values, 660 * MIB])


def test_the_nearer_the_limit_the_louder() -> None:
    """A day away is a note, nearer a warning, under two hours urgent; without a limit a note."""
    assert leak(line(300, 2), limit=9e12).level == "note"
    assert leak(line(300, 20)).level == "warn"
    assert leak(line(520, 20)).level == "act"
    over = leak(line(800, 20))
    assert (over.level, over.ttl) == ("act", 0)
    assert over.words.endswith("; it is at its limit")
    free = leak(line(300, 20), limit=None)
    assert (free.level, free.ttl, free.ttl_low) == ("note", None, None)
    assert free.words.endswith("; no limit is set")


def test_the_fast_tier_speaks_only_near_the_limit() -> None:
    """300 MiB/h are found after 22 floors of 3 minutes; what is hours away may still be a session."""
    assert leak(line(400, 15, 22), d.LEAK_FAST).level == "act"
    far = judge(d.LEAK_FAST, series(line(300, 3, 22), d.LEAK_FAST), LIMIT)
    assert isinstance(far, Silence)
    assert (far.failed, far.words) == (
        "limit",
        "up by 60 MiB an hour (60 MiB to 60 MiB), but its limit is 11 h 1 m away",
    )
    free = judge(d.LEAK_FAST, series(line(300, 15, 22), d.LEAK_FAST))
    assert isinstance(free, Silence)
    assert free.words.endswith("no limit is set")


def test_noise_widens_the_range_that_is_shown() -> None:
    """The honest answer is a range; with noise as large as the rise it has no end."""
    rng = random.Random(1)
    found = leak([v + rng.gauss(0, 20 * MIB) for v in line(300, 10)])
    assert found.low < found.rate < found.high
    assert found.ttl is not None
    assert found.ttl_low is not None
    assert found.ttl_high is not None
    assert found.ttl_low < found.ttl < found.ttl_high
    assert " to " in found.words.rpartition(";")[2]
    assert detector._reach(60.0, None) == "its limit is 1 m or more away"


def test_a_change_within_the_window_is_told_beside_it() -> None:
    """A new configuration is no excuse, but the first thing to look at."""
    found = series(line(300, 20))
    floors.annotate(found, 60.0, "configuration changed before")
    floors.annotate(found, 5 * HOUR, "configuration changed")
    said = judge(d.LEAK_SLOW, found, LIMIT)
    assert isinstance(said, Finding)
    assert said.reasons[3:] == ("since then: configuration changed",)


def test_one_handle_an_hour_is_a_finding_in_handles() -> None:
    """9.3: per kind, rise of 4; the words count descriptors."""
    found = judge(d.LEAK_FILES, series([20.0 + (i + 2) // 6 for i in range(26)], d.LEAK_FILES, "regular"), 1024)
    assert isinstance(found, Finding)
    assert found.level == "note"
    assert found.words.startswith("regular: up by 1 descriptor an hour (")


def test_the_least_rate_that_could_be_found_is_said() -> None:
    """Three times the noise over the window, and never less than the smallest rise that counts."""
    assert detectable(d.LEAK_SLOW, series(line(300, 20, 5))) is None
    calm = detectable(d.LEAK_SLOW, series([200 * MIB] * 26))
    assert calm == pytest.approx(16 * MIB / (23 * 1200))
    loud = detectable(d.LEAK_SLOW, series([(200 + 50 * (i % 2)) * MIB for i in range(26)]))
    assert loud is not None
    assert calm is not None
    assert loud > 4 * calm


def test_holes_slow_the_rate_down_to_what_it_was() -> None:
    """20 MiB a bucket, half of the buckets unseen: still 60 MiB an hour."""
    found = Series("memory")
    for i in range(60):
        floors.fold(found, d.LEAK_SLOW, "a", i * 1200.0, (300 + 5 * i) * MIB if i % 2 else None)
    said = judge(d.LEAK_SLOW, found, LIMIT)
    assert isinstance(said, Finding)
    assert said.rate * HOUR == pytest.approx(15 * MIB)


def test_a_suspend_of_eight_hours_is_no_slope() -> None:
    """Guards test 11: awake time stands still, the bucket of the gap is skipped, and nothing is found."""
    found = Series("memory")
    for i in range(80):
        if i == 40:
            floors.skip(found)
        floors.fold(found, d.LEAK_SLOW, "a", i * 1200.0, (300 if i < 40 else 380) * MIB)
        assert isinstance(judge(d.LEAK_SLOW, found, LIMIT), Silence)


amounts = st.floats(0, 1e13)


@given(amounts, st.integers(0, 60))
def test_constants_never_alarm(value: float, count: int) -> None:
    """Any level, any length."""
    for tier in (d.LEAK_SLOW, d.LEAK_FAST, d.LEAK_FILES, d.LEAK_SOCKETS):
        assert isinstance(judge(tier, series([value] * (count + 1), tier), 1e12), Silence)


@given(st.lists(amounts, min_size=26, max_size=40), st.floats(0, 1e13))
def test_what_is_said_is_finite_and_falls_with_the_mirror(values: list[float], limit: float) -> None:
    """No NaN, a range that holds the rate, and a series and its reverse are never both a leak."""
    said = judge(d.LEAK_SLOW, series(values), limit)
    if isinstance(said, Finding):
        assert 0 < said.low <= said.rate <= said.high < math.inf or said.low <= 0 < said.rate <= said.high
        assert said.ttl is not None
        assert 0 <= said.ttl < math.inf
        assert isinstance(judge(d.LEAK_SLOW, series(values[::-1]), limit), Silence)


@given(st.lists(st.floats(0, 10), min_size=26, max_size=26), st.floats(17, 40), st.integers(1, 16))
def test_a_steeper_leak_is_found_as_well(noise: list[float], slope: float, times: int) -> None:
    """Where a slope under this noise is found, a multiple of it is; scaled values give the scaled rate."""
    under = [n + slope * i for i, n in enumerate(noise)]
    found = judge(d.LEAK_SLOW, series([(1 + v) * MIB for v in under]), None)
    assert isinstance(found, Finding)
    steeper = judge(d.LEAK_SLOW, series([(1 + n + times * slope * i) * MIB for i, n in enumerate(noise)]), None)
    assert isinstance(steeper, Finding)
    scaled = leak([(1 + v) * times * MIB for v in under], limit=None)
    assert scaled.rate == pytest.approx(found.rate * times)


@given(st.randoms(use_true_random=False))
def test_a_shuffled_leak_is_hardly_ever_one(rng: random.Random) -> None:
    """The order is the evidence: a permutation that is found has its floors nearly in order."""
    values = line(300, 20)
    rng.shuffle(values)
    said = judge(d.LEAK_SLOW, series(values), LIMIT)
    rising = sum(b > a for i, a in enumerate(values) for b in values[i + 1 :])
    assert isinstance(said, Silence) or rising > 0.7 * 325
