"""A look as the document that `look --json` prints and the screen is made of: plain values, redacted, bounded.

What strangers wrote (command lines, paths, names) is redacted here, once, so that neither a screen nor a script can
show a secret. Fields may be added, none is renamed without a new schema_version. Tests: tests/inspect/test_look.py.
"""

from __future__ import annotations

from typing import Any

import msgspec

from midwatch.inspect.argv import label
from midwatch.inspect.look.deathlogs import Death
from midwatch.inspect.look.forecast import Level
from midwatch.inspect.look.picture import CODES, Look
from midwatch.inspect.look.sessions import Session
from midwatch.inspect.look.trees import Tree
from midwatch.model.look import Leftover, Proc
from midwatch.record.redact import redact, redact_value

TREES = 50  # strangers' programs; what is known by name is always there
NAMED = 500
FORECASTS = 100
LEFTOVERS = 1000
COMMAND = 300  # characters
HELPER_PIDS = 50


def document(look: Look) -> dict[str, Any]:
    """Everything but what to do next, which depends on the verbs there are."""
    found = {
        "state": look.verdict,
        "exit_code": CODES[look.verdict],
        "host": msgspec.to_builtins(look.host) | {"used_bytes": look.host.used_bytes},
        "trees": [_tree(tree) for tree in _trees(look)],
        "sessions": [_session(session) for session in look.sessions],
        "leftovers": [_leftover(left) for left in look.leftovers[:LEFTOVERS]],
        "forecasts": [_level(level) for level in look.forecasts[:FORECASTS]],
        "loops": [msgspec.to_builtins(loop) for loop in look.loops],
        "deaths": [_death(death) for death in look.deaths],
        "containers": msgspec.to_builtins(look.containers),
        "missing": list(dict.fromkeys(look.missing)),
        "processes": len(look.table.procs),
        "services": look.services,
        "service_states": look.states,
        "first_look": look.first,
        "took_s": round(look.took_s, 3),
    }
    cleaned = redact_value(found)
    assert isinstance(cleaned, dict)
    return cleaned


def command(proc: Proc) -> str:
    """Its command line without secrets, cut; the words as a list first, because an option hides the next one."""
    if not proc.argv:
        return f"[{proc.name}]"
    words = redact_value(list(proc.argv))
    text = redact(" ".join(words))
    return text if len(text) <= COMMAND else text[: COMMAND - 1] + "…"


def _trees(look: Look) -> list[Tree]:
    first = look.forest.trees[:TREES]
    return [*first, *[tree for tree in look.forest.trees[TREES:] if tree.kind != "program"][:NAMED]]


def _tree(tree: Tree) -> dict[str, Any]:
    return {
        "kind": tree.kind,
        "name": tree.name,
        "pid": tree.root.pid,
        "start": tree.root.start,
        "uid": tree.root.uid,
        "command": command(tree.root),
        "processes": len(tree.members),
        "held_bytes": tree.held if tree.quality != "absent" else None,
        "quality": tree.quality,
        "unread": tree.unread,
        "agent": tree.agent.pack if tree.agent else None,
        "role": tree.agent.role if tree.agent else None,
        "container": tree.container,
    }


def _session(session: Session) -> dict[str, Any]:
    tree = session.tree
    return {
        "agent": session.agent.pack,
        "name": tree.name,
        "role": session.agent.role,
        "pid": tree.root.pid,
        "start": tree.root.start,
        "started": tree.root.started,
        "tty": tree.root.tty,
        "processes": len(tree.members),
        "held_bytes": tree.held if tree.quality != "absent" else None,
        "quality": tree.quality,
        "activity": session.activity,
        "idle_s": session.idle_s,
        "helpers": [
            {
                "role": helper.role,
                "name": helper.name,
                "count": len(helper.tops),
                "pids": [top.pid for top in helper.tops[:HELPER_PIDS]],
                "processes": helper.processes,
                "held_bytes": helper.held,
                "quality": helper.quality,
            }
            for helper in session.helpers
        ],
    }


def _leftover(left: Leftover) -> dict[str, Any]:
    return {
        "pid": left.proc.pid,
        "start": left.proc.start,
        "started": left.proc.started,
        "name": label(left.proc),
        "command": command(left.proc),
        "reason": left.reason,
        "proof": list(left.proof),
        "held_bytes": left.proc.held,
        "quality": left.proc.quality,
        "group": left.group,
        "certain": left.certain,
        "respawns": left.respawns,
    }


def _level(level: Level) -> dict[str, Any]:
    return {
        "kind": level.kind,
        "subject": level.subject,
        "pid": level.pid,
        "start": level.start,
        "used": level.used,
        "limit": level.limit,
        "share": None if level.share is None else round(level.share, 4),
        "unit": level.unit,
        "at_least": level.at_least,
        "rate_per_s": level.rate,
        "full_in_s": level.full_in,
        "state": level.state,
        "detail": level.detail,
    }


def _death(death: Death) -> dict[str, Any]:
    return {"name": death.name, "pid": death.pid, "at": death.at, "words": death.words, "source": death.source,
            "subject": death.subject}  # fmt: skip
