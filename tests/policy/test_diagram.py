"""The state diagram is drawn from the table."""

from __future__ import annotations

from midwatch.policy.diagram import arrows, mermaid
from midwatch.policy.state import KEYS, PHASES, TABLE


def test_every_arrow_comes_from_a_row_and_every_row_has_its_arrows() -> None:
    drawn = arrows()
    assert set(drawn) == {(p, q) for row in TABLE for p in row.phases for q in row.leads_to if p != q}
    assert all(keys and set(keys) <= set(KEYS) and len(set(keys)) == len(keys) for keys in drawn.values())


def test_the_text_is_mermaid() -> None:
    lines = mermaid().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> stopped"]
    assert len(lines) == 2 + len(arrows())
    assert all(any(phase in line for line in lines) for phase in PHASES)
