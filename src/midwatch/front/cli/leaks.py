"""`midwatch leaks`: what of a service grows and gives nothing back, how fast, until when, and why silence is silence.

Shows what the daemon's leak watch knows; of a process that is none of its services, what one look can tell. Must not
judge: findings and silences come with their reasons. Tests: tests/front/test_leaks.py.
"""

from __future__ import annotations

from typing import Any

from midwatch.front.cli import instances
from midwatch.front.cli.declare import JSON, NAMES, Verb
from midwatch.front.cli.jobs import choose, need_daemon
from midwatch.front.cli.render import duration, plain, say_json, size, width, wrap

_TOP = 5


def _run(names: list[str], json: bool) -> int:
    picture = instances.look()
    if not picture.running():
        need_daemon(picture.home, "look at the growth of")
    pids = [int(word) for word in names if word.isdigit()]
    words = [word for word in names if not word.isdigit()]
    wanted = choose("leaks", words, not names, picture) if words or not names else []
    reports = [_ask(picture.find(name).layout, service=name) for name in wanted]
    reports += [_ask(picture.home, pid=pid) for pid in pids]
    if json:
        say_json({"reports": reports})
    else:
        print("\n\n".join("\n".join(screen(report, width())) for report in reports))
    return 1 if any(found(report) for report in reports) else 0


def _ask(layout: Any, **question: Any) -> dict[str, Any]:
    with need_daemon(layout, "look at the growth of") as client:
        return client.call("leaks", patience=10.0, **question)


def found(report: dict[str, Any]) -> bool:
    """Is there anything that a person should look at?"""
    told = [row["finding"] for row in report["kinds"] if "finding" in row] + report["signs"] + report.get("wal", [])
    return any(one["level"] not in ("note", None) for one in told)


def screen(report: dict[str, Any], room: int) -> list[str]:
    """A few sentences, the worst first."""
    who = report["service"] or f"pid {report['pid']} ({report.get('command', '')})"
    if report["service"] and not report["watched"]:
        return [plain(f"{who} does not run: nothing is measured. 'midwatch why {who}' tells how it ended.")]
    memory = report.get("memory") or {}
    lines = [plain(f"{who}: {_memory(memory)}; {_fds(report['fds'])}")]
    for row in report["kinds"]:
        if "finding" in row:
            lines += _said("grows", f"{row['finding']['words']}", room)
            for reason in row["finding"]["reasons"]:
                lines += _said("", reason, room)
    for sign in report["signs"]:
        lines += _said(f"{sign['rule']} {sign['level']}", sign["words"], room)
    for one in report.get("wal", []):
        lines += _said(f"wal {one['level'] or 'ok'}", f"{one['path']}: {one['words']}", room)
        if one["probe"] is not None:
            lines += _said("", f"asked, SQLite says: {one['probe']['words']}", room)
        for step in one["do"]:
            lines += _said("do", step, room)
    for row in report["kinds"]:
        if "silence" in row:
            least = row["detectable_per_hour"]
            rate = "" if least is None else f"; slower than {_amount(least, row['unit'])} an hour cannot be told here"
            lines += _said("silent", f"{row['kind']}: {row['silence']['words']}{rate}", room)
    if report.get("shape"):
        lines += _said("shape", f"descriptors over the last minutes: {report['shape']['words']}", room)
    fds = report["fds"] or {}
    for number, (target, kind, count) in enumerate(fds.get("top", [])[:_TOP]):
        known = number == 0 and fds.get("looked_s") is not None
        age = f", when they were looked through {_ago(fds['looked_s'])}" if known else ""
        lines += _said("open", f"{count} x {target} ({kind}){age}", room)
    if not report["service"]:
        lines += _said("note", "one look cannot tell growth; a service of midwatch is watched all the time", room)
    return lines


def _said(head: str, words: str, room: int) -> list[str]:
    pieces = wrap(plain(words), max(20, room - 11)) or [""]
    return [f" {head:<9} {pieces[0]}", *(f"{'':<11}{piece}" for piece in pieces[1:])]


def _memory(memory: dict[str, Any]) -> str:
    held = memory.get("held_bytes")
    if held is None:
        return "what it holds cannot be read"
    hard = memory.get("hard_bytes")
    return f"holds {size(held)} of memory" + (f", its hard line is {size(hard)}" if hard else ", no hard line is set")


def _fds(fds: dict[str, Any] | None) -> str:
    if not fds or fds.get("total") is None:
        return "its descriptors are not known yet"
    limit = f" of {fds['soft']}" if fds.get("soft") else ""
    age = f", up {duration(fds['uptime_s'])}" if fds.get("uptime_s") else ""
    seen = "" if fds.get("counted_s") is None else f", counted {_ago(fds['counted_s'])}"
    return f"{fds['total']}{limit} descriptors open{seen}{age}"


def _ago(seconds: float) -> str:
    return f"{duration(seconds)} ago" if seconds >= 1 else "just now"


def _amount(value: float, unit: str) -> str:
    return size(value) if unit == "bytes" else f"{value:g} {unit}"


VERB = Verb(
    name="leaks",
    help="Show what grows, how fast, and why silence is silence.",
    detail=(
        "For each kind of memory and descriptor: a growth with its rate, the time to its limit as a range, and every "
        "condition it met; or the first condition it did not meet, and the slowest growth that could be told from its "
        "noise. Then the faults that one look at its descriptors shows (S1 to S7). A number is any process's pid: it "
        "is read once, never touched. Without a name: all services."
    ),
    examples=("midwatch leaks web", "midwatch leaks 4711 --json"),
    run=_run,
    opts=(JSON,),
    arg=NAMES,
    codes="Exit codes: 0 nothing to look at, 1 something grows or is wrong or no daemon runs, 2 unknown name.",
)
