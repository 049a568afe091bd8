"""The guard on one run's memory: S47, S48, F15, F16, guards 13.2 and 13.3, walks, gaps, words."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policy.guarding import GIB, MIB, Guarded, between, recorded, sample

from midwatch.model.event import Eased, Tripped
from midwatch.policy import defaults as d
from midwatch.policy.guard import Confirm, Evidence
from midwatch.policy.guard.lines import Lines

LINES = Lines(warn=800 * MIB, soft=1000 * MIB, hard=2000 * MIB)


def kinds(told: list[Any]) -> list[Any]:
    return [getattr(e, "level", None) or getattr(e, "stage", None) or type(e) for e in told]


# -- the incident and its counter-examples


@pytest.mark.parametrize("how", ["linear", "exponential"])
@pytest.mark.parametrize("step", [None, 2.0, 0.5])
def test_the_incident_is_captured_early_and_ended_at_the_line(how: str, step: float | None) -> None:
    """S47, docker-agent #2978: evidence before 500 MB, the kill at the line of 4 GiB; 26 GB are never reached."""
    series = recorded("docker_agent_2978.json")
    hard = series["hard_bytes"]
    g = Guarded(Lines(int(0.8 * hard), None, hard)).watch(between(series["samples"], how), 1800.0, step=step)
    _, at_capture, _ = g.first(Evidence, stage=1)
    _, at_end, trip = g.first(Tripped, level="hard")
    assert at_capture < 500e6
    assert 0.85 * hard <= at_end
    if step is None:
        assert at_end <= hard + 814e6 * 0.2
    assert trip.polite == 0.0, "at this speed nobody is asked"
    assert d.GROWS_WITHIN == 60.0


def test_thirty_second_samples_would_be_too_late() -> None:
    """S47: why the pace is what it is: the user's own period acts at 26 GB."""
    series = recorded("docker_agent_2978.json")
    value = between(series["samples"], "linear")
    g = Guarded(Lines(3 * GIB, None, series["hard_bytes"])).watch(value, 1800.0, step=30.0)
    assert g.first(Tripped, level="hard")[1] > 13e9


def test_flat_and_step_series_raise_no_alarm() -> None:
    """S48: 8 h flat +-5 %: nothing; a step 168 -> 400 MB: evidence at most; a slow leak is not for this guard."""
    assert d.GROWS_BYTES == 128 * MIB
    noise = random.Random(1)
    flat = Guarded(Lines(4 * GIB, None, 5 * GIB)).watch(lambda _: 168e6 * noise.uniform(0.95, 1.05), 8 * 3600.0)
    assert flat.told == []
    step = Guarded(Lines(4 * GIB, None, 5 * GIB)).watch(lambda t: 168e6 if t < 900 else 400e6, 3 * 3600.0)
    assert step.levels() == []
    assert len(step.stages()) <= 1
    leak = Guarded(Lines(4 * GIB, None, 5 * GIB)).watch(lambda t: 168e6 + 200e6 * t / 3600, 6.5 * 3600.0)
    assert leak.told == []


@given(st.floats(0.05, 3.0), st.floats(0.05, 0.6), st.integers(64 * MIB, 16 * GIB))
def test_a_burst_to_sixty_per_cent_is_never_ended(seconds: float, share: float, hard: int) -> None:
    """Guards 4: a model load at any speed, whatever the line."""
    top = share * hard
    g = Guarded(Lines(int(0.8 * hard), None, hard)).watch(
        lambda t: top * (0.1 + 0.9 * min(max(t - 30.0, 0.0) / seconds, 1.0)), 60.0)  # fmt: skip
    assert g.levels() == []


def test_stage_one_comes_before_stage_two_when_there_is_time() -> None:
    """35 MB/s under 4 GiB: a minute before the line, then ten seconds before it."""
    g = Guarded(Lines(int(3.2 * GIB), None, 4 * GIB)).watch(lambda t: 1e9 + 35e6 * max(t - 700, 0), 900.0)
    assert g.stages() == [1, 2]
    assert g.first(Evidence, stage=1)[1] < 2.3e9
    assert "while it was calm" in g.first(Evidence, stage=1)[2].why


def test_a_burst_below_the_line_leaves_evidence() -> None:
    """Guards 13.3: 0.5 -> 2.5 GB in 2 s under 4 GiB: evidence exists (stage 2 holds stage 1), nothing is done."""
    g = Guarded(Lines(int(3.2 * GIB), None, 4 * GIB)).watch(lambda t: 5e8 + 1e9 * min(max(t - 20, 0), 2), 60.0)
    assert g.stages() == [2]
    assert g.levels() == []


@pytest.mark.parametrize(("rate", "hard"), [(1e9, 512 * MIB), (800e6, 4 * GIB), (50e6, 512 * MIB)])
def test_a_runaway_is_captured_twice(rate: float, hard: int) -> None:
    """Guards 13.3: dead below limit + rate x 0.6 s, here with 0.2 s for the kernel; never before 85 % of the line."""
    g = Guarded(Lines(int(0.8 * hard), None, hard)).watch(lambda t: 60e6 + rate * max(t - 10, 0), 400.0)
    at, value, trip = g.first(Tripped, level="hard")
    assert 0.85 * hard <= value + 1
    assert value + rate * 0.2 <= hard + rate * 0.6
    assert trip.polite == 0.0, "at this speed nobody is asked"
    assert "growing" in trip.words
    if hard == 4 * GIB:
        assert g.stages() == [2]
        assert g.first(Evidence, stage=2)[0] <= at
    assert d.GROWS_LAST == 10.0


# -- lines and their hysteresis


def test_a_line_arms_after_three_samples_and_two_seconds() -> None:
    """Guards 4: whichever is later; a peak between is no level."""
    assert (d.ARM_SAMPLES, d.ARM_SECONDS) == (3, 2.0)
    fast = Guarded(LINES)
    assert [kinds(fast.look(sample(0.25 * i, 850 * MIB))) for i in range(9)] == [[]] * 8 + [["warn"]]
    slow = Guarded(LINES)
    assert [kinds(slow.look(sample(2.0 * i, 850 * MIB))) for i in range(3)] == [[], [], ["warn"]]
    peaks = Guarded(LINES).watch(lambda t: 850 * MIB if int(t) % 3 else 700 * MIB, 100.0, step=1.0)
    assert peaks.levels() == []


def test_an_episode_ends_after_a_minute_below_ninety_per_cent() -> None:
    """F15: 85 % of the line is said once; after a minute well below it is said again."""
    assert d.DISARM == 0.9
    g = Guarded(LINES)
    for at in range(0, 60, 2):
        g.look(sample(float(at), 850 * MIB))
    for at in range(60, 100, 2):
        g.look(sample(float(at), 750 * MIB))  # 94 %: not low enough
    for at in range(100, 158, 2):
        g.look(sample(float(at), 700 * MIB))
    assert g.levels() == ["warn"]
    for at in range(158, 164, 2):
        g.look(sample(float(at), 700 * MIB))
    for at in range(164, 180, 2):
        g.look(sample(float(at), 850 * MIB))
    assert [type(e) for _, _, e in g.told if not isinstance(e, Evidence)] == [Tripped, Eased, Tripped]


def test_soft_comes_before_hard_and_hard_at_once() -> None:
    """F16: at the soft line it is to drain; the hard line needs no second sample and is proposed once."""
    g = Guarded(LINES)
    for at in range(0, 8, 2):
        g.look(sample(float(at), 1100 * MIB))
    assert g.levels() == ["soft", "warn"]
    trip = g.look(sample(9.0, 2001 * MIB))[0]
    assert (trip.level, trip.guard, trip.value, trip.quality) == ("hard", "memory", 2001 * MIB, "exact")
    assert g.look(sample(9.1, 2001 * MIB)) == []


def _rising(rate: float, at: float) -> float:
    return 1000 * MIB + rate * at


def test_a_slow_grower_has_time_to_leave() -> None:
    """Polite as far as the host allows it, when it would take long to grow past the line."""
    assert d.POLITE_LEAST == 0.5
    for rate, polite in ((1 * MIB, 2.0), (25 * MIB, 1.6), (100 * MIB, 0.0)):
        g = Guarded(LINES, polite=2.0).watch(partial(_rising, rate), 2000.0)
        assert g.first(Tripped, level="hard")[2].polite == pytest.approx(polite)


def test_one_that_grows_on_while_it_should_leave_is_hurried() -> None:
    """2 % past its line: the rest of the grace is over; said once."""
    assert d.LINE_OVER == 1.02
    g = Guarded(LINES)
    for at, mib in ((0.0, 1990), (2.0, 2001), (4.0, 2030), (6.0, 2041), (8.0, 2100), (10.0, 1000)):
        g.look(sample(at, mib * MIB))
    hard = [(at, e.polite) for at, _, e in g.told if isinstance(e, Tripped) and e.level == "hard"]
    assert hard == [(2.0, pytest.approx(40 / 5.5, rel=0.01)), (6.0, 0.0)]


def test_absent_is_not_zero_and_does_nothing() -> None:
    """It neither arms nor disarms; the next number goes on where the last one was."""
    g = Guarded(LINES)
    for at in range(0, 6, 2):
        g.look(sample(float(at), 850 * MIB))
    for at in range(6, 200, 2):
        assert g.look(sample(float(at), None)) == []
    assert g.look(sample(200.0, 850 * MIB)) == []
    assert g.state.arms["warn"].on
    assert Guarded(LINES).look(sample(0.0, None)) == []


def test_swap_counts_and_file_pages_do_not() -> None:
    """S51, S52: what is held is what the reading says; a cgroup's own number goes before it, or stands alone."""
    g = Guarded(LINES)
    assert kinds(g.look(sample(0.0, 2100 * MIB, "upper-bound", 5, cgroup_bytes=300 * MIB))) == []
    assert kinds(g.look(sample(2.0, None, cgroup_bytes=2100 * MIB))) == ["hard"]
    assert g.told[-1][2].quality == "exact"


def test_a_kernel_limit_is_not_lowered() -> None:
    """Where memory.max holds the line, prediction lowers nothing."""
    for kernel, ended in ((False, True), (True, False)):
        g = Guarded(LINES, kernel=kernel)
        g.look(sample(0.0, 1500 * MIB))
        g.look(sample(0.5, 1990 * MIB))
        assert ("hard" in g.levels()) is ended


# -- upper bounds


def test_a_forked_tree_is_walked_once_and_left_alone() -> None:
    """Guards 13.2: five processes, a sum of 2.5 GB, truly 580 MB, limit 1 GiB: one walk, no action."""
    assert d.RATIO_MOVES == 0.2
    g = Guarded(Lines(int(0.8 * GIB), int(0.9 * GIB), GIB))
    for at in range(0, 600, 2):
        g.look(sample(float(at), int(2.53e9), "upper-bound", 5, largest=(7, int(5.2e8))), pss=int(5.92e8))
    assert g.walks == [0.0]
    assert g.levels() == []


def test_the_ratio_is_refreshed_when_the_tree_or_the_sum_has_changed() -> None:
    """20 % more, or another number of processes: walked again; and ended when the walk says so."""
    g = Guarded(Lines(int(0.8 * GIB), None, GIB))
    many: dict[str, Any] = {"quality": "upper-bound", "largest": (7, 10**8)}
    g.look(sample(0.0, 2 * GIB, members=5, **many), pss=GIB // 2)
    g.look(sample(10.0, int(2.3 * GIB), members=5, **many), pss=GIB // 2)
    assert g.walks == [0.0]
    g.look(sample(20.0, int(2.5 * GIB), members=5, **many), pss=GIB // 2)
    g.look(sample(30.0, int(2.5 * GIB), members=6, **many), pss=GIB // 2)
    assert g.walks == [0.0, 20.0, 30.0]
    assert kinds(g.look(sample(40.0, int(4.0 * GIB), members=6, **many), pss=GIB + 1))[-1] == "hard"
    assert g.told[-1][2].value == GIB + 1


def test_walks_are_rare_when_members_come_and_go() -> None:
    """At most 1 % of the time, unless the last walk says that the line is near."""
    assert d.WALK_EVERY == 0.8
    g = Guarded(Lines(int(0.8 * GIB), None, GIB))
    for number in range(1200):
        g.look(sample(0.1 * number, 10 * GIB, "upper-bound", 5 + number % 2, largest=(7, 1)), pss=GIB // 4)
    assert len(g.walks) <= 2 + 120 / 8


def test_one_process_over_the_line_needs_no_walk() -> None:
    """Guards 2.3: a process's own number is a lower bound of its tree: act."""
    g = Guarded(LINES)
    assert kinds(g.look(sample(0.0, 3000 * MIB, "upper-bound", 4, largest=(7, 2001 * MIB)))) == ["hard"]


def test_without_walks_a_sum_only_warns() -> None:
    """macOS: nothing can confirm it, so nothing is done on a sum; it is said."""
    g = Guarded(LINES, walks=False)
    for at in range(0, 20, 2):
        g.look(sample(float(at), 3000 * MIB, "upper-bound", 4, largest=(7, 500 * MIB)))
    assert g.levels() == ["warn"]
    assert g.told[0][2].quality == "upper-bound"


def test_a_rough_number_is_confirmed_before_anything_is_done() -> None:
    """Guards 2.2: with an error of the counters a value near the line is walked first; well above it is sure."""
    assert d.ROUGH == 0.05
    near = Guarded(LINES, error=32 * MIB)
    assert kinds(near.look(sample(0.0, 2010 * MIB, "approximate"))) == [Confirm]
    assert kinds(near.look(sample(0.1, 2010 * MIB, "approximate"), pss=1990 * MIB)) == [Confirm]
    assert kinds(near.look(sample(0.2, 2040 * MIB, "approximate"))) == ["hard"]
    forked = Guarded(LINES)  # a process came or left during the sum: still an upper bound
    seen = sample(0.0, 9000 * MIB, "approximate", 5, largest=(7, 500 * MIB))
    assert kinds(forked.look(seen, pss=600 * MIB)) == [Confirm]
    part = Guarded(LINES)
    assert kinds(part.look(sample(0.0, 2050 * MIB, "approximate"))) == [Confirm]
    assert kinds(part.look(sample(1.0, 2200 * MIB, "approximate"))) == ["hard"]


# -- words


def test_words_name_the_number_the_line_and_the_speed() -> None:
    """A tired person reads them."""
    assert d.SLOPE_SAID == MIB
    g = Guarded(LINES)
    for at in range(0, 8, 2):
        g.look(sample(float(at), 1100 * MIB))
    g.look(sample(8.0, 2010 * MIB))
    words = {e.level: e.words for _, _, e in g.told if isinstance(e, Tripped)}
    assert words["warn"] == "holds 1.1 GiB, more than 800 MiB (80% of its line)"
    assert words["soft"] == "holds 1.1 GiB, over its soft line of 1000 MiB"
    assert words["hard"] == "holds 2 GiB, growing 455 MiB a second, over its hard line of 2 GiB"
    fast = Guarded(LINES)
    fast.look(sample(0.0, 1000 * MIB))
    (trip,) = (e for e in fast.look(sample(0.5, 1900 * MIB)) if isinstance(e, Tripped))
    assert trip.words == "holds 1.9 GiB, growing 1.8 GiB a second, so fast that it would cross its hard line of 2 GiB"
    assert trip.line == 1700 * MIB
    share = Guarded(Lines(256 * MIB))
    for at in range(0, 8, 2):
        share.look(sample(float(at), 300 * MIB))
    assert share.told[0][2].words.endswith("(its share of all services' memory)")


def test_what_is_remembered_of_a_run_is_bounded() -> None:
    """Guards 13.12: a year of looks is as small as a minute of them, whatever was seen."""
    noise = random.Random(3)
    g = Guarded(LINES)
    sizes = []
    at = 0.0
    for _ in range(3000):
        at += noise.choice([0.1, 0.5, 2.0, 120.0])
        held = int(noise.choice([100, 900, 1100, 2100]) * MIB * noise.uniform(0.9, 1.1))
        kind = noise.choice(["exact", "upper-bound", "approximate", None])
        seen = sample(at, held if kind else None, kind or "absent", noise.choice([1, 5]), largest=(7, held // 3))
        g.look(seen, pss=held // 2)
        sizes.append(len(msgspec.json.encode(g.state)))
    assert max(sizes) < 2048
