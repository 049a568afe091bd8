"""When to count descriptors again where a full table ends the run, and when regular counts would come too late.

The same rule as for memory: the pause is a share of the time to the limit at the present slope, clamped. `Track` holds
the last few counts and nothing else. Must not decide what follows. Tests: tests/policy/test_guard_fds.py.
"""

from __future__ import annotations

import msgspec

from midwatch.policy import defaults as f
from midwatch.policy.leaks.signs import close


class Track(msgspec.Struct, frozen=True, omit_defaults=True):
    """`recent`: the last counts as (awake seconds, open)."""

    recent: tuple[tuple[float, int], ...] = ()

    @property
    def slope(self) -> float:
        """Descriptors a second over these counts; a table that empties has none."""
        if len(self.recent) < 2:
            return 0.0
        (begin, first), (end, last) = self.recent[0], self.recent[-1]
        return max(0.0, (last - first) / max(end - begin, f.FD_COUNT[0] / 2))

    def left(self, soft: int) -> float:
        """Seconds until it is full."""
        return max(soft - self.recent[-1][1], 0) / self.slope if self.slope else float("inf")


def observe(track: Track, at: float, count: int) -> Track:
    """One more count."""
    return Track((*track.recent, (at, count))[-f.FD_COUNTS :])


def period(track: Track, soft: int | None) -> float:
    """Seconds until the next count: several of them fit between the warning and the end."""
    least, most = f.FD_COUNT
    return min(max(track.left(soft) / f.FD_HASTE, least), most) if soft and track.recent else most


def urgent(track: Track, soft: int | None, shares: tuple[float, float]) -> bool:
    """Close to the limit several counts in a row, on the way to it, and there before as many regular ones are taken."""
    if not soft:
        return False
    newest = Track(track.recent[-f.FD_ROOM_LOOKS :])  # one jump on the way there is no speed
    last = [count for _, count in newest.recent]
    rising = len(last) == f.FD_ROOM_LOOKS and last == sorted(last)
    return rising and all(close(count, soft, shares) for count in last) and newest.left(soft) < f.FD_URGENT
