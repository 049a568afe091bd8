"""The two statistics of the detector, both about ranks and medians: a few wild points change nothing.

Theil-Sen: the median of the slopes of all pairs. Mann-Kendall: are there more rising pairs than chance has, in standard
deviations, corrected for ties. 24 points are 276 pairs: microseconds. Must not know what is measured.
Tests: tests/policy/leaks/test_trend.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_MAD = 1.4826  # from the median deviation to a standard deviation, normal noise


def slopes(xs: Sequence[float], ys: Sequence[float]) -> list[float]:
    """The slopes of all pairs, sorted. `xs` rise."""
    count = len(xs)
    return sorted((ys[j] - ys[i]) / (xs[j] - xs[i]) for i in range(count) for j in range(i + 1, count))


def middle(ordered: Sequence[float]) -> float:
    """The median of a sorted sequence; 0 of nothing."""
    half = len(ordered) // 2
    if not ordered:
        return 0.0
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def spread(ys: Sequence[float]) -> float:
    """Standard deviation of Mann-Kendall's count for these values, ties taken out; 0 when all are equal."""
    ties = [ys.count(value) for value in set(ys)]
    return math.sqrt((_pairs(len(ys)) - sum(_pairs(tied) for tied in ties)) / 18)


def _pairs(count: int) -> int:
    return count * (count - 1) * (2 * count + 5)


def kendall(ys: Sequence[float]) -> float:
    """Mann-Kendall's z: above 3 it rises by more than chance; continuity corrected."""
    total = sum((b > a) - (b < a) for i, a in enumerate(ys) for b in ys[i + 1 :])
    return (total - (total > 0) + (total < 0)) / spread(ys) if total else 0.0


def interval(ordered: Sequence[float], deviation: float) -> tuple[float, float]:
    """The slopes between which the true one lies in 95 of 100 cases (Sen 1968). `deviation`: of `spread`."""
    out = int((len(ordered) - 1.96 * deviation) / 2)
    return ordered[max(out, 0)], ordered[min(len(ordered) - 1 - out, len(ordered) - 1)]


def noise(xs: Sequence[float], ys: Sequence[float], slope: float) -> float:
    """How far the values lie off the line, as a standard deviation."""
    rest = [y - slope * x for x, y in zip(xs, ys, strict=True)]
    centre = middle(sorted(rest))
    return _MAD * middle(sorted(abs(value - centre) for value in rest))
