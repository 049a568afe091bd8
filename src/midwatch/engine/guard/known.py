"""What is known of one service's growth and descriptors, and the record of it (FDW-9). Must not judge, nor act.

Tests: tests/engine/test_guard_leaks.py.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from midwatch.model.event import Tripped
from midwatch.model.finding import FdSnapshot, Finding, Sign, Silence, Tier
from midwatch.policy import defaults
from midwatch.policy.leaks import signs
from midwatch.policy.leaks.floors import Series

if TYPE_CHECKING:
    from midwatch.engine.core import Engine
    from midwatch.engine.guard.watch import Watch

LOAD = "load of "  # before the key of the series it goes with
SHAPE = 120  # counts of ten minutes, for `leaks`
_TOP = 20


class Known:
    """What is known of one service's growth."""

    __slots__ = (
        "again_at", "answers", "base", "counted_at", "half", "life", "limits", "looked", "looked_at", "looking",
        "record", "room", "said", "seen_at", "series", "signs", "snapshot", "totals", "trip", "up_since", "urgent",
    )  # fmt: skip

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}  # by kind, and the tier for memory
        self.answers: dict[str, Finding | Silence] = {}
        self.begin("")

    def begin(self, life: str) -> None:
        """Another run: what was said of the last one is history."""
        self.life = life
        self.limits: dict[str, float | None] = {}
        self.answers.clear()
        self.totals = array("l")  # the counts of ten minutes, newest last; a deque takes 0.8 KB when it is empty
        self.base: list[tuple[float, int]] = []
        self.half: dict[int, float] = {}
        self.signs: dict[tuple[str, str], Sign] = {}
        self.snapshot: FdSnapshot | None = None
        self.record = 0
        self.looked_at = float("-inf")
        self.looking = False
        self.counted_at = 0.0
        self.seen_at = float("-inf")
        self.looked = 0  # how many there were then
        self.trip: Tripped | None = None  # waits for the look that goes on record before it
        self.up_since: float | None = None
        self.again_at = float("-inf")  # before that nobody is told of "hard" a second time
        self.urgent = False  # it was told by a count between two samples
        self.room = ""  # level of the head-room that was said
        self.said: set[str] = set()  # kinds of which a growth was told to the policy


def by_kind(known: Known) -> set[str]:
    """The kinds of descriptors that it has had."""
    return {key for key in known.series if key != "total" and not key.startswith(("memory, ", LOAD))}


def units(watch: Watch) -> tuple[float | None, float]:
    """How many are under way, and the descriptors that they are expected to take."""
    rules, active = watch.service.spec.rules.fds, watch.run.active
    each = rules.per_unit if rules is not None else None
    return active, (active or 0.0) * (each or 0.0)


def tier_of(key: str) -> Tier:
    """How the series under this key is judged."""
    if key.startswith("memory, "):
        return defaults.LEAK_SLOW if key.endswith("slow") else defaults.LEAK_FAST
    return signs.tier_of(key)


def louder(sign: Sign, before: Sign | None) -> bool:
    """Is it new, or worse than it was?"""
    return before is None or signs.LEVELS.index(sign.level) < signs.LEVELS.index(before.level)


def record(watch: Watch, known: Known, engine: Engine) -> dict[str, Any]:
    """FDW-9: what one looks at when descriptors leak."""
    sample, snapshot, state = watch.sample, known.snapshot, watch.service.state
    totals = list(known.totals)
    base, (active, taken) = signs.base(known.base), units(watch)
    ground = None if base is None else base + taken
    kinds = snapshot.kinds() if snapshot is not None else {}
    now = engine.machine.now().awake
    walls = {target: count for target, kind, count in snapshot.targets if kind == "sqlite-wal"} if snapshot else {}
    top = [list(row) for row in snapshot.targets[:_TOP]] if snapshot is not None else []
    return {
        "run_id": watch.run.id, "pid": watch.tree.main.pid, "start": watch.tree.main.start,
        "uptime_s": round(now - state.spawned_at, 1) if state.spawned_at is not None else None,
        "total": totals[-1] if totals else None, "soft": sample.fd_limit if sample is not None else None,
        "expected": ground, "ratio": round(totals[-1] / ground, 2) if ground and totals else None,
        "floor10": min(totals, default=None), "peak10": max(totals, default=None), "by_kind": kinds, "top": top,
        "wal_conns": walls, "close_wait": len(snapshot.half_closed) if snapshot is not None else None,
        "deleted_bytes": snapshot.deleted_bytes if snapshot is not None else None,
        "threads": sample.threads if sample is not None else None,
        "held_bytes": watch.value if sample is not None else None, "restarts": state.restarts, "units": active,
        "requests": watch.run.counters.get("health"),
    }  # fmt: skip
