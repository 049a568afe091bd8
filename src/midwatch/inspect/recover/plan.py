"""The values of a recovery plan, and which of its steps are needed: the shortest prefix that helps (REC-1, REC-3).

Pure. Must not look at the machine and must not act. Tests: tests/inspect/test_recover.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Level = Literal["pass", "warn", "fail", "unknown"]
Risk = Literal["none", "low", "medium", "high"]


class Pressure(msgspec.Struct, frozen=True):
    """How short memory is. `need`: bytes that must come free until nothing warns any more; 1 where it is short in a way
    that bytes do not tell (stalls, swap, macOS's own word).
    """

    level: Level
    need: int
    words: str
    available: int | None = None
    total: int | None = None


class Aim(msgspec.Struct, frozen=True):
    """Who or what a step is about, so that nobody else can be meant. `mark`: what must be unchanged when it is done:
    start of a process, start time of a container, state of a service, size of a file.
    """

    kind: Literal["process", "container", "service", "file", "folder", "app"]
    name: str
    mark: str
    pid: int | None = None
    held: int | None = None
    detail: str = ""


class Step(msgspec.Struct, frozen=True):
    """One step. `acts`: midwatch can do it; else it is advice. `asks`: only when it is named, whatever the pressure.
    `gain` is memory, `disk` disk; None: not known.
    """

    id: str
    title: str
    command: str
    aims: tuple[Aim, ...]
    why: str
    reversible: str
    risk: Risk
    gain: int | None = None
    disk: int | None = None
    acts: bool = True
    asks: bool = False
    needed: bool = False


class Plan(msgspec.Struct, frozen=True):
    """The whole plan in its order. `idle`: steps that have nothing to do, or what could not be looked at, in words."""

    pressure: Pressure
    steps: tuple[Step, ...]
    idle: dict[str, str] = {}

    @property
    def promised(self) -> int:
        """Bytes that the needed steps are expected to free."""
        return sum(step.gain or 0 for step in self.steps if step.needed)

    @property
    def enough(self) -> bool:
        """Are the needed steps expected to end the pressure?"""
        return self.promised >= self.pressure.need


def choose(pressure: Pressure, steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps with the shortest helping prefix marked: those that act and promise memory, until it is enough."""
    found, promised = [], 0
    for step in steps:
        wanted = (
            pressure.level in ("warn", "fail")
            and promised < pressure.need
            and step.acts
            and not step.asks
            and bool(step.gain)
        )
        if step.id == "snapshot" and pressure.level in ("warn", "fail"):
            wanted = True
        if wanted:
            promised += step.gain or 0
        found.append(msgspec.structs.replace(step, needed=wanted))
    return tuple(found)
