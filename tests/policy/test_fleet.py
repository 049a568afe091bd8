"""Dependencies: who may start when, in which order things stop, and cycles with their path."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.plain import default_rules

from midwatch.model.identity import Now
from midwatch.model.service import Need
from midwatch.model.state import Phase, ServiceState
from midwatch.policy.fleet import Fleet, FleetError, needs_problem
from midwatch.policy.step import initial

RULES = default_rules()
CHAIN: dict[str, dict[str, Need]] = {
    "web": {"api": "ready"}, "api": {"db": "ready", "migrate": "completed"}, "migrate": {"db": "started"}, "db": {},
}  # fmt: skip


def at(name: str, phase: Phase, pid: int | None = None) -> ServiceState:
    return replace(initial(name, RULES, Now(0, 0, "b")), phase=phase, pid=pid)


def test_a_service_without_needs_is_permitted_when_pending() -> None:
    """Once for each time that it is pending."""
    fleet = Fleet({"a": {}})
    assert fleet.observe(at("a", "pending")) == ("a",)
    assert fleet.observe(at("a", "pending")) == ()
    assert fleet.observe(at("a", "starting")) == ()
    assert fleet.observe(at("a", "stopped")) == ()
    assert fleet.observe(at("a", "pending")) == ("a",)


def test_needs_are_met_in_order() -> None:
    """started, ready and completed each wait for the right moment."""
    fleet = Fleet(CHAIN)
    permits = [fleet.observe(at(name, "pending")) for name in CHAIN]
    assert permits == [(), (), (), ("db",)]
    assert fleet.observe(at("db", "starting")) == ()  # asked to spawn: not started yet
    assert fleet.observe(at("db", "starting", 7)) == ("migrate",)
    assert fleet.observe(at("db", "up", 7)) == ()
    assert fleet.missing("api") == ("migrate has to be completed (it is pending)",)
    fleet.observe(at("migrate", "up", 8))
    assert fleet.observe(at("migrate", "done")) == ("api",)
    fleet.observe(at("api", "starting", 9))
    assert fleet.observe(at("api", "up", 9)) == ("web",)


def test_a_schedule_is_complete_when_its_last_run_was() -> None:
    """`completed` of a nightly import: satisfied between its runs, unless the last one failed or none was."""
    fleet = Fleet({"report": {"import": "completed"}, "import": {}})
    fleet.observe(at("report", "pending"))
    assert fleet.observe(at("import", "scheduled")) == ()
    fleet.observe(at("import", "up", 7))
    assert fleet.observe(replace(at("import", "scheduled"), last_cause="crash")) == ()
    fleet.observe(at("import", "up", 8))
    assert fleet.observe(replace(at("import", "scheduled"), last_cause="clean")) == ("report",)


def test_missing_needs_are_said_in_words() -> None:
    fleet = Fleet(CHAIN)
    assert fleet.missing("web") == ("api has to be ready (it is unknown)",)
    assert fleet.missing("nobody") == ()


def test_unknown_services_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(FleetError, match=r"web needs p/dv, which does not exist; did you mean p/db\?"):
        Fleet({"web": {"p/dv": "ready"}, "p/db": {}})
    problem = needs_problem({"web": {"quite-different": "ready"}})
    assert problem is not None
    assert "did you mean" not in str(problem)


RING = {"a": {"b": "ready"}, "b": {"c": "ready"}, "c": {"a": "ready"}}


@pytest.mark.parametrize("needs", [{"a": {"a": "ready"}}, RING])
def test_a_cycle_is_an_error_with_its_path(needs: Any) -> None:
    """The path follows the needs and ends where it began."""
    problem = needs_problem(needs)
    assert problem is not None
    path = problem.path
    assert path[0] == path[-1]
    assert all(there in needs[here] for here, there in pairwise(path))
    assert " -> ".join(path) in str(problem)


def test_a_refused_change_keeps_the_old_needs() -> None:
    fleet = Fleet(CHAIN)
    with pytest.raises(FleetError):
        fleet.replace({"a": {"a": "ready"}})
    assert fleet.start_waves() == [("db",), ("migrate",), ("api",), ("web",)]


def test_orders() -> None:
    """Start: needs first. Stop: dependents first. A part keeps its order."""
    fleet = Fleet(CHAIN)
    assert fleet.stop_waves() == [("web",), ("api",), ("migrate",), ("db",)]
    assert fleet.start_waves(["web", "db", "nobody"]) == [("db",), ("web",)]
    assert fleet.stop_waves(["web", "db"]) == [("web",), ("db",)]
    assert fleet.closure(["api"]) == ("db", "migrate", "api")
    assert fleet.closure(["api", "web", "nobody"]) == ("db", "migrate", "api", "web")


def test_a_need_that_goes_away_lets_it_start() -> None:
    """After a reload `review` says who may start now; services that left are forgotten."""
    fleet = Fleet(CHAIN)
    fleet.observe(at("web", "pending"))
    fleet.observe(at("db", "pending"))
    fleet.replace({"web": {}, "db": {}})
    assert fleet.review() == ("web",)
    fleet.replace({"db": {}})
    assert fleet.review() == ()


def test_a_change_costs_its_dependents_only() -> None:
    """One of 500 services changes: only those that need it are looked at."""
    needs: dict[str, dict[str, Need]] = {f"s{i}": {} for i in range(499)}
    fleet = Fleet({**needs, "last": {"s0": "ready"}})
    looked: list[str] = []
    fleet.missing = lambda name: looked.append(name) or ()  # type: ignore[method-assign, func-returns-value, assignment]
    for name in (*needs, "last"):
        fleet.observe(at(name, "pending"))
    looked.clear()
    fleet.observe(at("s0", "up", 1))
    fleet.observe(at("s1", "up", 1))
    assert looked == []  # "last" was permitted before, nobody else depends on them


@given(st.dictionaries(st.integers(0, 12), st.sets(st.integers(0, 12)), max_size=13))
def test_any_needs_give_an_order_or_a_path(graph: dict[int, set[int]]) -> None:
    """Whatever the needs: a cycle with a true path, or waves in which each service comes after its needs."""
    needs: dict[str, dict[str, Need]] = {
        str(a): {str(b): "ready" for b in others if b in graph} for a, others in graph.items()
    }
    problem = needs_problem(needs)
    if problem is not None:
        assert problem.path[0] == problem.path[-1]
        assert all(b in needs[a] for a, b in pairwise(problem.path))
        return
    order = [name for wave in Fleet(needs).start_waves() for name in wave]
    assert sorted(order) == sorted(needs)
    assert all(order.index(b) < order.index(a) for a, others in needs.items() for b in others)
    assert [n for wave in Fleet(needs).stop_waves() for n in wave] != order or len(order) < 2 or not any(needs.values())
