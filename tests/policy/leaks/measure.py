"""Runs the detector over the traces: how often a day it is wrong, after how many hours it is right.

One alarm mutes the next for six hours, as a person would not be told twice. Must not decide what is good enough:
contract.py does. Used by the tests beside it and by scripts/detector_table.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.policy.leaks.shapes import HOURS, LIMIT

from midwatch.model.finding import Finding, Tier
from midwatch.policy.leaks.detector import judge
from midwatch.policy.leaks.floors import Series, fold

MUTE = 6.0


def alarms(
    tier: Tier,
    values: Sequence[float],
    loads: Sequence[float] | None = None,
    limit: float | None = LIMIT,
    notes: bool = False,
) -> list[float]:
    """Hours at which an alarm is raised. `notes`: notes count as well."""
    series, load, found = Series("memory"), Series("load"), []
    quiet = -1.0
    for minute, value in enumerate(values):
        if loads is not None:
            fold(load, tier, "life", minute * 60.0, loads[minute])
        if not fold(series, tier, "life", minute * 60.0, value) or minute / 60 < quiet:
            continue
        said = judge(tier, series, limit, load if loads is not None else None)
        if isinstance(said, Finding) and (notes or said.level != "note"):
            found.append(minute / 60)
            quiet = minute / 60 + MUTE
    return found


def per_day(detect: Callable[[int], list[float]], seeds: int) -> float:
    """Alarms per process-day over so many seeds."""
    return sum(len(detect(seed)) for seed in range(seeds)) / (seeds * HOURS / 24)


def hours(detect: Callable[[int], list[float]], seeds: int) -> tuple[float | None, ...]:
    """When each of the seeds is found, sorted; None when it never is (last)."""
    first = [next(iter(detect(seed)), None) for seed in range(seeds)]
    return tuple(sorted(first, key=lambda at: 1e9 if at is None else at))

