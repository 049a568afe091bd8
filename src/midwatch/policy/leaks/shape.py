"""What ten minutes of descriptor counts look like, in words: the floor rises, or the peak moves and the floor does not.

The second is a pool, or connections that only the garbage collector closes: no leak, and no proof that there is none.
Describes for `leaks`; only detector.py raises anything. Tests: tests/policy/leaks/test_shape.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from midwatch.model.finding import Shape
from midwatch.policy.defaults import FD_SHAPE


def describe(counts: Sequence[float], units: float | None = None) -> Shape:
    """The shape of at least two samples; `units`: requests or other work done between the first and the last."""
    least, share = FD_SHAPE
    half = len(counts) // 2
    first, floor, peak = min(counts[:half]), min(counts[half:]), max(counts)
    per_unit = (counts[-1] - counts[0]) / units if units else None
    each = "" if per_unit is None else f", {per_unit:.1f} for each unit of work"
    if floor - first > max(least, share * first):
        return Shape("rising-floor", floor, peak, per_unit, f"the floor rises, {first:g} to {floor:g}{each}")
    if peak - floor > max(least, share * floor):
        words = f"up to {peak:g} and back to {floor:g}: a pool, or closed only when garbage is collected"
        return Shape("gc-released", floor, peak, per_unit, words)
    return Shape("flat", floor, peak, per_unit, f"between {min(counts):g} and {peak:g}")
