"""Lines of a service (guards 4, F12-F16): own ones, shares of the budget, the effective kill line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.model.service import MemoryLines
from midwatch.policy import defaults as d
from midwatch.policy.guard.lines import Lines, budget, kill_line, lines, reserve, share

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(("basis", "cap"), [(8, 4), (16, 8), (32, 16), (126, 16), (4, 2)])
def test_one_service_has_half_the_machine(basis: int, cap: int) -> None:
    """F12: 8/16/32/126 GB hosts and a 4 GB cgroup: half of it, at most 16 GiB."""
    assert share(basis * GIB, budget(basis * GIB), [None]) == cap * GIB
    assert (d.SHARE_MOST, d.SHARE_BYTES) == (0.5, 16 * GIB)


def test_odd_machines_are_no_exception() -> None:
    """F13: a basis of 4097 MB and of 5 GB: at most 60 % of it."""
    for basis in (4097 * MIB, 5 * GIB):
        assert share(basis, budget(basis), [None]) <= 0.6 * basis


_HARDS = st.lists(st.none() | st.integers(16 * MIB, 64 * GIB), min_size=1, max_size=40)


@given(st.integers(256 * MIB, 2048 * GIB), _HARDS)
def test_default_shares_fit_into_the_budget(basis: int, hards: list[int | None]) -> None:
    """F14: however many services and whatever lines others have."""
    assert d.BUDGET_SHARE == 0.8
    whole = budget(basis)
    part = share(basis, whole, hards)
    assert part > 0
    assert part * sum(hard is None for hard in hards) <= whole
    assert part <= basis / 2


def test_a_small_share_warns_nobody() -> None:
    """Without a line it is warned at its share and never ended for it; 196 MiB each is not worth a word."""
    part = share(24 * GIB, budget(24 * GIB), [None] * 100)
    assert part < 200 * MIB
    assert lines(None, part, budget(24 * GIB)) == Lines(warn=256 * MIB)
    assert lines(MemoryLines(), 3 * GIB, 20 * GIB) == Lines(warn=3 * GIB)
    assert lines(None, 10 * MIB, 100 * MIB).warn == 50 * MIB
    assert d.SHARE_LEAST == 256 * MIB


def test_it_is_said_at_four_fifths_of_the_first_line() -> None:
    """F15; `hard = "auto"` takes the share as the line, and only then may it be ended for it."""
    assert lines(MemoryLines(1000, 2000), 5, 9) == Lines(800, 1000, 2000, own=True)
    assert lines(MemoryLines(hard=2000), 5, 9) == Lines(1600, None, 2000, own=True)
    assert lines(MemoryLines(soft=1000), 5, 9) == Lines(800, 1000, None, own=True)
    assert lines(MemoryLines(hard="auto"), 2000, 9000) == Lines(1600, None, 2000)
    assert d.WARN_SHARE == 0.8


@given(st.integers(1, 64 * GIB), st.floats(-1e9, 1e11), st.floats(0.1, 2.0))
def test_speed_lowers_the_line_by_at_most_fifteen_per_cent(hard: int, slope: float, period: float) -> None:
    """So a burst to 60 % is never ended, and a shrinking or calm tree has its whole line; the kernel needs no help."""
    assert (d.LINE_AHEAD, d.LINE_LATENCY) == (0.15, 0.2)
    line = kill_line(hard, slope, period)
    assert int(0.85 * hard) - 1 <= line <= hard
    assert slope > 0 or line == hard
    assert kill_line(hard, slope, period, kernel=True) == hard


def test_the_figures_of_the_runaway() -> None:
    """800 MB/s with hard = 4 GiB is acted on at about 3.8 GiB, not at 4.2 (guards 4)."""
    assert 3.7 * GIB < kill_line(4 * GIB, 800e6, 0.1) < 3.85 * GIB


def test_the_reserve_grows_with_the_machine_and_never_eats_a_small_one() -> None:
    """max(512 MiB, 4 %); a machine below 5 GiB keeps a tenth, or a 1 GiB container would be in alarm for ever."""
    assert (d.RESERVE_BYTES, d.RESERVE_SHARE, d.RESERVE_MOST) == (512 * MIB, 0.04, 0.1)
    assert reserve(24 * GIB) == int(0.04 * 24 * GIB)
    assert reserve(8 * GIB) == 512 * MIB
    assert reserve(1 * GIB) == int(0.1 * GIB)
