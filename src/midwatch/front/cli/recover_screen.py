"""How a plan and its outcome look. Must not ask anybody for anything. Tests: tests/front/test_recover.py."""

from __future__ import annotations

from midwatch.front.cli.render import plain, size, wrap
from midwatch.inspect.recover.apply import Outcome
from midwatch.inspect.recover.plan import Aim, Plan, Pressure, Step
from midwatch.record.redact import redact

_AIMS = 6  # targets shown of one step; --json has them all
_LEVEL = {"pass": "normal", "warn": "SHORT", "fail": "VERY SHORT", "unknown": "unknown"}


def plan_lines(found: Plan, room: int) -> list[str]:
    """The dry run."""
    lines = _item("MEMORY", f"{_LEVEL[found.pressure.level]}: {found.pressure.words}", room, 0)
    lines += _verdict(found, room)
    for number, step in enumerate(found.steps):
        lines += ["", *_step(number, step, room)]
    if found.idle:
        lines += [""]
        for name, words in found.idle.items():
            lines += _item(name, words, room, 0)
    lines += ["", "Nothing was changed."]
    if any(step.acts and step.aims and step.id != "snapshot" for step in found.steps):
        lines += wrap("next: 'midwatch recover --apply' asks for each step", room)
    return lines


def _verdict(found: Plan, room: int) -> list[str]:
    if found.pressure.level not in ("warn", "fail"):
        return wrap("nothing is needed; what follows is optional", room)
    needed = [step for step in found.steps if step.needed and step.id != "snapshot"]
    named = [step for step in found.steps if not step.needed and step.gain]
    if not needed and named:
        words = ", ".join(f"{step.id} {size(step.gain)}" for step in named)
        return wrap(f"nothing that helps is done unless you name it or do it yourself: {words}", room)
    if not needed:
        return wrap("nothing was found that would help; the largest trees: 'midwatch look'", room)
    want = f"of the {size(found.pressure.need)} that are missing" if found.pressure.need > 1 else "expected"
    words = f"{len(needed)} step{' frees' if len(needed) == 1 else 's free'} {size(found.promised)} {want}"
    return wrap(words + ("" if found.enough else ": not enough, but all that can be planned"), room)


def _step(number: int, step: Step, room: int) -> list[str]:
    mark = (
        "needed"
        if step.needed
        else "advice"
        if not step.acts
        else "only if named"
        if step.asks
        else "optional"
    )
    gain = "" if step.gain is None else f", {size(step.gain)}" if step.gain else ""
    disk = f", {size(step.disk)} of disk" if step.disk else ""
    lines = [f"{number}  {step.id}: {step.title}   [{mark}{gain}{disk}]"]
    lines = wrap(lines[0], room)
    for aim in step.aims[:_AIMS]:
        lines += _item("target", _aim(aim), room)
    if len(step.aims) > _AIMS:
        lines += _item("", f"and {len(step.aims) - _AIMS} more", room)
    lines += _item("command", redact(step.command), room)
    lines += _item("why", step.why, room)
    return lines + _item("back", f"{step.reversible}; risk {step.risk}", room)


def _aim(aim: Aim) -> str:
    who = f"pid {aim.pid} ({aim.name})" if aim.pid is not None else f"{aim.kind} {aim.name}"
    held = f", {size(aim.held)}" if aim.held is not None else ""
    return redact(f"{who}{held}" + (f": {aim.detail}" if aim.detail else ""))


def _item(head: str, words: str, room: int, indent: int = 3) -> list[str]:
    pad = " " * indent
    pieces = wrap(plain(words), max(20, room - indent - 10))[:6]
    return [f"{pad}{head:<9} {pieces[0]}", *(f"{pad}{'':<10}{piece}" for piece in pieces[1:])]


def outcome_lines(done: Outcome, room: int) -> list[str]:
    """What was done."""
    lines = []
    for one in done.steps:
        freed = f", {size(one.freed)}" if one.freed else ""
        lines += wrap(f"{one.step}: {one.state}{freed}", room)
        for words in one.words:
            lines += _item("", words, room, 0)
        for words in one.undo:
            lines += _item("back", words, room, 0)
    lines += _item("before", _told(done.before), room, 0) + _item("after", _told(done.after), room, 0)
    return lines + ([f"record    {done.record}"] if done.record else [])


def _told(pressure: Pressure) -> str:
    return f"{_LEVEL[pressure.level]}: {pressure.words}"
