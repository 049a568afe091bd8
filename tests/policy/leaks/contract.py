"""The two tables of docs/leaks-detector.md, what they must not exceed, and how they are made.

Bold rows: the detector as it is; the others show what each condition is worth. Hours are medians over the seeds, for
each shape that the leak lies under. Must not print. Used by test_contract.py and scripts/detector_table.py.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from functools import cache, partial

from tests.policy.leaks import shapes
from tests.policy.leaks.measure import MUTE, alarms, hours, per_day

from midwatch.model.finding import Tier
from midwatch.policy import defaults as d

MIB = shapes.MIB
SEEDS = 30  # of the contract
SLACK = 0.05  # alarms a day above the contract
SLOW, FAST = "slow tier: 20-min floors, 8 h", "fast tier: 3-min floors, 1 h"
DAILY: dict[str, dict[str, float]] = {
    SLOW: {"steady": 0, "gc_saw": 0, "warmup": 0.02, "steps": 0.01, "diurnal": 0.12, "ratchet": 0, "sessions": 0,
           "overlap": 0.03, "overlap, load known": 0},
    FAST: {"steady": 0, "gc_saw": 0, "warmup": 0, "steps": 0, "diurnal": 0, "ratchet": 0, "sessions": 0.01,
           "overlap": 0.29, "overlap, load known": 0.03},
}  # fmt: skip
FOUND: dict[str, dict[int, tuple[float, int]]] = {  # hours, and to how many digits the contract gives them
    SLOW: {20: (18, 0), 60: (8.7, 1), 300: (8.7, 1)},
    FAST: {60: (10, 0), 300: (1.1, 1)},
}
FILE_HOURS = {1: 4.8, 2: 4.3, 6: 4.3, 20: 4.3}
FD_DAILY = {"files": 0.0, "sockets": 0.15, "total": 0.16}  # with SLACK at most .2 for sockets (guards' test 10)

Memory = Callable[[str, int, float], list[float]]


@cache
def _trace(shape: str, seed: int, leak: float) -> tuple[Sequence[float], Sequence[float] | None]:
    values, loads = shapes.memory(shape, seed, leak)
    return array("d", values), None if loads is None else array("d", loads)  # 35 kB instead of 140


def by_tier(tier: Tier, shape: str, seed: int, leak: float, notes: bool = False) -> list[float]:
    name, _, gate = shape.partition(", ")
    values, loads = _trace(name, seed, leak)
    return alarms(tier, values, loads if gate else None, notes=notes)


def least_squares(shape: str, seed: int, leak: float, window: int = 360, within: float = 24.0) -> list[float]:
    """What the first specification had: a line through six hours of raw minutes meets the limit within a day."""
    values, _ = _trace(shape.partition(", ")[0], seed, leak)
    found: list[float] = []
    total, weighted = sum(values[:window]), sum(i * v for i, v in enumerate(values[:window]))
    middle, spread = (window - 1) / 2, window * (window * window - 1) / 12
    for end in range(window, len(values)):
        slope = (weighted - middle * total) / spread
        left = shapes.LIMIT - values[end - 1]
        if slope > 0 and left / slope < within * 60 and not (found and end / 60 < found[-1] + MUTE):
            found.append(end / 60)
        weighted += (window - 1) * values[end] - (total - values[end - window])
        total += values[end] - values[end - window]
    return found


def _plain(name: str, bucket: float, record: float = 8 * MIB) -> Memory:
    return partial(by_tier, Tier(name, bucket, 24, 16 * MIB, 0.05, record, 0.0), notes=True)


ROWS: dict[str, Memory] = {
    "least squares, 6 h, limit within 24 h": least_squares,
    "10-min floors, 4 h, no record": _plain("plain", 600.0, -math.inf),
    "10-min floors, 4 h, record": _plain("record", 600.0),
    "30-min floors, 12 h, record": _plain("long", 1800.0),
    SLOW: partial(by_tier, d.LEAK_SLOW),
    FAST: partial(by_tier, d.LEAK_FAST),
}
SHAPES = (*DAILY[SLOW], "slow_saw")
UNDER = (*shapes.UNDER, "slow_saw")


@cache
def daily(row: str, shape: str, seeds: int) -> float:
    return per_day(lambda seed: ROWS[row](shape, seed, 0.0), seeds)


@cache
def found(row: str, leak: int, under: str, seeds: int) -> float | None:
    """Median hours until a leak of so many MiB an hour is found; None: in fewer than half of the traces."""
    return hours(lambda seed: ROWS[row](under, seed, leak), seeds)[seeds // 2]


@cache
def fd_daily(kind: str, seeds: int) -> float:
    return per_day(lambda seed: _fd(kind, seed, 0.0), seeds)


@cache
def fd_found(kind: str, leak: float, seeds: int) -> tuple[float | None, ...]:
    return hours(lambda seed: _fd(kind, seed, leak), seeds)


def _fd(kind: str, seed: int, leak: float) -> list[float]:
    sockets = shapes.sockets(seed) if kind != "files" else [0.0] * shapes.MINUTES
    files = shapes.files(seed, leak) if kind != "sockets" else [0.0] * shapes.MINUTES
    tier = d.LEAK_FILES if kind == "files" else d.LEAK_SOCKETS
    return alarms(tier, [a + b for a, b in zip(sockets, files, strict=True)], limit=None, notes=True)


def broken(seeds: int) -> list[str]:
    """Where the detector is worse than the contract. Fewer seeds prove less: two alarms more, a tenth of the hours."""
    few, problems = seeds < SEEDS, []
    slack = max(SLACK, 2.01 / (seeds * shapes.HOURS / 24)) if few else SLACK
    for row, allowed in DAILY.items():
        for shape, most in allowed.items():
            if (rate := daily(row, shape, seeds)) > most + slack:
                problems.append(f"{row}, {shape}: {rate:.2f} alarms a day, at most {most:.2f} + {slack:.2f}")
        for leak, (most, digits) in FOUND[row].items():
            for under in shapes.UNDER:
                at = found(row, leak, under, seeds)
                if at is None or round(at, digits) > most * (1.1 if few else 1):
                    problems.append(f"{row}: {leak} MiB/h under {under} found after {at} h, {most} allowed")
    for kind, most in FD_DAILY.items():
        if (rate := fd_daily(kind, seeds)) > most + (slack if most else 0):
            problems.append(f"{kind}: {rate:.2f} alarms a day, at most {most:.2f} + {slack:.2f}")
    for handles, most in FILE_HOURS.items():
        middle, slowest = (fd_found("files", handles, seeds)[i] for i in (seeds // 2, -1))
        if middle is None or round(middle, 1) > most or slowest is None or slowest > 6:
            problems.append(f"{handles} handles/h found after {middle} h, the slowest {slowest}; {most} and 6 allowed")
    return problems
