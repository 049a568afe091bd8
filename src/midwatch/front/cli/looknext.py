"""What to type after a look: the commands that fix what it found, each with what it brings. Only verbs that exist.

Must not look at anything but the document. Tests: tests/front/test_look.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from midwatch.front.cli.render import size
from midwatch.front.cli.verbs import VERBS

_MOST = 4


def advice(found: Mapping[str, Any], verbs: tuple[str, ...] = VERBS) -> list[dict[str, str]]:
    """Rows of {command, why}, the most useful first; never empty."""
    rows = [row for row in _found(found) if row["command"].split()[1] in verbs]
    if not rows:
        rows = _calm(found)
    return rows[:_MOST]


def _row(command: str, why: str) -> dict[str, str]:
    return {"command": command, "why": why}


def _found(found: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = []
    certain = [left for left in found["leftovers"] if left["certain"]]
    if certain:
        rows.append(_row("midwatch sweep", f"frees {size(sum(left['held_bytes'] or 0 for left in certain))}"))
    elif found["leftovers"]:
        held = size(sum(left["held_bytes"] or 0 for left in found["leftovers"]))
        rows.append(_row("midwatch sweep", f"shows what of {held} can go"))
    mine = [loop["name"] for loop in found["loops"] if loop["manager"] == "midwatch"]
    died = [death["subject"] for death in found["deaths"] if death["source"] == "record"]
    rows += [_row(f"midwatch why {name}", "tells why") for name in dict.fromkeys((mine + died)[:1])]
    if found["host"]["pressure"] in {"high", "critical"}:
        rows.append(_row("midwatch recover", "the smallest step that helps"))
    strange = [loop for loop in found["loops"] if loop["manager"] != "midwatch"]
    worried = [level for level in found["forecasts"] if level["state"] != "calm"]
    killed = [death for death in found["deaths"] if death["source"] in {"kernel", "jetsam"}]
    if strange or worried or found["containers"]["unlimited"]:
        rows.append(_row("midwatch doctor", "a fix for each"))
    if killed and not rows:
        rows.append(_row("midwatch run --memory 2G -- CMD", "a memory line for what was killed"))
    return rows


def _calm(found: Mapping[str, Any]) -> list[dict[str, str]]:
    if found["services"]:
        return [_row("midwatch ps", "the services alone")]
    return [
        _row("midwatch run -- CMD", "keeps one command alive"),
        _row("midwatch up", "runs what midwatch.toml says"),
    ]
