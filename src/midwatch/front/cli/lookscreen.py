"""The screen of `look`: the document in at most 80 columns, readable at 40, worst first, the next command last.

A pure function of the document, so that golden screens test it. Everything from outside is put on one line without
control characters. Must not decide what matters: states are in the document. Tests: tests/front/test_lookscreen.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from midwatch.front.cli import lookrows
from midwatch.front.cli.render import paint, plain, size, wrap

Doc = Mapping[str, Any]
WIDEST = 100
_PRESSURE = {"high": "backoff", "critical": "failing"}
_STATE = {"warn": "backoff", "danger": "failing"}
_MOST = {"trees": 8, "leftovers": 6, "forecasts": 6, "loops": 4, "deaths": 4}


def screen(found: Doc, room: int, now: float, on: bool) -> list[str]:
    """All lines."""
    room = min(room, WIDEST)
    out = [*wrap(header(found), room), ""]
    for name, head, rows in sections(found, room, now):
        state = "failing" if any(kind == "failing" for _, kind in rows) else "bold"
        first, *more = wrap(f"{name}  {head}" if head else name, room)
        out += [paint(first, state if rows else "bold", on), *("    " + line for line in more)]
        for text, kind in rows:
            first, *more = wrap(text, room - 4)
            out.append(paint("  " + first, kind, on))
            out += ["    " + line for line in more]
    if found["missing"]:
        out.append(paint("NOT SEEN", "bold", on))
        out += [f"  {line}" for text in found["missing"] for line in wrap(text, room - 2)]
    return [*out, "", *_next(found["next"], room)]


def header(found: Doc) -> str:
    """What was looked at, and that nothing was changed."""
    count = found["processes"]
    seen = [f"{count} process{'es' * (count != 1)}"]
    running = found["containers"]["containers"]
    seen += [f"{running} container{'s' * (running != 1)}"] if running else []
    mine = found["services"]
    seen += [f"{mine} service{'s' * (mine != 1)}"] if mine else []
    kept = found["host"]["state_bytes"]
    seen += [f"{'≥' * found['host']['state_at_least']}{size(kept)} of agent state"] if kept else []
    listed = seen[0] if len(seen) == 1 else f"{', '.join(seen[:-1])} and {seen[-1]}"
    return f"looked at {listed} in {found['took_s']:.1f} s; nothing was changed"


def sections(found: Doc, room: int, now: float) -> Iterable[tuple[str, str, list[tuple[str, str]]]]:
    """(name, head, rows as (text, kind)) of what there is to say."""
    yield "MEMORY", _memory(found["host"]), _limited(lookrows.memory(found, room), "trees")
    if found["services"]:
        yield "SERVICES", lookrows.services(found), []
    left = lookrows.leftovers(found, now)
    if left:
        certain = [one for one in found["leftovers"] if one["certain"]]
        count, held = len(certain), sum(one["held_bytes"] or 0 for one in certain)
        head = (
            f"{count} process{'es' * (count != 1)}, {size(held)}, nobody owns them"
            if certain
            else "none for certain"
        )
        yield "LEFTOVERS", head, _limited(left, "leftovers")
    rows = [(lookrows.level(one), _STATE.get(one["state"], "")) for one in lookrows.told(found)]
    hint = "" if not found["first_look"] else "how fast is known from the second look on"
    if rows:
        yield "RUNNING OUT", hint, _limited(rows, "forecasts")
    else:
        yield "RUNNING OUT", lookrows.nearest(found), []
    loops = [(lookrows.loop(one), "backoff") for one in found["loops"]]
    if loops:
        yield "RESTARTING", "", _limited(loops, "loops")
    deaths = lookrows.deaths(found, now)
    if deaths:
        yield "DIED", "in the last day", _limited([(text, "") for text in deaths], "deaths")
    free = lookrows.unlimited(found)
    if free:
        yield "CONTAINERS", free, []


def _memory(host: Doc) -> str:
    used, total = host["used_bytes"], host["total_bytes"]
    words = []
    if used is not None and total:
        words.append(f"{size(used)} of {size(total)} in use{' of our limit' if host['limit'] else ''}")
    elif total:
        words.append(f"{size(total)} in all")
    if host["pressure"] in _PRESSURE:
        words.append(f"pressure {host['pressure'].upper()}")
    if host["swap_used_bytes"]:
        words.append(f"{size(host['swap_used_bytes'])} swapped")
    return ", ".join(words)


def _limited(rows: list[tuple[str, str]], kind: str) -> list[tuple[str, str]]:
    most = _MOST[kind]
    if len(rows) <= most:
        return rows
    return [*rows[: most - 1], (f"... and {len(rows) - most + 1} more (--json has all)", "dim")]


def _next(rows: list[dict[str, str]], room: int) -> list[str]:
    """Commands to paste, each on a line of its own where they do not fit on one."""
    texts = [f"{row['command']} ({row['why']})" for row in rows]
    one = "Next: " + "   ".join(texts)
    if len(one) <= room:
        return [one]
    lines = ["Next:"]
    for row, text in zip(rows, texts, strict=True):
        lines.append(f"  {plain(text if len(text) + 2 <= room else row['command'])}")
    return lines
