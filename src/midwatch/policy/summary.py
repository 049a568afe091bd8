"""Counting recorded exits: the one rule that the policy and every reader of the journal share.

`spends_crash_budget` is what the policy counts in its process; `count` applies the same table (`classify.COSTS`) to rows
of a journal. A cause that this version does not know, or a damaged row, is a problem and never demoted to clean (H6).
Must not read files. Tests: tests/policy/test_summary.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from midwatch.policy.classify import COSTS, cost

CALM = frozenset({"requested", "clean", "killed"})  # an operator's kill is not a fault of the service (A10)
BUCKETS = frozenset(COSTS)


class Summary(msgspec.Struct, frozen=True):
    """So many exits: `problems` are those that are not calm, `crashes` those that spent the crash budget.

    `by_cause` has a bucket for each known cause, "other" for one we do not know and "legacy" for a row without one.
    """

    exits: int
    calm: int
    problems: int
    crashes: int
    by_cause: dict[str, int]


def spends_crash_budget(cause: str | None, code: int | None = None) -> bool:
    """Does such an exit count towards the consecutive crashes?"""
    return cost(cause, code) == "crash"


def is_calm(cause: str | None, code: int | None = None) -> bool:
    """Is such an exit nothing to look at? Without a cause only code 0 is."""
    return code == 0 if cause is None else cause in CALM


def bucket(cause: str | None) -> str:
    """The name under which an exit is counted."""
    if cause is None:
        return "legacy"
    return cause if cause in BUCKETS else "other"


def count(rows: Iterable[Mapping[str, Any]]) -> Summary:
    """Count journal lines; everything but `run.exited` and `run.spawn_failed` is skipped (H7)."""
    exits = calm = crashes = 0
    by_cause: dict[str, int] = {}
    for row in rows:
        if row.get("event") not in ("run.exited", "run.spawn_failed"):
            continue
        cause, code = row.get("cause"), row.get("code")
        cause = cause if isinstance(cause, str) else None
        exits += 1
        calm += is_calm(cause, code)
        crashes += spends_crash_budget(cause, code)
        by_cause[bucket(cause)] = by_cause.get(bucket(cause), 0) + 1
    return Summary(exits, calm, exits - calm, crashes, by_cause)
