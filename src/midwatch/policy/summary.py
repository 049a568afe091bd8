"""Counting recorded exits: the one rule that the policy and every reader of the journal share.

What the policy counts and `count` reads from a journal is the same table (`classify.COSTS`). An unknown cause, or a
damaged row, is a problem and never demoted to clean (H6). Must not read files. Tests: tests/policy/test_summary.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from midwatch.policy.classify import COSTS, cost

CALM = frozenset({"requested", "clean", "killed"})  # an operator's kill is not a fault of the service (A10)


class Summary(msgspec.Struct, frozen=True):
    """So many exits: `problems` are those that are not calm, `crashes` those that spent the crash budget.

    `by_cause` has a bucket for each known cause, "other" for one we do not know and "legacy" for a row without one.
    """

    exits: int
    calm: int
    problems: int
    crashes: int
    by_cause: dict[str, int]


def is_calm(cause: str | None, code: int | None = None) -> bool:
    """Is such an exit nothing to look at? Without a cause only code 0 is."""
    return code == 0 if cause is None else cause in CALM


def count(rows: Iterable[Mapping[str, Any]]) -> Summary:
    """Count journal lines; everything but `run.exited` and `run.spawn_failed` is skipped (H7)."""
    exits = calm = crashes = 0
    by_cause: dict[str, int] = {}
    for row in rows:
        if row.get("event") not in ("run.exited", "run.spawn_failed"):
            continue
        found, code = row.get("cause"), row.get("code")
        cause = found if isinstance(found, str) else None
        bucket = "legacy" if cause is None else cause if cause in COSTS else "other"
        exits += 1
        calm += is_calm(cause, code)
        crashes += cost(cause, code) == "crash"
        by_cause[bucket] = by_cause.get(bucket, 0) + 1
    return Summary(exits, calm, exits - calm, crashes, by_cause)
