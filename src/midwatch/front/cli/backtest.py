"""What would have changed: compared decisions, put together by service.

The first one that differs with both sides' arithmetic, and counts of what was decided, then and now. Inputs whose world
the record does not know are counted apart and in neither column. Pure. Tests: tests/front/test_replay.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from midwatch.front.cli import history
from midwatch.front.cli.render import clock, duration, table
from midwatch.policy.replay import NOT_RECORDED

Decisions = Iterable[tuple[str, Any]]
_WHAT = {  # event -> the field that tells its kind
    "run.exited": "cause",
    "backoff": "reason",
    "budget.exhausted": "budget",
    "health.warn": "reason",
    "health.failed": "reason",
    "guard.tripped": "guard",
    "stop.begin": "reason",
}
_PLAIN = frozenset({"supervision.gave_up", "service.held", "service.done", "run.spawn_failed", "port.conflict",
                    "guard.drain", "stop.kill"})  # fmt: skip


def unknown(one: Any) -> bool:
    """Is it something the record cannot answer?"""
    return str(one.remark).startswith(NOT_RECORDED)


def by_service(found: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """The comparison of each service: `first` is the first decision that differs, None when none does."""
    services: dict[str, dict[str, Any]] = {}
    for one in found:
        mine = services.setdefault(one.service, {
            "inputs": 0, "different": 0, "not_recorded": 0, "first": None, "guards": 0, "unmet": 0, "waits_ms": [0, 0],
            "counts": (Counter(), Counter()), "unknown": Counter(),
        })  # fmt: skip
        mine["inputs"] += 1
        mine["guards"] += one.cause == "tripped"
        if unknown(one):
            mine["not_recorded"] += 1
            mine["unknown"][one.remark] += 1
            if one.cause == "tripped":  # that it would not have come is known, and is a change
                mine["unmet"] += 1
                mine["first"] = mine["first"] or one
            continue
        for side, decisions in enumerate((one.recorded, one.replayed)):
            mine["counts"][side].update(kinds(decisions))
            mine["waits_ms"][side] += sum(fields.get("ms") or 0 for event, fields in decisions if event == "backoff")
        if not one.same:
            mine["different"] += 1
            mine["first"] = mine["first"] or one
    return services


def kinds(decisions: Decisions) -> Iterable[str]:
    """What was decided, as words to count: "exit crash", "backoff oom", "guard memory hard"."""
    for event, fields in decisions:
        if event in _WHAT:
            noun = event.replace("run.exited", "exit").replace(".", " ").replace("guard tripped", "guard")
            words = [noun, str(fields.get(_WHAT[event]) or ""), str(fields.get("level") or "")]
            yield " ".join(filter(None, words))
        elif event in _PLAIN:
            yield event.replace(".", " ").replace("_", " ")


def document(services: dict[str, dict[str, Any]], told: Any) -> dict[str, Any]:
    """The same for `--json`. `told` makes a document of one compared decision."""
    return {
        name: {
            **{key: mine[key] for key in ("inputs", "different", "not_recorded", "guards", "unmet")},
            "first": told(mine["first"]) if mine["first"] else None,
            "counts": {
                kind: {"recorded": mine["counts"][0][kind], "now": mine["counts"][1][kind]} for kind in _all(mine)
            },
            "waits_ms": {"recorded": mine["waits_ms"][0], "now": mine["waits_ms"][1]},
            "unknown": dict(mine["unknown"]),
        }
        for name, mine in services.items()
    }


def _all(mine: dict[str, Any]) -> list[str]:
    return sorted(set(mine["counts"][0]) | set(mine["counts"][1]))


def screen(services: dict[str, dict[str, Any]], room: int) -> list[str]:
    """What would have changed, for a person."""
    lines: list[str] = []
    for name, mine in sorted(services.items()):
        lines += [*_head(name, mine), *_counts(mine, room)]
        unmet = f", {mine['unmet']} of them would not have come" if mine["unmet"] else ""
        guards = f"{mine['guards']} proposals of guards are in the record{unmet}" if mine["guards"] else (
            "guards: none of their proposals is in the record; when other lines would have been crossed is not recorded"
        )
        lines += [f"  {guards}"] if mine["guards"] or mine["different"] else []
        lines += [f"  {words}" + (f" ({n} times)" if n > 1 else "") for words, n in mine["unknown"].items()]
        lines.append("")
    return lines[:-1]


def _head(name: str, mine: dict[str, Any]) -> list[str]:
    first, changed = mine["first"], mine["different"] + mine["unmet"]
    known = mine["inputs"] - mine["not_recorded"] + mine["unmet"]
    if first is None:
        return [f"{name}: nothing would have changed in {known} decisions"]
    when = history.wall({"ts": first.ts})
    now = first.remark.removeprefix(f"{NOT_RECORDED}: ") + " is not recorded" if unknown(first) else (
        arithmetic(first.replayed)
    )
    return [
        f"{name}: {changed} of {known} decisions would have been others; the first:",
        f"  {clock(when) if when is not None else '?'}  {first.cause}",
        f"    recorded: {arithmetic(first.recorded)}",
        f"    now:      {now}",
    ]


def _counts(mine: dict[str, Any], room: int) -> list[str]:
    """Only what differs; what is the same is counted in one line."""
    then, now = mine["counts"]
    rows = [(kind, str(then[kind]), str(now[kind])) for kind in _all(mine) if then[kind] != now[kind]]
    waits = mine["waits_ms"]
    if waits[0] != waits[1]:
        rows.append(("waits in all", duration(waits[0] / 1000), duration(waits[1] / 1000)))
    if not rows:
        return []
    lines = table(("  DECIDED", "RECORDED", "NOW"), [(f"  {a}", b, c) for a, b, c in rows], room, frozenset({1, 2}))
    same = sum(then[kind] == now[kind] for kind in _all(mine))
    return [*lines, *([f"  the same: {same} other kinds"] if same else [])]


def arithmetic(decisions: Decisions) -> str:
    """Decisions with their reasons in words."""
    said = []
    for event, fields in decisions:
        why = fields.get("decision") or fields.get("reason") or fields.get("cause") or ""
        said.append(f"{event} ({why})" if why else event)
    return "; ".join(said) or "nothing"
