"""The stop ladder: D2, D3, D6, D7, D10, B5 as far as they are decisions, and stops that meet every phase."""

from __future__ import annotations

from typing import Any

import pytest

from midwatch.model.action import Kill, Settle, Signal, Spawn, Watch
from midwatch.model.event import Exited, Permit, SpawnFailed
from midwatch.model.exit import ExitFacts
from midwatch.model.service import Probe


def test_the_ladder_is_term_grace_kill(world: Any) -> None:
    """D3: TERM, 10 s, KILL, verified; the exit is recorded as requested and the job settled last."""
    w = world().come_up()
    w.ask("stop", "stop")
    assert w.done(Signal) == [Signal("p.web.1", 15)]
    assert w.state.wake_at == w.t + 10.0
    w.tick()
    assert w.done(Kill) == [Kill("p.web.1", 0.0, 5.0)]
    assert w.field("stop.kill", "reason") == ["it did not leave within 10 s"]
    w.exit(signal=9, after=0.1)
    w.tree_gone(ended=1)
    assert w.field("run.exited", "cause") == ["requested"]
    assert w.named("stop.done")[0] | {"duration_ms": 0} == {
        "run_id": "p.web.1", "verified_by": "cgroup", "ended": 1, "duration_ms": 0, "reason": "requested",
    }  # fmt: skip
    assert w.actions[-1] == Settle("stop", True, "stopped, verified by cgroup")
    assert (w.state.phase, w.state.want, w.state.pid) == ("stopped", "down", None)


def test_a_quick_exit_is_verified_at_once(world: Any) -> None:
    """D2: the child leaves 50 ms after TERM: the kill that verifies follows at once, with the rest of the grace."""
    w = world().come_up()
    w.ask("stop")
    w.exit(signal=15, after=0.05)
    assert w.state.phase == "killing"
    assert w.done(Kill)[0].polite == pytest.approx(9.95)
    assert not w.named("stop.kill")


def test_order_of_the_record(world: Any) -> None:
    """D6: stop.begin, run.exited, stop.done in this order."""
    w = world().come_up()
    w.ask("stop")
    w.exit(0)
    w.tree_gone()
    names = [n for n in w.events() if n in ("stop.begin", "stop.signal", "run.exited", "stop.done")]
    assert names == ["stop.begin", "stop.signal", "run.exited", "stop.done"]


def test_the_tree_may_be_gone_before_the_exit_is_told(world: Any) -> None:
    """The kill's answer may overtake the keeper's report: both are waited for, nothing is lost."""
    w = world().come_up()
    w.ask("stop", now=True)
    w.tree_gone(ended=2)
    assert w.state.phase == "killing"
    assert w.named("run.tree_gone")
    w.exit(signal=9)
    assert w.state.phase == "stopped"
    assert w.field("stop.done", "verified_by") == ["cgroup"]


def test_an_exit_that_nobody_reports_ends_the_ladder_as_lost_knowledge(world: Any) -> None:
    """The ladder always ends: without a report within `verify`, the stop is done and the status unknown."""
    w = world().come_up()
    w.ask("stop", now=True)
    w.tree_gone()
    w.tick()
    assert w.state.phase == "stopped"
    assert w.named("run.exited")[0]["status"] is None


def test_a_second_stop_ends_the_grace(world: Any) -> None:
    """D7: two stops and one more during the grace: one stop.begin, one kill, one stop.done; jobs are settled once."""
    w = world().come_up()
    w.ask("stop", "a")
    w.ask("stop", "b", after=1.0)
    assert w.state.phase == "killing"
    w.ask("stop", "c", after=0.1)
    w.exit(signal=9)
    w.tree_gone()
    assert [len(w.named(n)) for n in ("stop.begin", "stop.kill", "stop.done")] == [1, 1, 1]
    assert w.jobs == {"j0": [True], "a": [False], "b": [False], "c": [True]}
    assert w.done(Settle)[1].message == "superseded by b"


def test_stop_now_skips_the_grace(world: Any) -> None:
    """`stop --now` kills at once and announces no grace."""
    w = world().come_up()
    w.ask("stop", now=True)
    assert w.state.phase == "killing"
    assert w.named("stop.begin")[0]["grace_ms"] == 0
    assert not w.done(Signal)


def test_a_signal_the_terminal_has_delivered_is_not_repeated(world: Any) -> None:
    """Ctrl-C reached the whole group already: the grace runs, no second signal."""
    w = world().come_up()
    w.ask("stop", signalled=True)
    assert w.state.phase == "stopping"
    assert not w.done(Signal)


@pytest.mark.parametrize("phase", ["backoff", "degraded", "held", "gave_up", "done", "pending"])
def test_stop_without_a_run_ends_at_once(world: Any, phase: str) -> None:
    """B5, D10: a stop while nothing runs is done in the same step, and no spawn follows."""
    w = _in_phase(world, phase)
    spawns = len(w.done(Spawn))
    w.ask("stop", "s")
    assert (w.state.phase, w.state.want, w.state.wake_at) == ("stopped", "down", None)
    assert w.jobs["s"] == [True]
    assert w.events()[-2:] == ["stop.begin", "stop.done"]
    assert len(w.done(Spawn)) == spawns


def _in_phase(world: Any, phase: str) -> Any:
    if phase == "degraded":
        return world(budgets={"crash": 1}).lives((1, 1.0))
    if phase == "gave_up":
        return world(budgets={"crash_hard": 1}).lives((1, 1.0))
    if phase == "held":
        return world().lives((78, 1.0))
    if phase == "done":
        return world(oneshot=True).lives((0, 1.0))
    if phase == "pending":
        w = world()
        w.ask("start")
        return w
    return world().lives((1, 1.0))


def test_stop_of_a_stopped_service(world: Any) -> None:
    """Nothing to do is a success."""
    w = world()
    w.ask("stop", "s")
    assert w.jobs["s"] == [True]
    assert w.state.phase == "stopped"


def test_stop_before_the_pid_is_known(world: Any) -> None:
    """The spawn is under way: the ladder begins when its pid is told."""
    w = world()
    w.ask("start", "go")
    w.feed(Permit())
    w.ask("stop", "s")
    assert (w.state.phase, w.state.wake_at) == ("stopping", None)
    assert not w.done(Signal)
    w.spawned()
    assert w.done(Signal)
    assert w.state.wake_at is not None
    w.exit(0)
    w.tree_gone()
    assert w.jobs == {"go": [False], "s": [True]}


def test_stop_now_before_the_pid_is_known(world: Any) -> None:
    """The second stop before the pid is known: killed as soon as it is."""
    w = world()
    w.ask("start")
    w.feed(Permit())
    w.ask("stop")
    w.ask("stop")
    assert w.state.phase == "stopping"
    w.spawned()
    assert w.state.phase == "killing"


def test_a_spawn_that_fails_during_a_stop(world: Any) -> None:
    """Nothing to stop: done, and the failed spawn is on record."""
    w = world()
    w.ask("start")
    w.feed(Permit())
    w.ask("stop", "s")
    w.feed(SpawnFailed("p.web.1", "EAGAIN", "fork", "no more processes", lasting=False))
    assert w.state.phase == "stopped"
    assert w.field("stop.done", "verified_by") == ["nothing started"]


def test_an_exit_before_the_pid_is_told(world: Any) -> None:
    """The run ended while its spawn was not confirmed: recorded, verified, done."""
    w = world()
    w.ask("start")
    w.feed(Permit())
    w.ask("stop")
    w.exit(0)
    assert w.done(Kill)[0].polite == 10.0
    w.tree_gone()
    assert w.state.phase == "stopped"


def test_leftovers_that_cannot_be_ended_are_not_called_stopped(world: Any) -> None:
    """The job fails and says how many are left; tried again every minute, said once, and it ends when they are gone."""
    w = world().come_up()
    w.ask("stop", "s")
    w.exit(0)
    w.tree_gone(left=3)
    assert w.jobs["s"] == [False]
    assert "3 process(es)" in w.state.decision
    for _ in range(3):
        w.tick()
        w.tree_gone(left=3)
    assert w.state.phase == "killing"
    assert len(w.named("run.leftovers")) == 1
    assert len(w.done(Kill)) == 4
    w.tick()
    w.tree_gone(left=0)
    assert w.state.phase == "stopped"


def test_not_provable_is_said(world: Any) -> None:
    """Where only a marker is left, "stopped" says that it cannot be proven."""
    w = world().come_up()
    w.ask("stop", "s")
    w.exit(0)
    w.tree_gone(verified_by="not provable")
    assert "cannot be proven" in w.done(Settle)[-1].message


def test_probes_end_with_the_stop(world: Any) -> None:
    """No probe of a run that is going to end, neither ready nor health."""
    health = world(health=Probe(tcp="x:1")).come_up()
    health.ask("stop")
    assert health.done(Watch) == [Watch("p.web.1", "health"), Watch("p.web.1", None)]
    ready = world(ready=Probe(tcp="x:1")).come_up()
    ready.ask("stop")
    assert ready.done(Watch) == [Watch("p.web.1", "ready"), Watch("p.web.1", None)]


def test_leftovers_of_a_crash_are_ended_before_the_next_try(world: Any) -> None:
    """A crash leaves children behind: they are ended politely, then the planned delay runs."""
    w = world().come_up()
    w.exit(1, strays=2)
    assert (w.state.phase, w.state.crash_count) == ("killing", 1)
    assert w.done(Kill) == [Kill("p.web.1", 10.0, 5.0)]
    w.tree_gone(ended=2)
    assert w.state.phase == "backoff"
    assert w.field("run.tree_gone", "ended") == [2]
    assert w.events()[-1] == "backoff"


def test_unknown_strays_are_looked_for(world: Any) -> None:
    """When the engine cannot tell cheaply (-1), the tree is verified too."""
    w = world().come_up()
    w.exit(0, strays=-1)
    assert w.state.phase == "killing"
    w.tree_gone()
    assert w.state.phase == "starting"


def test_stop_while_leftovers_of_a_crash_are_ended(world: Any) -> None:
    """The plan is dropped; the stop is announced and done when the tree is gone; a second one hurries."""
    w = world().come_up()
    w.exit(1, strays=1)
    w.ask("stop", "s")
    assert w.state.phase == "killing"
    assert len(w.done(Kill)) == 1
    w.ask("stop", "s2")
    assert w.done(Kill)[-1].polite == 0.0
    w.tree_gone()
    assert w.state.phase == "stopped"
    assert w.field("stop.done", "reason") == ["requested"]
    assert w.jobs["s2"] == [True]


def test_an_exit_told_twice_is_recorded_once(world: Any) -> None:
    """A new engine may be told again: one run.exited."""
    w = world().come_up()
    w.ask("stop")
    facts = ExitFacts(0, 1.0)
    w.feed(Exited("p.web.1", facts))
    w.feed(Exited("p.web.1", facts))
    w.tree_gone()
    w.feed(Exited("p.web.1", facts))
    assert len(w.named("run.exited")) == 1
