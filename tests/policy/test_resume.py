"""A new engine takes over in every phase: what was half done goes on, nothing is started twice."""

from __future__ import annotations

from typing import Any

import pytest

from midwatch.model.action import Kill, Precheck, Signal, Spawn, Watch
from midwatch.model.event import Permit, Resumed
from midwatch.model.service import Probe

PROBE = Probe(tcp="x:1")


def test_probes_are_asked_for_again(world: Any) -> None:
    w = world(health=PROBE).come_up()
    assert w.feed(Resumed(alive=True))[-1] == Watch("p.web.1", "health")
    w = world(ready=PROBE).come_up()
    deadline = w.state.wake_at
    assert w.feed(Resumed(alive=True))[-1] == Watch("p.web.1", "ready")
    assert w.state.wake_at == deadline


def test_without_probes_it_only_takes_note(world: Any) -> None:
    for rules in ({}, {"ready": PROBE}):
        w = world(**rules).come_up()
        w.feed(Resumed(alive=not rules))
        assert w.events()[-1] == "service.resumed"


def test_an_unknown_spawn_waits_for_its_outcome(world: Any) -> None:
    """`starting` without a pid: no second spawn; Spawned or Exited follows from the engine."""
    w = world()
    w.ask("start")
    w.feed(Permit())
    for alive in (True, False):
        w.feed(Resumed(alive=alive))
    assert len(w.done(Spawn)) == 1
    w.exit(status=None)
    assert w.field("run.exited", "cause") == ["lost"]
    assert w.state.phase == "starting"


def test_a_half_finished_stop_goes_on(world: Any) -> None:
    """The signal is sent again (it may never have been), the end of the grace stays where it was."""
    w = world().come_up()
    w.ask("stop")
    ends = w.state.wake_at
    w.t += 3
    w.feed(Resumed(alive=True))
    assert len(w.done(Signal)) == 2
    assert w.state.wake_at == ends
    w.tick()
    assert w.state.phase == "killing"


def test_a_stop_whose_run_is_gone_waits_for_the_exit(world: Any) -> None:
    w = world().come_up()
    w.ask("stop")
    w.feed(Resumed(alive=False))
    assert len(w.done(Signal)) == 1
    w.exit(status=None)
    w.tree_gone()
    assert w.state.phase == "stopped"


@pytest.mark.parametrize(("now", "polite"), [(False, 10.0), (True, 0.0)])
def test_a_kill_is_repeated(world: Any, now: bool, polite: float) -> None:
    """The kill of leftovers stays polite, that of an impatient stop does not."""
    w = world().come_up()
    if now:
        w.ask("stop", now=True)
    else:
        w.exit(1, strays=1)
    assert w.feed(Resumed(alive=False))[-1] == Kill("p.web.1", polite, 5.0)


def test_a_held_service_is_looked_at(world: Any) -> None:
    assert world().lives((78, 1.0)).feed(Resumed(alive=False))[-1] == Precheck()


def test_waiting_services_go_on_waiting(world: Any) -> None:
    w = world().lives((1, 1.0))
    assert w.feed(Resumed(alive=False)) == []
