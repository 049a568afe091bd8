"""What runs out, and when: each thing that has a limit, how much of it is used, and how fast that grows.

Descriptors of a process, terminals, inotify, processes and threads, disks and their inodes, WAL files. One look tells
the level; with an earlier look of the same boot it tells when it is full (users.md 5.1; story 7: the ninth hour is
announced in the first). Gathering is in forecast_files.py and forecast_machine.py; here a level is judged. Tests:
tests/inspect/test_forecast.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from midwatch.inspect.look import past as looks
from midwatch.policy import defaults_inspect as figures

State = Literal["calm", "warn", "danger"]
Kind = Literal["fds", "ptys", "inotify", "pids", "disk", "inodes", "wal", "folder", "memory"]
ORDER: dict[str, int] = {"danger": 0, "warn": 1, "calm": 2}


class Level(msgspec.Struct, frozen=True):
    """One thing. `key` names it in the kept looks; `limit` None: it has none of its own. `rate` a second; None: this is
    the first look at it. `detail`: who, or of what, in words.
    """

    key: str
    kind: Kind
    subject: str
    used: float
    limit: float | None = None
    unit: str = ""
    pid: int | None = None
    start: int | None = None
    detail: str = ""
    at_least: bool = False
    shares: tuple[float, float] = figures.LOOK_SHARE
    least: float = 0.0  # the rise that counts; 0: as looks.py has it
    floor: State = "calm"  # what it is whatever its share, e.g. a WAL file that is too large
    rate: float | None = None
    full_in: float | None = None
    state: State = "calm"

    @property
    def share(self) -> float | None:
        """Of its limit."""
        return self.used / self.limit if self.limit else None


def judge(levels: Iterable[Level], kept: Sequence[looks.Look], now: float) -> list[Level]:
    """With rates and states, the worst and soonest first."""
    found = [_judged(level, kept, now) for level in levels]
    return sorted(
        found, key=lambda one: (ORDER[one.state], one.full_in or 1e18, -(one.share or 0.0), one.key)
    )


def _judged(level: Level, kept: Sequence[looks.Look], now: float) -> Level:
    rate = looks.rate(kept, level.key, level.used, now, level.limit, level.least)
    full_in = None
    if rate and level.limit is not None:
        full_in = max(0.0, level.limit - level.used) / rate
        if full_in > figures.LOOK_TOLD or not _lasting(level, kept, now):
            full_in = None
    return msgspec.structs.replace(level, rate=rate, full_in=full_in, state=state(level, full_in))


def _lasting(level: Level, kept: Sequence[looks.Look], now: float) -> bool:
    """A program that starts opens a hundred files in a minute: what lasts is a trend, or what is nearly full."""
    first = next((look.at for look in kept if level.key in look.numbers), now)
    return now - first >= figures.LOOK_SPAN or (level.share or 0.0) >= figures.LOOK_SPAN_SHARE


def state(level: Level, full_in: float | None) -> State:
    """By its share, and by the time that is left: whichever is worse."""
    worst = level.floor
    share = level.share or 0.0
    if share >= level.shares[1] or (full_in is not None and full_in < figures.LOOK_TTL[1]):
        return "danger"
    if share >= level.shares[0] or (full_in is not None and full_in < figures.LOOK_TTL[0]):
        return "danger" if worst == "danger" else "warn"
    return worst


def told(levels: Iterable[Level]) -> list[Level]:
    """Those that a person should see on the first screen."""
    return [level for level in levels if level.state != "calm" or level.full_in is not None]


def numbers(levels: Iterable[Level], spent: dict[tuple[int, int], float]) -> dict[str, float]:
    """What this look keeps for the next one: the levels nearest to their limits, and the sessions' processor time."""
    rows = [(level.key, level.used, 1.0 if level.limit is None else level.share or 0.0) for level in levels]
    rows += [(looks.cpu_key(pid, start), seconds, 0.5) for (pid, start), seconds in spent.items()]
    return looks.numbers(rows)
