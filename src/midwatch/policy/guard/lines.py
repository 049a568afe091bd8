"""Where the lines of a service are: its own, its share of the machine budget, and the line at which it is really ended.

Without a line of its own it is warned at its share and never killed for it; `hard = "auto"` makes the share the line.
All default shares fit into the budget (F14). Must not read a sample. Tests: tests/policy/test_guard_lines.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from midwatch.model.service import MemoryLines
from midwatch.policy import defaults as f


class Lines(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes. `warn`: it is said; `soft`: it is asked to drain; `hard`: it is ended. `own`: its table says so."""

    warn: int
    soft: int | None = None
    hard: int | None = None
    own: bool = False


def budget(basis: int) -> int:
    """What all services together may hold, by default."""
    return int(basis * f.BUDGET_SHARE)


def reserve(basis: int) -> int:
    """What has to stay available on a machine (or in a container) of this size."""
    return int(min(max(f.RESERVE_BYTES, f.RESERVE_SHARE * basis), f.RESERVE_MOST * basis))


def share(basis: int, whole: int, hards: Sequence[int | None]) -> int:
    """The share of each service without a hard line: `hards` are the explicit lines of all, None for those.

    What explicit lines leave of the budget `whole`, but not less than an equal part; at most half the machine.
    """
    free = sum(hard is None for hard in hards)
    left = (whole - sum(hard or 0 for hard in hards)) / max(free, 1)
    return int(min(max(left, whole / max(len(hards), 1)), f.SHARE_MOST * basis, f.SHARE_BYTES))


def lines(memory: MemoryLines | None, part: int, whole: int) -> Lines:
    """The lines of a service whose share of the budget `whole` is `part`."""
    memory = memory or MemoryLines()
    hard = part if memory.hard == "auto" else memory.hard
    first = memory.soft or hard
    warn = max(part, min(f.SHARE_LEAST, whole // 2)) if first is None else int(f.WARN_SHARE * first)
    return Lines(warn, memory.soft, hard, memory.soft is not None or memory.hard not in (None, "auto"))


def kill_line(hard: int, slope: float, period: float, kernel: bool = False) -> int:
    """Where to act so that it ends at `hard`: a fast grower lowers it by at most 15 %; `kernel`: holds it itself."""
    ahead = 0.0 if kernel else min(f.LINE_AHEAD * hard, max(slope, 0.0) * (period + f.LINE_LATENCY))
    return int(hard - ahead)
