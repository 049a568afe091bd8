"""Reload: rules apply live, only changed spawn facts replace a run."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from midwatch.model.action import Precheck, Settle, Spawn, Watch
from midwatch.model.event import NewRules, Permit
from midwatch.model.service import Probe, Rules

PROBE = Probe(tcp="x:1")


def reload(w: Any, respawn: bool = False, job: str = "apply", **changes: Any) -> list[Any]:
    rules: Rules = replace(w.state.rules, **changes)
    return w.feed(NewRules(rules, respawn, job))  # type: ignore[no-any-return]


def test_rules_apply_live(world: Any) -> None:
    """Other rules without other spawn facts: the run goes on, the job is done at once."""
    w = world().come_up()
    reload(w, on_clean="stop")
    assert w.state.phase == "up"
    assert w.jobs["apply"] == [True]
    w.exit(0)
    assert w.state.phase == "done"


def test_changed_spawn_facts_replace_the_run(world: Any) -> None:
    """The whole ladder by the old rules' probes, then a new run; the job ends when it is up."""
    w = world(health=PROBE).come_up()
    reload(w, respawn=True, health=None)
    assert w.field("stop.begin", "reason") == ["reload"]
    assert w.done(Watch)[-1] == Watch("p.web.1", None)
    w.exit(signal=15)
    w.tree_gone()
    assert w.jobs["apply"] == []
    w.spawned()
    assert w.jobs["apply"] == [True]


def test_a_run_whose_pid_is_unknown_is_replaced_too(world: Any) -> None:
    """It may have been made from the old facts."""
    w = world()
    w.ask("start", "go")
    w.feed(Permit())
    reload(w, respawn=True)
    assert w.state.phase == "stopping"
    w.spawned()
    w.exit(0)
    w.tree_gone()
    w.spawned()
    assert w.jobs == {"go": [False], "apply": [True]}


def test_new_probes_are_used_at_once(world: Any) -> None:
    """A changed health probe starts afresh, a removed one stops; an unchanged one is left alone."""
    w = world(backlog="off").come_up()
    reload(w, job="a", health=PROBE)
    reload(w, job="b")
    reload(w, job="c", health=None)
    assert w.done(Watch) == [Watch("p.web.1", "health"), Watch("p.web.1", None)]


def test_a_changed_ready_probe_counts_from_the_spawn(world: Any) -> None:
    """Another deadline holds for the start that is under way; without a ready probe it is up."""
    w = world(ready=PROBE).come_up()
    reload(w, job="a", ready=replace(PROBE, within=99.0))
    assert w.state.wake_at == w.state.spawned_at + 99.0
    reload(w, job="b", on_clean="stop")
    assert w.state.phase == "starting"
    reload(w, job="c", ready=None)
    assert w.state.phase == "up"


@pytest.mark.parametrize("history", [[(1, 1.0)], [(1, 1.0)] * 12, [(78, 1.0)]])
def test_changed_spawn_facts_are_a_new_chance(world: Any, history: list[tuple[int, float]]) -> None:
    """In backoff, degraded and held the next try comes now."""
    w = world().lives(*history)
    reload(w, respawn=True)
    assert w.state.phase == "starting"
    w.spawned()
    assert w.jobs["apply"] == [True]


def test_after_giving_up_too(world: Any) -> None:
    """A service that gave up starts with an empty count."""
    w = world(budgets={"crash_hard": 1}).lives((1, 1.0))
    reload(w, respawn=True)
    assert (w.state.phase, w.state.crash_count) == ("starting", 0)


def test_a_reload_rechecks_what_is_held(world: Any) -> None:
    """Other rules alone do not start it, but it is looked at now."""
    w = world().lives((78, 1.0))
    assert Precheck() in reload(w)
    assert w.state.phase == "held"
    backing_off = world().lives((1, 1.0))
    assert Precheck() not in reload(backing_off)


def test_what_does_not_run_only_takes_note(world: Any) -> None:
    w = world()
    reload(w, respawn=True)
    assert (w.state.phase, w.jobs["apply"], w.done(Spawn)) == ("stopped", [True], [])


def test_a_reload_during_a_stop(world: Any) -> None:
    """A stop goes on; the run of a restart under way is made from the new facts and settles the reload."""
    w = world().come_up()
    w.ask("stop", "s")
    reload(w, respawn=True, job="a")
    assert w.jobs["a"] == [True]
    w.ask("restart", "r")
    reload(w, respawn=True, job="b")
    w.exit(0)
    w.tree_gone()
    w.spawned()
    assert w.jobs["b"] == [True]
    assert w.jobs["r"] == [False]


def test_a_reload_without_a_job(world: Any) -> None:
    w = world().come_up()
    settled = len(w.done(Settle))
    reload(w, job="")
    assert len(w.done(Settle)) == settled
