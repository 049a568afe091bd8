"""DOC-12: work that nobody waits for: trees whose session has ended, and sessions that idle under a living parent.

The first are leftovers with a proof (inspect/leftovers); of the second nobody outside can tell for certain that they
are not needed, so they are counted, named and never offered to be ended unasked. Must not signal.
Tests: tests/inspect/doctor/test_tasks.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.agents import load
from midwatch.inspect.doctor.check import Check, Context
from midwatch.inspect.doctor.parts import naming
from midwatch.inspect.leftovers.find import find
from midwatch.inspect.look import trees
from midwatch.inspect.look.sessions import Session, sessions
from midwatch.model.look import Checked, Leftover, Status
from midwatch.model.units import format_bytes, format_seconds
from midwatch.policy import defaults_inspect as figures


def _run(ctx: Context) -> Iterable[Checked]:
    table, now = ctx.sources.table(), ctx.sources.now()
    found = find(ctx.sources, table, ctx.ours)
    old = [one for one in found if now - one.proc.started > figures.TASK_AGE[0]]
    certain = [one for one in old if one.certain]
    piles = [one for one in old if one.respawns]
    apart = [one for one in old if not one.certain and not one.respawns]
    if certain:
        yield _left(certain, now, "nobody owns any more", "midwatch sweep")
    if piles:
        yield _left(piles, now, "pile up under a living parent", "midwatch sweep --dry-run", uncertain=True)
    if apart:
        words = "have lost whoever started them, but somebody may still need them"
        yield _left(apart, now, words, "midwatch sweep --dry-run", uncertain=True)
    idle = _idle(ctx, now)
    if idle:
        yield idle
    if not certain and not piles and not apart and not idle:
        young = len(found)
        words = "nothing is left over" + (
            f"; {naming.count(young, 'process')} began too lately to say" if young else ""
        )
        yield CHECK.say("pass", words + ("; " + "; ".join(table.hidden) if table.hidden else ""))


def _left(found: list[Leftover], now: float, what: str, hint: str, uncertain: bool = False) -> Checked:
    held = naming.total(one.proc for one in found)
    oldest = max(now - one.proc.started for one in found)
    status = _status(oldest, held)
    groups: dict[str, int] = {}
    for one in found:
        groups[one.group or naming.short(one.proc, 30)] = (
            groups.get(one.group or naming.short(one.proc, 30), 0) + 1
        )
    top = naming.some(
        f"{times} x {name}" for name, times in sorted(groups.items(), key=lambda pair: -pair[1])
    )
    number = naming.count(len(found), "process")
    words = f"{number}, {format_bytes(held)}, {what}: {top}; the oldest {format_seconds(oldest)}"
    return CHECK.say(
        "warn" if uncertain else status,
        words,
        offenders=[naming.offender(one.proc, now, one.reason) for one in found[: figures.TASK_NAMED]],
        evidence={
            "processes": len(found),
            "held_bytes": held,
            "proofs": [list(one.proof) for one in found[:5]],
        },
        hint=hint,
    )


def _status(age: float, held: int) -> Status:
    return "fail" if age > figures.TASK_AGE[1] or held > figures.TASK_BYTES else "warn"


def _idle(ctx: Context, now: float) -> Checked | None:
    """Sessions of agents that have been quiet for an hour although their parent lives."""
    forest = trees.grow(ctx.sources.table(), load(), ctx.ours)
    quiet = [
        one for one in sessions(ctx.sources, forest, {}) if one.tree.kind == "agent" and _quiet(one, now)
    ]
    if len(quiet) < figures.IDLE_SESSIONS:
        return None
    members = [proc for one in quiet for proc in one.tree.members]
    held = naming.total(members)
    words = (
        f"{len(quiet)} agent sessions have been quiet for over {format_seconds(figures.SESSION_IDLE)} while "
        f"their parent lives: {format_bytes(held)} in {naming.count(len(members), 'process')}"
    )
    return CHECK.say(
        "fail" if held > figures.TASK_BYTES else "warn",
        words,
        offenders=[naming.offender(one.root, now, f"{len(one.tree.members)} processes") for one in quiet],
        evidence={
            "sessions": len(quiet),
            "held_bytes": held,
            "basis": "upper bound, shared memory counted in each",
        },
        hint="close the sessions that you do not need in the program that holds them; 'midwatch look' lists them",
    )


def _quiet(session: Session, now: float) -> bool:
    """By its terminal; else by processor time over its life; else asleep as a whole, and old enough."""
    if now - session.root.started < figures.SESSION_IDLE or session.root.ppid <= 1:
        return False
    if session.idle_s is not None:
        return session.activity == "idle"
    spent = [proc.cpu_s for proc in session.tree.members if proc.cpu_s is not None]
    if spent:
        return sum(spent) / (now - session.root.started) < figures.SESSION_BUSY
    return all(proc.state != "R" for proc in session.tree.members)


CHECK = Check(
    id="DOC-12",
    category="processes",
    title="leaked background tasks",
    about=(
        "Trees of agents and tools whose session has ended, each with its proof: older than 7 minutes warns, "
        "older than an hour or over 1 GiB together fails. Pile-ups and five or more agent sessions that have "
        "been quiet for an hour under a living parent warn (over 1 GiB of them fails). Services, terminals "
        "and multiplexers are left out."
    ),
    run=_run,
)
