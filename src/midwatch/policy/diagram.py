"""The state diagram, drawn from the table: what docs/ shows is what `step` does.

One arrow for each pair of phases that some row connects, labelled with the events. Must not know a file: a script
writes the text. Tests: tests/policy/test_diagram.py.
"""

from __future__ import annotations

from midwatch.policy.state import KEYS, PHASES, TABLE


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
    lines += [f"    {a} --> {b} : {', '.join(keys)}" for (a, b), keys in arrows().items()]
    return "\n".join(lines) + "\n"
