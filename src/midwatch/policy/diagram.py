"""The state diagram, drawn from the table: what docs/ shows is what `step` does.

One arrow for each pair of phases that some row connects, labelled with the events. Must not know a file: a script
writes the text. Tests: tests/policy/test_diagram.py.
"""

from __future__ import annotations

from midwatch.policy.state import KEYS, PHASES, TABLE

_MEANINGS = {
    "stopped": "nothing runs and nobody wants it to",
    "pending": "wanted; waits for what it needs",
    "starting": "being spawned, or alive and not ready yet",
    "up": "alive and ready",
    "stopping": "the stop signal is out, the grace runs",
    "killing": "the rest of the tree is ended and verified",
    "backoff": "waits for its next try, inside its budget",
    "degraded": "waits for its next try, crash budget spent",
    "held": "a new try cannot help until something changes",
    "gave_up": "the hard ceiling was reached",
    "done": "it ended cleanly and was meant to",
}


def arrows() -> dict[tuple[str, str], list[str]]:
    """(from, to) -> the event keys that can lead there, in the table's order."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in TABLE:
        for phase in (p for p in PHASES if p in row.phases):
            for target in (p for p in PHASES if p in row.leads_to and p != phase):
                keys = found.setdefault((phase, target), [])
                keys += [key for key in KEYS if key in row.keys and key not in keys]
    return found


def mermaid() -> str:
    """The diagram as Mermaid text."""
    lines = ["stateDiagram-v2", "    [*] --> stopped"]
    lines += [f"    {phase} : {phase} - {_MEANINGS[phase]}" for phase in PHASES]
    lines += [f"    {a} --> {b} : {', '.join(keys)}" for (a, b), keys in arrows().items()]
    return "\n".join(lines) + "\n"
