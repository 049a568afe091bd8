"""The rows of the screen of `look`, each a line of text made from the document.

Must not know colours nor how lines are put together (lookscreen.py). Tests: tests/front/test_lookscreen.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from midwatch.front.cli.render import clock, duration, plain, size

Doc = Mapping[str, Any]
NARROW = 70  # columns below which a row is running text instead of columns
SMALL = 5 << 20  # bytes; trees below it are noise
_QUALITY = {"upper-bound": "≤", "approximate": "~"}
_WORST = ("absent", "approximate", "upper-bound", "exact")
_HELPERS = {"mcp": "MCP server", "language-server": "language server", "browser": "browser", "model": "model runner",
            "helper": "helper"}  # fmt: skip


def held(count: int | None, quality: str) -> str:
    """A size with the mark of its quality."""
    return "?" if count is None else _QUALITY.get(quality, "") + size(count)


# -- memory


def memory(found: Doc, room: int) -> list[tuple[str, str]]:
    """Trees, the sessions of one agent in one row."""
    rows = []
    for group in _grouped(found["trees"]):
        total = sum(tree["held_bytes"] or 0 for tree in group)
        if total < SMALL:
            continue
        quality = min((tree["quality"] for tree in group), key=_WORST.index)
        quality = "upper-bound" if quality == "exact" and len(group) > 1 else quality
        count = sum(tree["processes"] for tree in group)
        rows.append((total, held(total, quality), count, _name(group, found)))
    rows.sort(key=lambda row: -row[0])
    if room < NARROW:
        return [(f"{size_} {name}", "") for _, size_, _, name in rows]
    wide = max((len(row[1]) for row in rows), default=0)
    return [
        (f"{size_:>{wide}}  {count:>4} proc{'s' if count != 1 else ' '}  {name}", "")
        for _, size_, count, name in rows
    ]


def _grouped(trees: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = {}
    for number, tree in enumerate(trees):
        key = (tree["agent"], tree["name"]) if tree["kind"] == "agent" else number
        groups.setdefault(key, []).append(tree)
    return list(groups.values())


def _name(group: list[dict[str, Any]], found: Doc) -> str:
    """ "claude (6 sessions; 4 idle > 5h; 22 MCP servers)", or the command of a stranger."""
    tree = group[0]
    if tree["kind"] != "agent":
        return plain(tree["name"] if tree["kind"] != "program" else f"{tree['name']} (pid {tree['pid']})")
    pids = {one["pid"] for one in group}
    mine = [one for one in found["sessions"] if one["pid"] in pids]
    words = []
    if tree["role"] in {"session", "launcher"} or len(group) > 1:
        words.append(f"{len(group)} session{'s' * (len(group) != 1)}")
    idle = [one for one in mine if one["activity"] == "idle"]
    if idle:
        known = [one["idle_s"] for one in idle if one["idle_s"] is not None]
        since = f" > {_hours(min(known))}" if known else ""
        words.append(f"{len(idle)} idle{since}")
    for role, name in _HELPERS.items():
        count = sum(helper["count"] for one in mine for helper in one["helpers"] if helper["role"] == role)
        words += [f"{count} {name}{'s' * (count != 1)}"] if count else []
    if len(group) == 1:
        words.append(f"pid {tree['pid']}")
    return plain(f"{tree['name']} ({', '.join(words)})")


def _hours(seconds: float) -> str:
    whole = int(seconds // 3600)
    return f"{whole // 24}d" if whole >= 48 else f"{whole}h" if whole else f"{int(seconds // 60)}m"


def services(found: Doc) -> str:
    """ "2 up, 1 held; 'midwatch ps' shows them"."""
    states = sorted(found["service_states"].items(), key=lambda pair: (-pair[1], pair[0]))
    return plain(f"{', '.join(f'{count} {state}' for state, count in states)}; 'midwatch ps' shows them")


# -- leftovers


def leftovers(found: Doc, now: float) -> list[tuple[str, str]]:
    """Grouped by what they are and why they are left over; pile-ups below a living parent say so."""
    groups: dict[tuple[bool, str, str], list[dict[str, Any]]] = {}
    for one in found["leftovers"]:
        key = (one["certain"], one["name"], one["group"] if one["respawns"] else one["reason"])
        groups.setdefault(key, []).append(one)
    rows = []
    for (certain, name, why), group in groups.items():
        total = sum(one["held_bytes"] or 0 for one in group)
        ages = sorted(now - one["started"] for one in group)
        first, last = duration(ages[0]), duration(ages[-1])
        age = last if first == last else f"{first} to {last}"
        pile = "pile-up, " if group[0]["respawns"] else ""
        apart = "" if certain else f"{pile}offered apart: "
        rows.append((certain, total, plain(f"{len(group)} x {name}, {size(total)}, {age} old: {apart}{why}")))
    rows.sort(key=lambda row: (not row[0], -row[1]))
    return [(text, "" if certain else "dim") for certain, _, text in rows]


# -- what runs out


def told(found: Doc) -> list[dict[str, Any]]:
    """Those with a state, or with a time."""
    return [one for one in found["forecasts"] if one["state"] != "calm" or one["full_in_s"] is not None]


def level(one: Doc) -> str:
    """ "hermes-webui (pid 7)  fds 201/256, +0.7/min, 109 are state.db: full in 80m"."""
    number = size if one["unit"] == "bytes" else lambda count: f"{count:,.0f}"
    least = "≥" if one["at_least"] else ""
    who = f"{one['subject']} (pid {one['pid']})" if one["pid"] else str(one["subject"])
    if one["kind"] in {"folder", "wal"}:
        amount = f"{least}{number(one['used'])}"
    elif one["unit"] == "bytes":
        amount = f"{number((one['limit'] or 0) - one['used'])} of {number(one['limit'] or 0)} left"
    else:
        unit = "" if one["unit"] in one["subject"] or one["subject"] == "terminals" else f"{one['unit']} "
        amount = f"{unit}{least}{number(one['used'])}/{number(one['limit'] or 0)}"
    words = [amount]
    if one["rate_per_s"]:
        words.append(f"+{_rate(one['rate_per_s'], one['unit'] == 'bytes')}")
    if one["detail"]:
        words.append(str(one["detail"]))
    end = "" if one["full_in_s"] is None else f": full in ~{duration(one['full_in_s'])}"
    return plain(f"{who}  {', '.join(words)}{end}")


def _rate(per_second: float, in_bytes: bool) -> str:
    minute, hour = per_second * 60, per_second * 3600
    if in_bytes:
        return f"{size(minute)}/min" if minute >= 1 << 20 else f"{size(hour)}/h"
    return f"{minute:.1f}/min" if minute >= 0.1 else f"{hour:.1f}/h"


def nearest(found: Doc) -> str:
    """One line for a calm machine."""
    known = [
        one for one in found["forecasts"] if one["share"] is not None and one["kind"] not in {"wal", "folder"}
    ]
    if not known:
        return "nothing that could be seen"
    worst = max(known, key=lambda one: one["share"])
    return plain(f"nothing; the fullest is {worst['subject']} ({worst['kind']}) with {worst['share']:.0%}")


# -- loops, deaths, containers


def loop(one: Doc) -> str:
    """ "com.me.webui  launchd, 412 runs: exits 0 each time and is started again"."""
    rate = f", {one['rate'] * 3600:.0f} an hour" if one["rate"] else ""
    runs = f", {one['runs']} run{'s' * (one['runs'] != 1)}" if one["runs"] else ""
    return plain(f"{one['name']}  {one['manager']}{runs}{rate}: {one['words']}")


def deaths(found: Doc, now: float) -> list[str]:
    """The same program's deaths in one row, the newest first."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in found["deaths"]:
        groups.setdefault((one["name"], one["source"]), []).append(one)
    rows = []
    for (name, _), group in groups.items():
        last = group[0]
        who = f"{name} {last['pid']}" if last["pid"] and len(group) == 1 else str(name)
        times = f"{len(group)} x, last " if len(group) > 1 else ""
        rows.append(plain(f"{who}  {times}{clock(last['at'], now)}  {last['words']}"))
    return rows


def unlimited(found: Doc) -> str:
    """Running containers without a memory limit."""
    free = found["containers"]["unlimited"]
    if not free:
        return ""
    names = [f"{one['name']} ({size(one['used'])})" if one["used"] else one["name"] for one in free[:3]]
    more = f" and {len(free) - 3} more" if len(free) > 3 else ""
    return plain(f"{len(free)} without a memory limit: {', '.join(names)}{more}")
