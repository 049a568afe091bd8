"""When to look again: soon enough that no line can be crossed unseen at an assumed worst rate.

earlyoom's rule: the pause is headroom over rate, clamped. The host is assumed to fill at a fixed rate; a tree at a
multiple of the fastest it did in ten minutes, and much faster once it has jumped or doubled. A `Track` is all that is
remembered of a tree: bounded, and forgotten with its run. Must not decide. Tests: tests/policy/test_guard_pace.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from midwatch.policy import defaults as f


class Track(msgspec.Struct, frozen=True, omit_defaults=True):
    """`recent`: the last four (time, bytes). `minutes`: ten times (minute, fastest slope in it, least bytes in it)."""

    recent: tuple[tuple[float, int], ...] = ()
    minutes: tuple[tuple[int, float, int], ...] = ()

    @property
    def slope(self) -> float:
        """Bytes a second now: the steepest of the last samples to the newest."""
        return max((_slope(old, self.recent[-1]) for old in self.recent[:-1]), default=0.0)

    @property
    def calm(self) -> int:
        """What it held while it was calm: the median of ten minutes' lows."""
        lows = sorted(low for _, _, low in self.minutes)
        return lows[(len(lows) - 1) // 2] if lows else 0

    @property
    def rate(self) -> float:
        """How fast it has to be assumed to grow."""
        before, value = ([0, 0] + [held for _, held in self.recent])[-2:]
        jumped = (len(self.recent) > 1 and value - before > f.PACE_JUMP) or 0 < 2 * self.calm <= value
        jumped = jumped or len(self.minutes) < f.PACE_YOUNG
        fastest = max((top for _, top, _ in self.minutes), default=0.0)
        return max(f.PACE_TREE, f.PACE_TIMES * fastest, f.PACE_BOOST if jumped else 0.0)

    def growth(self, at: float) -> int:
        """Bytes it has grown over the last minute, as far as that is known."""
        lows = [low for minute, _, low in self.minutes if minute >= at // 60 - 1]
        return self.recent[-1][1] - lows[0] if lows and self.recent else 0


def _slope(old: tuple[float, int], new: tuple[float, int]) -> float:
    return (new[1] - old[1]) / max(new[0] - old[0], f.PACE_LEAST / 2)


def observe(track: Track, at: float, value: int) -> Track:
    """One more sample."""
    recent = (*track.recent, (at, value))[-4:]
    slope = _slope(recent[-2], recent[-1]) if len(recent) > 1 else 0.0
    minute, minutes = int(at // 60), track.minutes
    top, low = max(slope, 0.0), value
    if minutes and minutes[-1][0] == minute:
        top, low, minutes = max(top, minutes[-1][1]), min(low, minutes[-1][2]), minutes[:-1]
    kept = (m for m in minutes if m[0] > minute - f.PACE_MINUTES)
    return Track(recent, (*kept, (minute, top, low)))


def after_gap(track: Track) -> Track:
    """The machine slept or stood still: slopes are void, also the next one; levels are not."""
    return Track((), tuple((minute, 0.0, low) for minute, _, low in track.minutes))


def period(heads: Iterable[tuple[float, float]], alone: Iterable[float] = (), cost: float = 0.0) -> float:
    """Seconds until the next look, from (headroom in bytes, assumed bytes a second) of everything that is watched.

    `alone`: headroom to hard lines that no kernel holds: a burst out of the calm is assumed for these, as often as a
    look that takes `cost` seconds may be had for next to nothing.
    """
    burst = max(min((room / f.PACE_BURST for room in alone), default=f.PACE_MOST), cost / f.PACE_COST)
    calm = min((room / rate for room, rate in heads), default=f.PACE_MOST)
    return min(max(min(calm, burst), f.PACE_LEAST), f.PACE_MOST)
