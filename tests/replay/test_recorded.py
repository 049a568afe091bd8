"""Recorded incidents, decided again: a change of the rules shows itself here before it shows itself at night."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.plain import default_rules
from tests.replay.record import HISTORIES

from midwatch.policy.replay import replay
from midwatch.policy.summary import count

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.jsonl"))


def test_every_history_has_its_file() -> None:
    assert {f.stem for f in FILES} == {h.__name__ for h in HISTORIES}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_each_decision_is_made_again(path: Path) -> None:
    """Every input of the record leads to the decision on record, words included."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = replay(lines[0]["snapshot"], lines[1:])
    assert found
    for compared in found:
        assert compared.same, compared
        words = [fields.get("decision") for _, fields in compared.recorded]
        assert words == [fields.get("decision") for _, fields in compared.replayed]


def test_the_incident_is_visible_in_the_summary() -> None:
    """Twelve drains: no crash, twelve problems, one fast and one slow alert."""
    lines = [json.loads(line) for line in (FOLDER / "drain_loop.jsonl").read_text(encoding="utf-8").splitlines()]
    found = count(lines)
    assert (found.crashes, found.problems, found.by_cause) == (0, 12, {"drain": 12})
    assert [line["reason"] for line in lines if line["event"] == "health.warn"] == ["drain_loop", "flapping"]


def test_a_back_test_with_other_rules_differs_where_it_should() -> None:
    """Without the drain code the same exits would have been crashes."""
    lines = [json.loads(line) for line in (FOLDER / "drain_loop.jsonl").read_text(encoding="utf-8").splitlines()]
    found = replay(lines[0]["snapshot"], lines[1:], {"gbrain/worker": default_rules()})
    exits = [c.replayed[0][1]["cause"] for c in found if c.cause == "exited"]
    assert exits == ["crash"] * 12
