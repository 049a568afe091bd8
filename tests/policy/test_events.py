"""The closed set of events: named noun.verb, documented, and complete for what the policy writes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from midwatch import policy
from midwatch.policy.events import EVENTS, reference

FOLDER = Path(str(policy.__file__)).parent


def _noted() -> set[str]:
    """Every event name that the policy's source hands to `note` or `Note`."""
    names = set()
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in ("note", "Note"):
                    names.add(str(node.args[0].value))
    return names


def test_what_the_policy_writes_is_exactly_what_is_documented() -> None:
    """No undocumented event, and no documented one that nobody writes."""
    assert _noted() == {e.name for e in EVENTS.values() if e.source == "policy"}


def test_names_and_meanings() -> None:
    """noun.verb (backoff alone is a noun), fields without doubles, one line of meaning."""
    for event in EVENTS.values():
        assert re.fullmatch(r"[a-z]+\.[a-z_]+|backoff", event.name)
        assert len(set(event.fields)) == len(event.fields)
        assert event.meaning
        assert "\n" not in event.meaning


def test_the_promised_fields_are_there() -> None:
    """Names and fields that scripts may rely on."""
    promised = {
        "run.spawned": "pid", "run.exited": "pid code signal cause duration_ms crash_count",
        "run.spawn_failed": "errno phase", "backoff": "ms reason crash_count", "health.warn": "reason count window_ms",
        "budget.exhausted": "budget count limit", "stop.begin": "", "stop.done": "verified_by", "run.adopted": "pid",
        "output.dropped": "bytes since", "engine.restarted": "", "daemon.started": "", "daemon.stopped": "",
    }  # fmt: skip
    for name, fields in promised.items():
        assert set(fields.split()) <= set(EVENTS[name].fields), name


def test_the_reference_has_a_row_for_each() -> None:
    assert reference().count("\n") == len(EVENTS) + 2
