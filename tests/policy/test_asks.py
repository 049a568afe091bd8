"""Intents: the newest wins, each job is settled once, `want` is the operator's alone."""

from __future__ import annotations

from typing import Any

import pytest

from midwatch.model.action import Settle, Signal, Spawn
from midwatch.model.event import Ask, Permit, Probed
from midwatch.model.service import Probe


def test_start_waits_for_the_fleet_and_settles_when_up(world: Any) -> None:
    """start: pending, permitted, spawned, up; the job ends with the pid."""
    w = world()
    w.ask("start", "go")
    assert (w.state.phase, w.state.want) == ("pending", "up")
    assert not w.done(Spawn)
    w.feed(Permit())
    assert w.done(Spawn) == [Spawn("p.web.1")]
    w.spawned()
    assert w.done(Settle) == [Settle("go", True, "up, pid 101")]
    w.ask("start", "again")
    assert w.jobs["again"] == [True]


@pytest.mark.parametrize("spawning", [False, True])
def test_start_joins_a_start(world: Any, spawning: bool) -> None:
    """A second start takes over the job of the first one."""
    w = world()
    w.ask("start", "a")
    if spawning:
        w.feed(Permit())
    w.ask("start", "b")
    w.come_up()
    assert w.jobs == {"a": [False], "b": [True]}
    assert len(w.done(Spawn)) == 1


def test_restart_of_a_pending_service_joins_too(world: Any) -> None:
    w = world()
    w.ask("start", "a")
    w.ask("restart", "b")
    w.come_up()
    assert w.jobs == {"a": [False], "b": [True]}


def test_restart_stops_verifies_and_starts(world: Any) -> None:
    """restart: the whole ladder, then the next run without a new permit; want stays up."""
    w = world().come_up()
    w.ask("restart", "r")
    assert (w.state.phase, w.state.want) == ("stopping", "up")
    assert w.field("stop.begin", "reason") == ["restart"]
    w.exit(0)
    w.tree_gone()
    assert w.done(Spawn)[-1] == Spawn("p.web.2")
    w.spawned()
    assert w.jobs["r"] == [True]
    assert w.state.restarts == {"requested": 1}
    assert w.state.crash_count == 0


def test_restart_of_a_stopped_service_starts_it(world: Any) -> None:
    w = world()
    w.ask("restart", "r")
    assert w.state.phase == "pending"


def test_restart_during_a_wait_tries_now(world: Any) -> None:
    """The wait ends, the counters stay."""
    w = world().lives((1, 1.0))
    w.ask("restart", "r")
    assert w.state.phase == "pending"
    w.feed(Permit())
    assert w.state.phase == "starting"
    assert w.state.crash_count == 1


def test_start_during_a_stop_starts_after_it(world: Any) -> None:
    """Newest intent wins: no second copy, the start comes when the tree is gone, and asks the fleet."""
    w = world().come_up()
    w.ask("stop", "s")
    w.ask("start", "go")
    assert w.state.want == "up"
    w.exit(0)
    assert len(w.done(Spawn)) == 1
    w.tree_gone()
    assert w.state.phase == "pending"
    w.come_up()
    assert w.jobs == {"j0": [True], "s": [False], "go": [True]}


def test_start_stop_start_during_one_stop(world: Any) -> None:
    """Changing one's mind three times during the grace: the last word counts."""
    w = world().come_up()
    w.ask("stop", "a")
    w.ask("start", "b")
    w.ask("stop", "c")
    assert w.state.phase == "stopping"  # the first stop of this intent does not end the grace
    w.exit(0)
    w.tree_gone()
    assert w.state.phase == "stopped"
    assert w.jobs == {"j0": [True], "a": [False], "b": [False], "c": [True]}


def test_restart_during_a_stop(world: Any) -> None:
    """The stop goes on, then it starts at once; a start asked meanwhile changes nothing but the job."""
    w = world().come_up()
    w.ask("stop", "s")
    w.ask("restart", "r")
    w.ask("start", "go")
    w.exit(0)
    w.tree_gone()
    assert w.state.phase == "starting"
    w.spawned()
    assert w.jobs["go"] == [True]
    assert w.jobs["r"] == [False]


def test_stop_during_a_restart(world: Any) -> None:
    """The restart becomes a stop; its grace goes on."""
    w = world().come_up()
    w.ask("restart", "r")
    w.ask("stop", "s")
    assert w.state.phase == "stopping"
    assert len(w.done(Signal)) == 1
    w.exit(0)
    w.tree_gone()
    assert w.state.phase == "stopped"


def test_start_while_an_unhealthy_run_is_replaced(world: Any) -> None:
    """It starts again anyway: the plan stays."""
    w = world(health=Probe(tcp="x:1", failures=1)).come_up()
    w.feed(Probed("p.web.1", "health", False, "refused"))
    w.ask("start", "go")
    w.exit(signal=15)
    w.tree_gone()
    w.spawned()
    assert w.jobs["go"] == [True]


def test_a_start_after_giving_up_is_a_new_chance(world: Any) -> None:
    """After gave_up a start counts from zero."""
    w = world(budgets={"crash_hard": 2}).lives((1, 1.0), (1, 1.0))
    assert w.state.phase == "gave_up"
    w.lives((1, 1.0))
    assert (w.state.phase, w.state.crash_count) == ("backoff", 1)


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_start_from_the_end_of_a_oneshot(world: Any, verb: str) -> None:
    w = world(oneshot=True).lives((0, 1.0))
    assert w.state.phase == "done"
    w.ask(verb, "again")
    w.come_up()
    assert w.jobs["again"] == [True]


@pytest.mark.parametrize("history", [[(1, 1.0)], [(1, 1.0)] * 12, [(78, 1.0)]])
def test_reset_clears_and_tries_at_once(world: Any, history: list[tuple[int, float]]) -> None:
    """reset in backoff, degraded and held: no counters, no episodes, the next run now."""
    w = world().lives(*history)
    w.ask("reset", "r")
    assert w.state.phase == "starting"
    assert (w.state.crash_count, w.state.windows, w.state.episodes) == (0, {}, {})
    assert w.jobs["r"] == [True]


def test_reset_after_giving_up(world: Any) -> None:
    w = world(budgets={"crash_hard": 1}).lives((1, 1.0))
    w.ask("reset")
    assert w.state.phase == "starting"


def test_reset_of_a_running_service_only_clears(world: Any) -> None:
    """The run goes on; a pending episode needs no closing timer any more."""
    w = world().lives(*[(0, 0.1)] * 12).come_up()
    assert w.state.wake_at is not None
    w.ask("reset", "r")
    assert (w.state.phase, w.state.wake_at, w.state.episodes) == ("up", None, {})
    assert w.jobs["r"] == [True]


def test_reset_of_a_starting_service_keeps_its_deadline(world: Any) -> None:
    w = world(ready=Probe(tcp="x:1", within=20.0)).come_up()
    w.ask("reset", after=5.0)
    assert w.state.wake_at == w.state.spawned_at + 20.0
    early = world()
    early.ask("start")
    early.feed(Permit())
    early.ask("reset")
    assert early.state.wake_at is None


def test_reset_of_a_stopped_service(world: Any) -> None:
    w = world()
    w.ask("reset", "r")
    assert w.state.phase == "stopped"
    assert w.jobs["r"] == [True]


def test_an_intent_without_a_job(world: Any) -> None:
    """The daemon's own stop has no job: nothing is settled for it, an older job still is."""
    w = world()
    w.ask("start", "go")
    w.feed(Ask("stop", "", "the daemon"))
    assert w.jobs == {"go": [False]}
    assert w.done(Settle)[-1].message == "superseded by a newer intent"


def test_the_same_job_told_twice_is_not_superseded_by_itself(world: Any) -> None:
    """A client that repeats its request keeps its job."""
    w = world()
    w.ask("start", "go")
    w.ask("start", "go")
    w.come_up()
    assert w.jobs == {"go": [True]}
