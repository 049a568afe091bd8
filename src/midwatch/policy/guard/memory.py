"""The guard on one run's held memory: warn, ask to drain, end it; and evidence while it grows.

Only what is certain ends a run. A cgroup's number, one process's own, or a page walk (PSS) is; a sum over processes is
only an upper bound, so when it is above a line a walk is asked for (`Confirm`), and its ratio to the sum is believed
until the tree or the sum has changed. Absent is never 0: nothing happens. A prediction lowers the hard line a little
and has evidence captured; it never ends a run. Must not know the host. Tests: tests/policy/test_guard_memory.py.
"""

from __future__ import annotations

from math import inf, log
from typing import Literal

import msgspec
from msgspec.structs import replace

from midwatch.model.event import Eased, Tripped
from midwatch.model.sample import Quality, TreeSample
from midwatch.model.units import format_bytes
from midwatch.policy import defaults as f
from midwatch.policy.guard import Arm, Confirm, Evidence, arm
from midwatch.policy.guard.lines import Lines, kill_line
from midwatch.policy.guard.pace import Track, observe

Proposals = tuple[Confirm | Evidence | Tripped | Eased, ...]
Check = tuple[str, float, bool | None, int, float]  # line, bytes, is it over, samples and seconds until it counts
Level = Literal["hard", "soft", "warn"]
LEVELS: tuple[Level, ...] = ("hard", "soft", "warn")


class Ratio(msgspec.Struct, frozen=True):
    """What a page walk of `members` processes found, as a share of their sum `held`."""

    share: float
    members: int
    held: int
    at: float


class MemoryState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the guard remembers of one run; it ends with the run."""

    track: Track = Track()
    arms: dict[str, Arm] = {}
    ratio: Ratio | None = None


class Around(msgspec.Struct, frozen=True):
    """What holds for one look: `period` until the next, the counters' `error` in bytes, whether the `kernel` holds the
    hard line, seconds to leave as far as the host allows (`polite`), and whether pages can be walked here at all."""

    period: float
    error: int = 0
    kernel: bool = False
    polite: float = f.POLITE
    walks: bool = True


class Bounds(msgspec.Struct, frozen=True):
    """The truth is between `low` and `high`; `guess` is the best we have, None: none at all."""

    low: int
    guess: int | None
    high: int
    quality: Quality

    @property
    def shown(self) -> int:
        return self.low if self.guess is None else self.guess

    def over(self, line: float, certain: bool = False) -> bool | None:
        """Is it at the line? None: only a page walk can tell."""
        if self.low >= line or self.high < line:
            return self.low >= line
        return None if self.guess is None or (certain and self.guess >= line) else self.guess >= line


def bounds(state: MemoryState, sample: TreeSample, error: int = 0) -> Bounds | None:
    """What is known about what the tree holds; None: nothing."""
    held, ratio = sample.held.value, state.ratio
    known = sample.cgroup_bytes if sample.cgroup_bytes is not None else sample.pss
    if known is not None:
        return Bounds(known, known, known, "exact")
    if held is None:
        return None
    if sample.members == 1 and sample.held.quality != "upper-bound":  # else shared pages may be counted again
        error = error if error or sample.held.quality == "exact" else int(f.ROUGH * held)
        return Bounds(held - error, held, held + error, sample.held.quality)
    same = ratio is not None and ratio.members == sample.members and abs(held / ratio.held - 1) <= f.RATIO_MOVES
    guess = int(held * ratio.share) if ratio is not None and same else None
    return Bounds(sample.largest[1] if sample.largest else 0, guess, held, "upper-bound")


def judge(
    state: MemoryState, run: str, sample: TreeSample, lines: Lines, around: Around
) -> tuple[MemoryState, Proposals]:
    """One look at one run: what is remembered, and what is proposed."""
    held = sample.held.value
    if sample.pss is not None and held:
        share = min(sample.pss / held, 1.0)
        state = replace(state, ratio=Ratio(share, sample.members, held, sample.at))
    b = bounds(state, sample, around.error)
    if b is None:
        return state, ()
    if not state.track.recent or sample.at > state.track.recent[-1][0]:
        seen = b.high if sample.cgroup_bytes is not None or held is None else held
        state = replace(state, track=observe(state.track, sample.at, seen))
    ended, arms = state.arms.get("hard", Arm()).on, dict(state.arms)
    told: list[Confirm | Evidence | Tripped | Eased] = []
    unknown: list[float] = []
    for name, at, over, samples, seconds in _checks(state, b, lines, around, ended):
        was = arms.get(name, Arm())
        if over is None:
            unknown.append(at)
            continue
        calm = not over and (at == 0 or (b.high if b.guess is None else b.guess) < f.DISARM * at)
        arms[name] = new = arm(was, sample.at, over, calm, samples, seconds)
        both = name == "1" and bool(told) and isinstance(told[-1], Evidence)  # the second stage holds the first
        if new.on and not was.on and not both and not (ended and name != "hurry"):
            told.append(_proposal(name, run, b, at, lines, state.track, around))
            ended = ended or name == "hard"
    if any(state.arms.get(n, Arm()).on for n in LEVELS) and not any(arms.get(n, Arm()).on for n in LEVELS):
        told.append(Eased(run, "memory"))
    if unknown and around.walks and _due(state.ratio, sample, min(unknown)):
        told.append(Confirm(run))
    return replace(state, arms=arms), tuple(told)


def _checks(state: MemoryState, b: Bounds, lines: Lines, around: Around, ended: bool) -> list[Check]:
    """Every line, the most urgent first; of a run that is being ended only whether it grows on."""
    hard, soft = lines.hard or inf, lines.soft or inf
    line = inf if lines.hard is None else kill_line(lines.hard, state.track.slope, around.period, around.kernel)
    past = f.LINE_OVER * hard
    slow = (f.ARM_SAMPLES, f.ARM_SECONDS)
    warned = b.over(lines.warn) if around.walks else b.high >= lines.warn
    return [
        ("hurry", past, b.over(past), 1, 0.0) if ended else ("hard", line, b.over(line, certain=True), 1, 0.0),
        *((stage, 0.0, over, 1, 0.0) for stage, over in _growing(state.track, lines)),
        ("soft", soft, b.over(soft), *slow),
        ("warn", lines.warn, warned, *slow),
    ]


def _due(ratio: Ratio | None, sample: TreeSample, line: float) -> bool:
    """A walk costs 8 ms a GiB: at most 1 % of the time, unless the last one says that it is needed now."""
    held = sample.held.value or 0
    return ratio is None or held * ratio.share >= line or sample.at - ratio.at >= f.WALK_EVERY * held / f.GIB


def _growing(track: Track, lines: Lines) -> tuple[tuple[str, bool], ...]:
    """Stages of evidence: a minute, or ten seconds, from the limit at this speed; or doubling within a minute."""
    value, slope, limit = track.recent[-1][1], track.slope, lines.hard or lines.soft or lines.warn
    ttl = (limit - value) / slope if slope > 0 else inf
    doubles = value >= 2 * track.calm and slope > 0 and value * log(2) / slope < f.GROWS_WITHIN
    rise = value - track.calm
    first = rise >= min(f.GROWS_BYTES, limit / 4) and (ttl < f.GROWS_WITHIN or doubles)
    return ("2", rise >= min(2 * f.GROWS_BYTES, limit / 2) and ttl < f.GROWS_LAST), ("1", first)


def _proposal(
    name: str, run: str, b: Bounds, line: float, lines: Lines, track: Track, around: Around
) -> Evidence | Tripped:
    speed = f", growing {format_bytes(int(track.slope))} a second" if track.slope >= f.SLOPE_SAID else ""
    if name in ("1", "2"):
        words = f"holds {format_bytes(track.recent[-1][1])}{speed}; {format_bytes(track.calm)} while it was calm"
        return Evidence(run, int(name), words)
    level: Level = "warn" if name == "warn" else "soft" if name == "soft" else "hard"
    at = format_bytes(int(line) if level != "hard" else lines.hard or 0)
    of = f"over its {level} line of {at}"
    if level == "warn":
        of = f"more than {at} ({_reason(lines)})"
    elif level == "hard" and b.shown < (lines.hard or 0):
        of = f"so fast that it would cross its hard line of {at}"
    polite = around.polite
    if track.slope > 0 and lines.hard:
        polite = min(polite, (f.LINE_OVER - 1) * lines.hard / track.slope)
    polite = 0.0 if name == "hurry" or polite < f.POLITE_LEAST else polite
    words = f"holds {format_bytes(b.shown)}{speed}, {of}"
    return Tripped(run, "memory", level, b.shown, int(line), b.quality, words, polite)


def _reason(lines: Lines) -> str:
    return f"{f.WARN_SHARE:.0%} of its line" if lines.hard or lines.soft else "its share of all services' memory"
