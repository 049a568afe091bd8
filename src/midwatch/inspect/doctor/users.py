"""DOC-2: who holds the memory: the largest processes, and the largest trees of one session each.

Held memory (anonymous, shared and swapped) where the kernel shows it, else resident pages, of which shared ones are
counted in every process that maps them; which of the two is said. Tests: tests/inspect/doctor/test_users.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.agents import load
from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.inspect.doctor.parts import limit, naming
from midwatch.inspect.look import trees
from midwatch.model.look import Checked, Offender, Status
from midwatch.model.units import format_bytes
from midwatch.policy import defaults_inspect as figures

_TOP = 10


def _run(ctx: Context) -> Iterable[Checked]:
    table = ctx.sources.table()
    known = [proc for proc in table.procs.values() if naming.memory(proc) is not None]
    if not known:
        raise Missing("of no process the memory can be read", "midwatch doctor as the user who owns them")
    largest = sorted(known, key=lambda proc: (-(naming.memory(proc) or 0), proc.pid))[:_TOP]
    groups = trees.grow(table, load(), ctx.ours).trees[:_TOP]
    held = sum(proc.held is not None for proc in known)
    basis = "held memory" if held == len(known) else "resident memory, shared pages counted in each"
    named = [
        Offender("process", naming.short(tree.root), tree.root.pid, tree.root.start, f"{format_bytes(tree.held)} in "
                 + naming.count(len(tree.members), "process"))
        for tree in groups
    ]  # fmt: skip
    whole = _whole(ctx)
    first = groups[0]
    share = first.held / whole if whole else 0.0
    status: Status = "warn" if share > figures.TREE_SHARE else "pass"
    words = f"the largest tree is {naming.short(first.root, 40)} with {format_bytes(first.held)}"
    words += f" ({share:.0%} of memory)" if whole else ""
    evidence = {
        "basis": basis,
        "processes": [[proc.pid, naming.short(proc), naming.memory(proc)] for proc in largest],
        "unreadable": list(table.hidden),
    }
    hint = f"midwatch leaks {first.root.pid}" if status == "warn" else ""
    yield CHECK.say(status, f"{words}; {basis}", offenders=named, evidence=evidence, hint=hint)


def _whole(ctx: Context) -> int:
    try:
        if not ctx.linux:
            return int(ctx.sources.sysctl("hw.memsize"))
        return limit.meminfo(ctx.sources).get("MemTotal", 0)
    except (OSError, ValueError):
        return 0


CHECK = Check(
    id="DOC-2",
    category="memory",
    title="largest users of memory",
    about=(
        "The ten largest processes and the ten largest session trees with their totals. A single tree that "
        "holds more than half of the machine's memory warns; otherwise it passes and tells."
    ),
    run=_run,
)
