"""How far counters may be off, by kernel era (guards 2.2)."""

from __future__ import annotations

import os

import pytest

from midwatch.machine.linux import counters, procfs
from midwatch.machine.linux.counters import PAGE, Counters

MIB = 1 << 20


def nothing() -> None:
    return None


def test_this_kernel_is_measured() -> None:
    """The probe compares statm, stat and the page walk of ourselves."""
    seen = next((found for _ in range(50) if (found := counters.ourselves())), None)
    if seen is None:
        pytest.skip("no smaps_rollup here")
    version = procfs.kernel_version(os.uname().release)
    if version >= (6, 17):
        assert seen[0] * PAGE == seen[2]
        assert Counters(version).quality(1) == ("exact", "")


@pytest.mark.parametrize(("cpus", "mib"), [(2, 0.25), (16, 2), (64, 32), (250, 488)])
def test_from_6_2_on_the_error_grows_with_the_square_of_the_cpus(cpus: int, mib: float) -> None:
    """guards 2.2: max(32, 2 x CPUs) pages a CPU."""
    error = Counters((6, 5), cpus, nothing).error()
    assert abs(error / MIB * 4096 / PAGE - mib) <= 0.02 * mib + 0.01
    quality, why = Counters((6, 16), cpus, nothing).quality(4)
    assert quality == "approximate"
    assert f"+-{error >> 10} KiB" in why


def test_before_6_2_it_grows_with_the_threads() -> None:
    """64 pages each."""
    old = Counters((5, 15), 2, nothing)
    assert old.quality(4) == ("approximate", f"+-{4 * 64 * PAGE >> 10} KiB: Linux before 6.2 counts per thread")
    assert old.error() == 64 * 64 * PAGE


def test_from_6_17_on_it_is_exact() -> None:
    """No probe is needed."""
    assert Counters((6, 17), 250, nothing).error() == 0
    assert Counters((7, 1), 250, nothing).quality(None) == ("exact", "")


def test_a_back_ported_fix_is_recognised() -> None:
    """statm agrees with the page walk and differs from the estimate of stat: it is summed over all CPUs."""
    assert Counters((6, 12), 64, lambda: (1000, 990, 1000 * PAGE)).error() == 0
    assert Counters((6, 12), 64, lambda: (1000, 1000, 1000 * PAGE)).error() == 128 * 64 * PAGE
    far = 1 << 18
    assert Counters((6, 12), 2, lambda: (far, 990, 0)).error() == far * PAGE  # worse than the bound: what was seen
