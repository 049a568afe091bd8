"""Is it a leak? A pure function over floors: every condition has to hold, in three windows in a row.

In order: enough floors; the rise matters; it is no chance (Mann-Kendall); both halves of the window rise (a warm-up
bends); no single jump makes it (a model or a cache was loaded); the newest floors are above everything in this life
before the window (a second day is no record); the load does not rise itself; the limit is near. The first that fails is
said, so that silence can be explained. Must not know clocks or act. Tests: tests/policy/leaks/test_detector.py;
measured by `make detector-table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from midwatch.model.finding import Finding, Silence, Tier
from midwatch.model.units import format_bytes, format_seconds
from midwatch.policy import defaults as d
from midwatch.policy.leaks import trend
from midwatch.policy.leaks.floors import Series


def judge(tier: Tier, series: Series, limit: float | None = None, load: Series | None = None) -> Finding | Silence:
    """What the floors say at this bucket's end. `load`: floors of the number of active units, folded alongside."""
    xs, floors = list(accumulate(series.steps)), series.floors
    failed, words = _enough(tier, len(floors))
    for back in range(d.LEAK_WINDOWS):
        if failed:
            break
        end = len(floors) - back
        at = slice(end - tier.count, end)
        loads = None if load is None else load.floors[: len(load.floors) - back][-tier.count :]
        failed, words = _window(tier, xs[at], floors[at], _record(tier, series, at.start), loads)
        if failed and back:
            words = f"seen in {back} of {d.LEAK_WINDOWS} windows in a row; in the one before, {words}"
            failed = "confirm"
    return Silence(series.kind, tier.name, failed, words) if failed else _finding(tier, series, xs, limit, load)


def detectable(tier: Tier, series: Series) -> float | None:
    """The slowest growth that could be told from this series' noise; None before there is a window."""
    xs, ys = list(accumulate(series.steps))[-tier.count :], series.floors[-tier.count :]
    if len(ys) < tier.count:
        return None
    least = max(d.LEAK_NOISE * trend.noise(xs, ys, trend.middle(trend.slopes(xs, ys))), _least(tier, ys))
    return least / ((xs[-1] - xs[0]) * tier.bucket)


def amount(tier: Tier, value: float) -> str:
    """20 MiB, or 4.5 descriptors."""
    text = format_bytes(round(value)) if tier.unit == "bytes" else f"{value:.1f}".removesuffix(".0")
    return text if tier.unit == "bytes" else f"{text} descriptor" + "s" * (text != "1")


def _least(tier: Tier, ys: Sequence[float]) -> float:
    return max(tier.rise, tier.share * ys[0])


def _enough(tier: Tier, have: int) -> tuple[str, str]:
    need = tier.count + d.LEAK_WINDOWS - 1
    wait = format_seconds((need - have) * tier.bucket)
    size = format_seconds(tier.bucket)
    return ("buckets", f"{have} of {need} floors of {size} in this life: {wait} to go") if have < need else ("", "")


def _record(tier: Tier, series: Series, start: int) -> float | None:
    """The highest value that a whole tail of floors held before the window."""
    held = [min(series.floors[i : i + tier.tail]) for i in range(start - tier.tail + 1)]
    return max(held if series.record is None else [*held, series.record], default=None)


def _window(
    tier: Tier, xs: Sequence[int], ys: Sequence[float], record: float | None, loads: Sequence[float] | None
) -> tuple[str, str]:
    """The first condition that this window fails and why, or two empty strings."""
    rise, least = ys[-1] - ys[0], _least(tier, ys)
    if rise < least:
        return "rise", f"the floor moved by {amount(tier, rise)}, less than {amount(tier, least)}"
    z = trend.kendall(ys)
    if z <= d.LEAK_Z:
        return "trend", f"floors rise and fall: z {z:.1f}, a trend has more than {d.LEAK_Z:g}"
    half, whole = tier.count // 2, trend.middle(trend.slopes(xs, ys))
    for name, part in (("first", slice(half)), ("second", slice(half, None))):
        share = trend.middle(trend.slopes(xs[part], ys[part])) / whole if whole else 0.0
        if share < d.LEAK_HALF:
            return "halves", f"its {name} half rises at {share:.0%} of the whole: a step, or a warm-up that ends"
    jump = max(b - a for a, b in pairwise(ys)) / rise
    if jump >= d.LEAK_STEP:
        return "step", f"one step makes {jump:.0%} of the rise: something was loaded"
    tail = min(ys[-tier.tail :])
    if record is not None and tail <= record + tier.record:
        return "record", f"{amount(tier, tail)} is not new: it has held {amount(tier, record)} before in this life"
    if loads is not None and len(loads) == tier.count and (z := trend.kendall(loads)) >= d.LEAK_LOAD_Z:
        return "load", f"its load rises as well (z {z:.1f}): more work, not more waste"
    return "", ""


def _reach(soonest: float, latest: float | None) -> str:
    if soonest == 0:
        return "it is at its limit"
    low, high = format_seconds(soonest), "" if latest is None else format_seconds(latest)
    return f"its limit is {low}{' or more' if latest is None else '' if high == low else ' to ' + high} away"


def _finding(
    tier: Tier, series: Series, xs: Sequence[int], limit: float | None, load: Series | None
) -> Finding | Silence:
    ys, xs = series.floors[-tier.count :], xs[-tier.count :]
    ordered = trend.slopes(xs, ys)
    rate, (low, high) = trend.middle(ordered), trend.interval(ordered, trend.spread(ys))
    rate, low, high = rate / tier.bucket, low / tier.bucket, high / tier.bucket
    left = None if limit is None else max(limit - ys[-1], 0.0)
    ttl, ttl_low, ttl_high = (None if left is None or r <= 0 else left / r for r in (rate, high, low))
    pace = f"up by {amount(tier, rate * 3600)} an hour ({amount(tier, low * 3600)} to {amount(tier, high * 3600)})"
    reach = "no limit is set" if ttl_low is None else _reach(ttl_low, ttl_high)
    if not tier.notes and (ttl is None or ttl >= tier.within):
        return Silence(series.kind, tier.name, "limit", f"{pace}, but {reach}")
    level = "note" if ttl is None or ttl >= tier.within else "act" if ttl < d.LEAK_ACT else "warn"
    since = series.origin + (series.newest - (xs[-1] - xs[0])) * tier.bucket
    reasons = (
        f"up {amount(tier, ys[-1] - ys[0])} over {tier.count} floors of {format_seconds(tier.bucket)}, in both halves",
        f"above all of this life before, {d.LEAK_WINDOWS} windows in a row, no single step makes it",
        "its load does not rise" if load and len(load.floors) >= tier.count else "its load is not known",
        *(f"since then: {words}" for at, words in series.notes if at >= since),
    )
    words = f"{series.kind}: {pace}; {reach}"
    return Finding(
        series.kind, tier.name, level, words, ys[-1], rate, low, high, ttl, ttl_low, ttl_high, d.LEAK_WINDOWS, reasons
    )
