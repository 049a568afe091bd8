"""`midwatch ps`: every service as it stands.

Answers at once whatever the services do. While no daemon runs it says so, exits 1 and lists what the
record knows: a process that is still alive is "unwatched", never "up". Must not measure anything itself.
Tests: tests/front/test_ps.py.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from midwatch.front.cli import instances, names, project
from midwatch.front.cli.declare import ALL, JSON, NAMES, Opt, Verb
from midwatch.front.cli.render import (
    NONE,
    clock,
    coloured,
    coming,
    duration,
    paint,
    say_json,
    size,
    table,
    width,
    wrap,
)

VERBOSE = Opt("verbose", ("-v", "--verbose"), "Also what midwatch can do on this machine, and what it cannot.")
HEAD = ("NAME", "STATE", "PID", "UP", "MEM", "FDS", "RESTARTS")
_RIGHT = frozenset({2, 3, 4, 5, 6})
_QUALITY = {"upper-bound": "≤", "approximate": "~"}
_CALM = {"up", "done", "stopped"}


def _run(names: list[str], everything: bool, verbose: bool, json: bool) -> int:
    picture = instances.look()
    shown = selected(picture, names, everything)
    running = picture.daemon is not None or any(known.row is not None for known in picture.services)
    rows = [known.row if known.row is not None else recorded_row(known) for known in shown]
    if json:
        say_json({"daemon": picture.daemon, "services": rows})
    else:
        for line in screen(rows, picture.daemon, width(), time.time()):
            print(line)
        if verbose:
            print("\n".join(rungs((picture.daemon or {}).get("rungs") or {}, width())))
        if not rows and (hint := elsewhere(picture, everything)):
            print(hint)
    if not running:
        record = " this is what the record knows;" if rows else ""
        print(f"midwatch ps: the daemon is not running;{record} 'midwatch up' starts it", file=sys.stderr)
    return 0 if running else 1


def selected(picture: instances.Picture, words: list[str], everything: bool) -> list[instances.Known]:
    """Named services; else the project's when the caller stands in one; else all.

    Ended `run`s only when they are named.
    """
    if words:
        wanted = names.resolve(words, picture.ids(), project.current())
        return [picture.find(name) for name in wanted]
    here = None if everything else project.current()
    known = [
        one
        for one in picture.services
        if one.row is not None or (one.layout is picture.home and not one.past)
    ]
    return known if here is None else [one for one in known if one.id.startswith(f"{here}/")]


def elsewhere(picture: instances.Picture, everything: bool) -> str:
    """Where to look when there is nothing to list; nothing when there is nothing anywhere."""
    others = [] if everything else selected(picture, [], True)
    if others:
        return f"no service of this project; 'midwatch ps -a' shows all {len(others)}"
    past = [known.id for known in picture.services if known.row is None]
    if not past:
        return ""
    shown = ", ".join(past[:4]) + (f" and {len(past) - 4} more" if len(past) > 4 else "")
    return f"the record has what ran here: {shown}; 'midwatch why NAME' and 'midwatch logs NAME' show it"


def recorded_row(known: instances.Known) -> dict[str, Any]:
    """What can still be said about a service that nobody watches. Numbers are absent, not zero."""
    record = instances.recorded_runs(known.layout).get(known.id)
    owner, _, name = known.id.partition("/")
    return {
        "name": name,
        "project": owner,
        "state": "unwatched" if record else "not running",
        "pid": record["pid"] if record else None,
        "run_id": record.get("run") if record else None,
        "since": record.get("spawned_wall") if record else None,
        "restarts": {},
        "memory": {"held_bytes": None, "quality": "absent", "soft_bytes": None, "hard_bytes": None},
        "fds": {"open": None, "soft_limit": None},
        "ready": False,
        "health": "unknown",
        "decision": "",
    }


def screen(rows: list[dict[str, Any]], daemon: dict[str, Any] | None, room: int, now: float) -> list[str]:
    """The table: decisions in a column where they fit, else under their service."""
    if not rows:
        lines = ["no services"] if daemon is not None else []
        return [*lines, *_footer(daemon)]
    several = len({row["project"] for row in rows}) > 1
    rows = sorted(rows, key=lambda row: (row["project"], row["name"]))
    cells = [_cells(row, several) for row in rows]
    said = [_decision(row, now) for row in rows]
    kinds = ["failing" if row.get("health") == "failing" else str(row["state"]) for row in rows]
    wide = table(
        (*HEAD, "DECISION"), [(*c, d) for c, d in zip(cells, said, strict=True)], 10_000, _RIGHT, 0, ()
    )
    if max(len(line) for line in wide) <= room:
        joined = [(*c, d) for c, d in zip(cells, said, strict=True)]
        return [*table((*HEAD, "DECISION"), joined, room, _RIGHT, 0, kinds), *_footer(daemon)]
    lines = table(HEAD, cells, room, _RIGHT, 0, kinds)
    out = [lines[0]]
    for line, decision in zip(lines[1:], said, strict=True):
        out.append(line)
        out += [f"    {piece}" for piece in wrap(decision, room - 4)] if decision else []
    return [*out, *_footer(daemon)]


def _cells(row: dict[str, Any], several: bool) -> tuple[str, ...]:
    state = str(row["state"])
    if state == "up" and row.get("health") == "failing":
        state = "up, failing"
    held = row["memory"]["held_bytes"]
    memory = NONE if held is None else _QUALITY.get(row["memory"]["quality"], "") + size(held)
    used, limit = row["fds"]["open"], row["fds"]["soft_limit"]
    files = NONE if used is None else f"{used}/{limit}" if limit is not None else str(used)
    up = duration(row.get("uptime_s"))
    return (
        f"{row['project']}/{row['name']}" if several else str(row["name"]),
        state,
        str(row["pid"] or NONE),
        up,
        memory,
        files,
        str(sum(row["restarts"].values())),
    )


def _decision(row: dict[str, Any], now: float) -> str:
    """The last decision where it still matters, with the time that is left of it."""
    if row["state"] in _CALM and row.get("health") != "failing":
        return ""
    text = str(row.get("decision") or "")
    if row["state"] == "unwatched" and row.get("since"):
        return f"started {clock(row['since'], now)}; nobody watches it; 'midwatch up' takes it back"
    if row.get("needs"):
        text = f"waits: {'; '.join(row['needs'])}"
    elif row["state"] == "starting" and row.get("pid") and row.get("health") != "failing":
        text = "not ready yet"  # what was decided before its start is over
    elif row["state"] == "starting" and not row.get("pid"):
        text = "is being started"
    next_at = row.get("next_at")
    if row["state"] == "scheduled" and next_at is not None:
        text = f"next {coming(next_at, row.get('zone'), now)}" + (f"; {text}" if text else "")
    retry = row.get("retry_at")
    if retry is not None and retry > now:
        text += f" ({duration(retry - now)} left)"
    return text


def rungs(told: dict[str, str], room: int) -> list[str]:
    """What midwatch can do on this machine, and what it does instead where it cannot."""
    lines = [f"on this machine, as tried: {'nothing is known yet' if not told else ''}".rstrip()]
    for name, words in told.items():
        first, *more = wrap(f"{words}", max(20, room - 26))
        lines += [f"  {name + ':':23} {first}", *(" " * 26 + piece for piece in more)]
    return lines


def _footer(daemon: dict[str, Any] | None) -> list[str]:
    if not daemon:
        return []
    who = f"pid {daemon.get('pid')} under keeper {daemon.get('keeper_pid')}"
    text = f"midwatch {daemon.get('version')}, {who}, holds {size(daemon.get('held_bytes'))}"
    return [paint(text, "dim", coloured())]


VERB = Verb(
    name="ps",
    help="Show the services as they stand.",
    detail=(
        "Inside a project's folder: that project; elsewhere, and with --all: everything. MEM is held memory "
        "(anonymous + shared + swapped; ≤ marks an upper bound, ~ a rough sum), FDS is open/limit. Answers at "
        "once, also while a stop is under way. Without a daemon it lists what the record knows and exits 1."
    ),
    examples=("midwatch ps", "midwatch ps -v", "midwatch ps -a --json", "midwatch ps shop/web"),
    run=_run,
    opts=(ALL, VERBOSE, JSON),
    arg=NAMES,
    codes="Exit codes: 0 answered, 1 no daemon runs, 2 unknown name.",
)
