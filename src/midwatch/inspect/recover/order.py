"""The plan of a recovery: in REC-2's order what would give memory back, each with its targets, gain, risk and way back.

Asks the finder of leftovers, the container engines, the sessions and our own services. Must not act: recover/apply.py
does, step by step. Tests: tests/inspect/test_recover.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from midwatch.inspect.containers import Stack
from midwatch.inspect.leftovers.find import find
from midwatch.inspect.ours import Ours
from midwatch.inspect.recover import steps
from midwatch.inspect.recover.measure import measure
from midwatch.inspect.recover.plan import Plan, Step, choose
from midwatch.inspect.sources import Sources, Table
from midwatch.model.look import Leftover

ORDER = ("snapshot", "services", "leftovers", "copies", "stacks", "vm", "sessions", "wal", "caches")


class Service(msgspec.Struct, frozen=True):
    """One of our services as a plan needs it. `databases`: absolute paths of its SQLite files."""

    id: str
    state: str
    held: int | None = None
    words: str = ""
    databases: tuple[str, ...] = ()
    layout: Any = None


class Facts(msgspec.Struct):
    """What a plan is made from. `record`: the folder that the snapshot goes to."""

    sources: Sources
    ours: Ours
    services: tuple[Service, ...] = ()
    record: str = ""
    leftovers: list[Leftover] | None = None
    stacks: list[Stack] | None = None
    table: Table | None = None


def plan(facts: Facts) -> Plan:
    """Look at everything once. A part that fails is said, and the others are planned."""
    sources = facts.sources
    table = facts.table = facts.table or sources.table()
    if facts.leftovers is None:
        facts.leftovers = find(sources, table, facts.ours)
    lost = facts.leftovers
    idle: dict[str, str] = {}
    heavy = False
    made: dict[str, Step] = {}
    makers: dict[str, Callable[[], Step | str]] = {
        "snapshot": lambda: steps.snapshot(facts.record),
        "services": lambda: steps.services(facts.services, facts.ours.protected),
        "leftovers": lambda: steps.leftovers([one for one in lost if one.certain]),
        "copies": lambda: steps.copies([one for one in lost if one.respawns]),
        "stacks": lambda: steps.stacks(sources, facts),
        "vm": lambda: steps.vm(sources),
        "sessions": lambda: steps.sessions(sources, table, facts),
        "wal": lambda: steps.logs(sources, facts.services),
        "caches": lambda: steps.caches(sources),
    }
    for name in ORDER:
        try:
            told = makers[name]()
        except Exception as error:  # noqa: BLE001 - one part that cannot be looked at must not hide the others
            told = f"not looked at: {type(error).__name__}: {error}"
        if isinstance(told, str):
            idle[name] = told
        else:
            made[name] = told
            heavy = heavy or (name == "vm" and told.acts)
    pressure = measure(sources)
    return Plan(pressure, choose(pressure, ordered(made.values(), heavy)), idle)


def ordered(made: Iterable[Step], heavy: bool) -> list[Step]:
    """REC-2's order; a virtual machine that holds far too much is the biggest single win and comes first of those
    that act.
    """
    by_name = {step.id: step for step in made}
    names = [name for name in ORDER if name in by_name]
    if heavy:
        names.remove("vm")
        names.insert(1 if "snapshot" in names else 0, "vm")
    return [by_name[name] for name in names]
