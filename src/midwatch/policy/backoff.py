"""How long to wait: pure arithmetic on counts, with jitter that a replay repeats exactly.

Jitter comes from a checksum of (service, run number, count), not from a random source, and only lengthens. A count or
`over` starts at 1. Must not know phases or budgets. Tests: tests/policy/test_backoff.py.
"""

from __future__ import annotations

from zlib import crc32

from midwatch.model.service import Backoff


def doubled(first: float, times: int, most: float) -> float:
    """`first` doubled `times` times, never above `most`; 40 doublings are above any ceiling (B4)."""
    return float(min(first * 2.0 ** min(max(times, 0), 40), most))


def jittered(base: float, share: float, key: str) -> float:
    """`base` lengthened by [0, share) of itself, always the same for the same key."""
    return base * (1.0 + share * (crc32(key.encode()) / 2**32))


def crash_delay(backoff: Backoff, count: int, key: str) -> float:
    """Inside the crash budget: 1 2 4 8 16 32 60 60 s, plus jitter."""
    return jittered(doubled(backoff.first, count - 1, backoff.most), backoff.jitter, key)


def degraded_delay(backoff: Backoff, over: int, key: str) -> float:
    """Crash budget spent: 60 120 240 300 300 s, plus jitter."""
    return jittered(doubled(backoff.degraded_first, over - 1, backoff.degraded_most), backoff.jitter, key)


def over_delay(backoff: Backoff, over: int) -> float:
    """Over a window budget: 1 2 4 .. 60 s; 0 inside it."""
    return doubled(backoff.over, over - 1, backoff.most) if over else 0.0


def memory_delay(backoff: Backoff, over: int) -> float:
    """After the kernel took memory back: 1 s inside the window, 60 .. 300 s over it."""
    return doubled(backoff.degraded_first, over - 1, backoff.degraded_most) if over else backoff.first
