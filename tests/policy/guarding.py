"""Trees made of numbers, and a sampler without an engine: looks at a series by the pace rule until it is ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from midwatch.model.event import Tripped
from midwatch.model.sample import Reading, TreeSample
from midwatch.policy.guard import Confirm, Evidence
from midwatch.policy.guard.lines import Lines
from midwatch.policy.guard.memory import Around, MemoryState, judge
from midwatch.policy.guard.pace import period

MIB, GIB = 1 << 20, 1 << 30
FILES = Path(__file__).parent.parent / "replay" / "guards"


def sample(at: float, held: int | None, quality: Any = "exact", members: int = 1, **more: Any) -> TreeSample:
    return TreeSample(at, Reading(held, "absent" if held is None else quality), members, **more)


class Guarded:
    """One run under guard: what was proposed, with the time and what it held then."""

    def __init__(self, lines: Lines, **around: Any) -> None:
        self.lines, self.around = lines, around
        self.state = MemoryState()
        self.told: list[tuple[float, int, Any]] = []
        self.pause = 2.0
        self.walks: list[float] = []

    def look(self, seen: TreeSample, pss: int | None = None) -> list[Any]:
        """One look; a walk that is asked for is made at once, with `pss` as what it finds."""
        around = Around(**{"period": self.pause, **self.around})
        self.state, told = judge(self.state, "p.web.1", seen, self.lines, around)
        found = list(told)
        if pss is not None and any(isinstance(each, Confirm) for each in told):
            self.walks.append(seen.at)
            again = msgspec.structs.replace(seen, pss=pss)
            self.state, told = judge(self.state, "p.web.1", again, self.lines, around)
            found += told
        assert msgspec.convert(msgspec.to_builtins(self.state), MemoryState) == self.state
        value = self.state.track.recent[-1][1] if self.state.track.recent else 0
        self.told += [(seen.at, value, each) for each in found]
        room = (self.lines.hard or self.lines.warn) - value
        self.pause = period([(room, self.state.track.rate)], [room] if self.lines.hard else [])
        return found

    def watch(self, value: Callable[[float], float], until: float, step: float | None = None) -> Guarded:
        """Look at `value` (bytes at a time) by the pace rule, or every `step` seconds, until it is ended."""
        at = 0.0
        while at < until:
            if any(isinstance(e, Tripped) and e.level == "hard" for e in self.look(sample(at, int(value(at))))):
                break
            at += step or self.pause
        return self

    def levels(self) -> list[str]:
        return [e.level for _, _, e in self.told if isinstance(e, Tripped)]

    def first(self, kind: type[Any], **fields: Any) -> tuple[float, int, Any]:
        """The first such proposal: time, bytes held then, itself."""
        wanted = fields.items()
        return next(t for t in self.told if isinstance(t[2], kind) and all(getattr(t[2], k) == v for k, v in wanted))

    def stages(self) -> list[int]:
        return [e.stage for _, _, e in self.told if isinstance(e, Evidence)]


def recorded(name: str) -> dict[str, Any]:
    """A series on disk: see the `about` in each file."""
    return json.loads((FILES / name).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def between(samples: list[list[float]], how: str) -> Callable[[float], float]:
    """Bytes at any time between samples in MB."""

    def value(at: float) -> float:
        for (t0, v0), (t1, v1) in pairwise(samples):
            if at <= t1:
                share = (at - t0) / (t1 - t0)
                return 1e6 * (v0 * (v1 / v0) ** share if how == "exponential" else v0 + (v1 - v0) * share)
        return 1e6 * samples[-1][1]

    return value

