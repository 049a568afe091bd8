"""The timer ladder, checked at load."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.plain import default_rules

from midwatch.model.service import Probe
from midwatch.policy.ladder import ladder_problems


def test_the_defaults_are_in_order() -> None:
    rules = replace(default_rules(), ready=Probe(tcp="x:1"), health=Probe(tcp="x:1", every=30.0, timeout=10.0))
    assert ladder_problems(rules) == []


def test_the_outer_managers_patience_must_exceed_the_ladder() -> None:
    """grace + verify + margin has to end before the outer manager kills: 17 s against 10 s and 90 s."""
    (problem,) = ladder_problems(default_rules(), 10.0)
    assert "may take 17 s" in problem
    assert "kills after 10 s" in problem
    assert ladder_problems(default_rules(), 17.0)
    assert not ladder_problems(default_rules(), 90.0)


@pytest.mark.parametrize(("stop", "word"), [
    ({"grace": -1.0}, "stop.grace"), ({"grace": float("nan")}, "stop.grace"), ({"verify": float("inf")}, "stop.verify"),
    ({"verify": 0.0}, "stop.verify is 0"),
])  # fmt: skip
def test_impossible_stops_are_refused(stop: dict[str, Any], word: str) -> None:
    rules = default_rules()
    assert any(word in p for p in ladder_problems(replace(rules, stop=replace(rules.stop, **stop))))


@pytest.mark.parametrize(("probe", "word"), [
    ({"within": 0.0}, "ready.within"), ({"every": float("inf")}, "ready.every"), ({"timeout": -1.0}, "ready.timeout"),
    ({"timeout": 30.0}, "no probe could end"), ({"failures": 0}, "at least 1"),
])  # fmt: skip
def test_impossible_probes_are_refused(probe: dict[str, Any], word: str) -> None:
    problems = ladder_problems(replace(default_rules(), ready=Probe(tcp="x:1", **probe)))
    assert any(word in p for p in problems)
    health = ladder_problems(replace(default_rules(), health=Probe(tcp="x:1", timeout=30.0)))
    assert health == []
