"""How leftovers look: by what they were, each group with one proof and its pids; and what came of a sweep.

Commands are redacted and on one line. Must not ask anybody for anything. Tests: tests/front/test_sweep.py.
"""

from __future__ import annotations

from typing import Any

from midwatch.front.cli.render import cut, duration, plain, size, wrap
from midwatch.inspect.sources import Table
from midwatch.inspect.sweep.ending import Ended
from midwatch.model.look import Leftover
from midwatch.record.redact import redact

_PIDS = 12  # named in one group; --json has them all


def row(one: Leftover, action: str) -> dict[str, Any]:
    """One leftover for scripts."""
    proc = one.proc
    return {
        "pid": proc.pid, "started": proc.started, "name": one.group, "command": plain(redact(proc.command)),
        "reason": one.reason, "proof": [plain(words) for words in one.proof], "held_bytes": proc.held,
        "action": action, "certain": one.certain, "respawns": one.respawns,
    }  # fmt: skip


def found_lines(table: Table, found: list[Leftover], room: int) -> list[str]:
    """The whole screen of a dry run."""
    certain = [one for one in found if one.certain]
    apart = [one for one in found if not one.certain]
    if not found:
        count = len(table.procs)
        lines = [f"no leftovers: of {count} process{'es' * (count != 1)} none is proven to be nobody's"]
        return lines + _hidden(table, room)
    lines = [
        f"LEFTOVERS   {_count(certain)}, nobody owns them" if certain else "LEFTOVERS   none that is certain"
    ]
    lines += _groups(table, certain, room)
    if apart:
        lines += ["", f"OFFERED APART   {_count(apart)}: not swept unless you say so"]
        lines += _groups(table, apart, room)
    lines += [*_hidden(table, room), "", *_next(certain, apart, room)]
    return lines


def _count(several: list[Leftover]) -> str:
    held = sum(one.proc.held or 0 for one in several)
    return f"{len(several)} process{'es' if len(several) != 1 else ''}, {size(held)}"


def _groups(table: Table, several: list[Leftover], room: int) -> list[str]:
    groups: dict[tuple[str, str], list[Leftover]] = {}
    for one in several:
        groups.setdefault((one.group, one.reason), []).append(one)
    lines = []
    for (name, reason), members in sorted(
        groups.items(), key=lambda item: -sum(one.proc.held or 0 for one in item[1])
    ):
        ages = sorted(table.at - one.proc.started for one in members)
        span = (
            duration(ages[0])
            if duration(ages[0]) == duration(ages[-1])
            else f"{duration(ages[0])}-{duration(ages[-1])}"
        )
        lines += ["", cut(f" {name}   {_count(members)}, {span} old: {reason}", room)]
        pids = ", ".join(str(one.proc.pid) for one in members[:_PIDS]) + (
            " ..." if len(members) > _PIDS else ""
        )
        lines += _item("pids", pids, room)
        lines += _item("command", redact(members[0].proc.command)[:400], room, most=2)
        for words in members[0].proof:
            lines += _item("proof" if words is members[0].proof[0] else "", words, room)
        if members[0].respawns:
            lines += _item("then", members[0].respawns, room)
    return lines


def _item(head: str, words: str, room: int, most: int = 8) -> list[str]:
    pieces = wrap(plain(words), max(20, room - 11))[:most]
    return [f"   {head:<7} {pieces[0]}", *(f"{'':<11}{piece}" for piece in pieces[1:])]


def _hidden(table: Table, room: int) -> list[str]:
    return [line for words in table.hidden for line in _item("missing", words, room)]


def _next(certain: list[Leftover], apart: list[Leftover], room: int) -> list[str]:
    lines = ["Nothing was changed."]
    if certain:
        lines += wrap(
            f"next: 'midwatch sweep --yes' frees {size(sum(one.proc.held or 0 for one in certain))}", room
        )
    if any(one.respawns for one in apart):
        lines += wrap(
            "next: 'midwatch sweep --pile-ups --yes' also ends the copies; the newest of each stays", room
        )
    alone = next((one for one in apart if not one.respawns), None)
    if alone is not None:
        lines += wrap(f"next: 'midwatch sweep {alone.proc.pid} --yes' ends one that is offered apart", room)
    return lines


def done_lines(done: list[Ended], undo: str, before: int | None, after: int | None, room: int) -> list[str]:
    """What came of a sweep."""
    freed = sum(one.freed for one in done)
    count = {
        action: sum(one.action == action for one in done)
        for action in ("ended", "killed", "gone", "kept", "left")
    }
    words = ", ".join(f"{n} {_SAID[action]}" for action, n in count.items() if n)
    lines = [f"{words}; {size(freed)} freed" if words else "nothing was left to do"]
    for one in done:
        if one.action in ("kept", "left"):
            lines += wrap(f" pid {one.left.proc.pid} ({one.left.group}): {one.words}", room)
    if before is not None and after is not None:
        lines += [f"memory available: {size(before)} before, {size(after)} after"]
    if undo:
        lines += [f"undo list: {undo}"]
    return lines


_SAID = {
    "ended": "ended by TERM",
    "killed": "ended by KILL",
    "gone": "had ended already",
    "kept": "kept",
    "left": "still there",
}
