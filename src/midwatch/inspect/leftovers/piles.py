"""Pile-ups: many copies of one server below a parent that lives (402 helpers under one app-server).

Nobody can prove from outside which of them a living agent still needs, so they are offered apart and never swept
unasked; the newest copy of each server is left out. Must not judge orphans. Tests:
tests/inspect/test_leftovers_piles.py.
"""

from __future__ import annotations

import time

from midwatch.inspect import argv
from midwatch.inspect.agents import HELPERS, Known, Packs
from midwatch.inspect.leftovers import kinds
from midwatch.inspect.leftovers.protect import Guard
from midwatch.inspect.ours import lineage
from midwatch.inspect.sources import Sources, Table
from midwatch.model.look import Leftover, Proc
from midwatch.policy.defaults_inspect import SWEEP_BATCH, SWEEP_PILE


def piles(sources: Sources, table: Table, packs: Packs, guard: Guard, taken: set[int]) -> list[Leftover]:
    """Every copy but the newest, with what hangs below it, the largest pile first. `taken`: leftovers already."""
    copies: dict[tuple[int, str], list[Proc]] = {}
    for one in table.procs.values():
        known = _helper(packs, one)
        if known is None or one.uid != sources.uid or one.pid in taken:
            continue
        parent = table.procs.get(one.ppid)
        if parent is None or parent.pid <= 1 or _helper(packs, parent) is not None:
            continue  # below another helper: it belongs to that one's copy
        copies.setdefault((_owner(parent, table, packs).pid, known.name), []).append(one)
    found: list[Leftover] = []
    for (pid, name), several in sorted(copies.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(several) >= SWEEP_PILE and kinds.never(table.procs[pid]) != "manager":  # its configuration says so
            found += _pile(
                table, packs, guard, table.procs[pid], name, sorted(several, key=lambda one: one.start)
            )
    return found


def _helper(packs: Packs, proc: Proc) -> Known | None:
    known = packs.who(proc)
    if (
        known is None
        or known.role not in HELPERS - {"model"}
        or (known.role == "browser" and not kinds.is_driven(proc))
    ):
        return None
    return known


def _owner(parent: Proc, table: Table, packs: Packs) -> Proc:
    """The agent above it, or its parent."""
    for one in lineage(parent, table.procs):
        known = packs.who(one)
        if known is not None and known.role in kinds.AGENT:
            return one
    return parent


def _pile(
    table: Table, packs: Packs, guard: Guard, owner: Proc, name: str, copies: list[Proc]
) -> list[Leftover]:
    known = packs.who(owner)
    title = f"{known.title if known is not None else argv.label(owner)} (pid {owner.pid})"
    sets = batches(copies)
    children: dict[int, list[Proc]] = {}
    for one in table.procs.values():
        children.setdefault(one.ppid, []).append(one)
    reason = f"one of {len(copies)} copies of {name}"
    respawns = (
        f"{title} starts it again when a session needs it; a session that still uses this copy loses it"
    )
    found = []
    for copy in copies[:-1]:
        proof = (
            f"{reason} below {title}, which lives; the newest (pid {copies[-1].pid}) is left out",
            _born(copy, next(several for several in sets if copy in several)),
            "nobody outside can tell whether its session has ended: that is for you to say",
        )
        tree = _below(copy, children)
        if any(guard.why(one) for one in tree):
            continue
        for one in tree:
            said = proof if one is copy else (f"child of pid {copy.pid}", proof[0])
            group = f"{name} below {title}"
            found.append(Leftover(one, reason, said, group=group, certain=False, respawns=respawns))
    return found


def _below(copy: Proc, children: dict[int, list[Proc]]) -> list[Proc]:
    """It and its descendants, parents first."""
    found, seen = [copy], {copy.pid}
    for one in found:  # grows while it is walked
        for child in children.get(one.pid, ()):
            if child.pid not in seen and child.start >= one.start:
                seen.add(child.pid)
                found.append(child)
    return found


def _born(copy: Proc, several: list[Proc]) -> str:
    day = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(copy.started))
    if len(several) == 1:
        return f"started {day}, alone"
    first = time.strftime("%H:%M:%S", time.localtime(several[0].started))
    return f"started {day}, one of {len(several)} that began at {first}: the set of one session or sub-agent"


def batches(copies: list[Proc]) -> list[list[Proc]]:
    """Copies that were started side by side, by age."""
    found: list[list[Proc]] = []
    for copy in copies:
        if found and copy.started - found[-1][-1].started <= SWEEP_BATCH:
            found[-1].append(copy)
        else:
            found.append([copy])
    return found
