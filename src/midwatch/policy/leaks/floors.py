"""Samples folded into floors: the smallest value of each bucket of time, the last few, and the record before them.

A floor is what is left when sawteeth, requests and sessions are over: only what is never given back raises it. A sample
costs one comparison; memory is bounded (under 2 KiB a series), and a Series is a value that survives a restart of the
engine (msgspec). It is changed in place, the one such value of the policy: it is folded for each service every 2 s.
Must not judge. Tests: tests/policy/leaks/test_floors.py.
"""

from __future__ import annotations

import math

import msgspec

from midwatch.model.finding import Tier
from midwatch.policy.defaults import LEAK_WINDOWS

NOTES = 4


class Series(msgspec.Struct):
    """Floors of one number of one life. `steps`: buckets from each floor to the one before it, 1 without a hole."""

    kind: str
    life: str = ""
    origin: float = 0.0
    bucket: int = 0  # the open one, counted from the origin
    low: float | None = None  # its smallest sample so far
    spoiled: bool = False
    newest: int = -1  # bucket of the newest floor
    floors: list[float] = []
    steps: bytes = b""
    record: float | None = None  # highest `tail` of floors among those no longer kept
    notes: list[tuple[float, str]] = []


def kept(tier: Tier) -> int:
    """How many floors a series keeps: all windows that confirm, and the tails just before the first of them."""
    return tier.count + tier.tail + LEAK_WINDOWS - 2


def fold(series: Series, tier: Tier, life: str, at: float, value: float | None) -> bool:
    """Takes a sample (None: could not be read) of `life` at awake second `at`. True: a bucket ended, judge now.

    A new life (process identity, run id) or a clock that went back begins the series anew.
    """
    number = int((at - series.origin) // tier.bucket)
    if life != series.life or number < series.bucket:
        _begin(series, life, at)
        number = 0
    ended = number != series.bucket
    if ended:
        _close(series, tier)
        series.bucket, series.low, series.spoiled = number, None, False
        if number - series.newest > tier.count:  # nothing was seen for a window: what was before it is history
            _retire(series, tier, 0)
    if value is not None and math.isfinite(value) and (series.low is None or value < series.low):
        series.low = value
    return ended


def skip(series: Series) -> None:
    """The open bucket gets no floor: the machine slept, or memory.high held the service down. Call it all the while."""
    series.spoiled = True


def annotate(series: Series, at: float, words: str) -> None:
    """A change that explains what follows: a new configuration, a planned restart. The last few are kept."""
    series.notes = [*series.notes, (at, words)][-NOTES:]


def _begin(series: Series, life: str, at: float) -> None:
    series.life, series.origin, series.bucket, series.newest = life, at, 0, -1
    series.low, series.spoiled, series.record, series.floors, series.steps = None, False, None, [], b""


def _close(series: Series, tier: Tier) -> None:
    if series.low is not None and not series.spoiled:
        series.floors.append(series.low)
        series.steps += bytes([min(series.bucket - series.newest, 255)])
        series.newest = series.bucket
        _retire(series, tier, kept(tier))


def _retire(series: Series, tier: Tier, keep: int) -> None:
    """Forgets the oldest floors but `keep`; what they held for a whole tail becomes the record."""
    while len(series.floors) > keep:
        if len(series.floors) >= tier.tail:
            held = min(series.floors[: tier.tail])
            series.record = held if series.record is None else max(series.record, held)
        del series.floors[0]
        series.steps = series.steps[1:]
