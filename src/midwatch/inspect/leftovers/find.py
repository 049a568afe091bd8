"""What nobody owns any more on this machine, each with its proof.

`find` gives the certain ones first, then those that are offered apart: proven orphans that may still be of use to
somebody (they listen, they work), and pile-ups under a living parent. `why_not` says of one process why it is none.
Must not signal. Tests: tests/inspect/test_leftovers.py.
"""

from __future__ import annotations

import sys
from functools import cache

from midwatch.inspect.agents import Packs, load
from midwatch.inspect.leftovers.ends import Blind, Ends, Kernel
from midwatch.inspect.leftovers.piles import piles
from midwatch.inspect.leftovers.proof import Judge, Owned, Proven
from midwatch.inspect.leftovers.protect import Guard
from midwatch.inspect.ours import Ours
from midwatch.inspect.sources import Sources, Table
from midwatch.model.look import Leftover
from midwatch.policy.defaults_inspect import SWEEP_YOUNG


def find(
    sources: Sources,
    table: Table,
    ours: Ours,
    packs: Packs | None = None,
    *,
    ends: Ends | None = None,
    young: float = SWEEP_YOUNG,
) -> list[Leftover]:
    """Every leftover of this user, parents before their children, the oldest first."""
    if not table.whole:
        return []  # a parent that was not read in time looks like one that has ended
    packs = packs if packs is not None else _packs()
    guard, judge = _judge(sources, table, ours, packs, ends, young)
    proven: list[Proven] = []
    for root in judge.roots():
        try:
            proven.append(judge.prove(root))
        except Owned:
            continue
    proven.sort(key=lambda one: (not one.certain, one.root.start, one.root.pid))
    found = [left for one in proven for left in _rows(one)]
    taken = {left.proc.pid for left in found}
    return found + piles(sources, table, packs, guard, taken)


def why_not(
    sources: Sources,
    table: Table,
    ours: Ours,
    pid: int,
    packs: Packs | None = None,
    *,
    ends: Ends | None = None,
    young: float = SWEEP_YOUNG,
) -> str:
    """Why this process is no leftover, as the end of "pid 7: ..."; "" it is one."""
    if not table.whole:
        return "the processes could not all be read: who has ended cannot be told"
    proc = table.procs.get(pid)
    if proc is None and table.hidden:
        return f"it cannot be seen ({'; '.join(table.hidden)})"
    if proc is None:
        return "there is no such process"
    _, judge = _judge(sources, table, ours, packs if packs is not None else _packs(), ends, young)
    try:
        judge.prove(proc)
    except Owned as owned:
        return str(owned)
    return ""


@cache
def _packs() -> Packs:
    return load()


def _judge(
    sources: Sources, table: Table, ours: Ours, packs: Packs, ends: Ends | None, young: float
) -> tuple[Guard, Judge]:
    if ends is None:
        ends = Kernel() if sys.platform == "linux" and not sources.recorded else Blind()
    guard = Guard(sources, table, ours, young=young)
    return guard, Judge(sources, table, ours, packs, ends, guard)


def _rows(one: Proven) -> list[Leftover]:
    child = (f"child of pid {one.root.pid}, which is a leftover", *one.proof[:1])
    return [
        Leftover(
            proc, one.reason, one.proof if proc is one.root else child, group=one.name, certain=one.certain
        )
        for proc in one.tree
    ]
