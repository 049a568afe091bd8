"""The last looks at this machine: a few numbers each, in one small file, so that the second look can say how fast.

A rate needs two looks of the same boot; a number belongs to one process by pid and start. Nearly all healthy programs
go up and down, so a rise counts only when it is worth the name over the whole span. The file is ours, 0600, bounded,
and can be deleted at any time. Must not know what the numbers are. Tests: tests/inspect/test_looks.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from midwatch.policy import defaults_inspect as figures
from midwatch.record import files

NAME = "looks.json"


class Look(msgspec.Struct, frozen=True):
    """`at`: wall clock."""

    at: float
    boot: str
    numbers: dict[str, float]


class Kept(msgspec.Struct, frozen=True):
    looks: tuple[Look, ...] = ()


def load(folder: str | os.PathLike[str], boot: str, now: float) -> tuple[Look, ...]:
    """Those of this boot and of the last day, oldest first; nothing when the file is missing or damaged."""
    try:
        data = files.read_small(os.path.join(folder, NAME), figures.LOOKS_BYTES + 1)
        looks = msgspec.json.decode(data, type=Kept).looks
    except (OSError, msgspec.DecodeError, ValueError):
        return ()
    good = [look for look in looks if look.boot == boot and 0 < now - look.at <= figures.LOOKS_AGE]
    return tuple(sorted(good, key=lambda look: look.at))


def save(folder: str | os.PathLike[str], looks: Sequence[Look], new: Look) -> str:
    """Keep this one too; "" or why it could not be kept."""
    data = msgspec.json.encode(Kept(thinned(looks, new)))
    if len(data) > figures.LOOKS_BYTES:
        return "the last looks are larger than their file may be"
    try:
        files.make_folder(Path(folder))
        files.replace(os.path.join(folder, NAME), data)
    except OSError as error:
        return f"this look could not be kept for the next one: {error.strerror} ({folder})"
    return ""


def thinned(looks: Sequence[Look], new: Look) -> tuple[Look, ...]:
    """At most one each half minute, evenly over the day: the newest and the oldest always stay."""
    kept = [look for look in looks if new.at - look.at <= figures.LOOKS_AGE]
    if kept and new.at - kept[-1].at < figures.LOOKS_APART and len(kept) > 1:
        kept.pop()  # a burst of looks must not push the old ones out
    kept.append(new)
    while len(kept) > figures.LOOKS_KEPT:
        gaps = [(kept[at + 1].at - kept[at - 1].at, at) for at in range(1, len(kept) - 1)]
        kept.pop(min(gaps)[1])
    return tuple(kept)


def numbers(levels: Iterable[tuple[str, float, float]]) -> dict[str, float]:
    """(key, value, share of its limit): the nearest to their limits."""
    ranked = sorted(levels, key=lambda row: (-row[2], row[0]))
    return {key: value for key, value, _ in ranked[: figures.LOOKS_NUMBERS]}


def rate(
    looks: Sequence[Look], key: str, value: float, now: float, limit: float | None, least: float = 0.0
) -> float | None:
    """Per second; 0.0 when it does not rise; None when no look old enough knows it.

    `least`: a rise that counts, when it is known better than by the limit.
    The median of the slopes to now from every kept look: one odd look changes nothing.
    """
    points = [
        (now - look.at, look.numbers[key])
        for look in looks
        if key in look.numbers and now - look.at >= figures.LOOKS_APART
    ]
    if not points:
        return None
    least = least or max(figures.LOOK_RISE[0], figures.LOOK_RISE[1] * (limit or 0.0))
    if value - min(old for _, old in points) < least:
        return 0.0
    slopes = sorted((value - old) / age for age, old in points)
    return max(0.0, slopes[len(slopes) // 2])


def shares(
    looks: Sequence[Look], spent: Mapping[tuple[int, int], float], now: float
) -> dict[tuple[int, int], float]:
    """Of (pid, start): cores used since the newest look that is old enough."""
    found = {}
    for (pid, start), seconds in spent.items():
        key = cpu_key(pid, start)
        for look in reversed(looks):
            if key in look.numbers and now - look.at >= figures.LOOKS_APART:
                found[pid, start] = max(0.0, seconds - look.numbers[key]) / (now - look.at)
                break
    return found


def cpu_key(pid: int, start: int) -> str:
    """Under which the processor time of a process is kept."""
    return f"cpu:{pid}:{start}"
