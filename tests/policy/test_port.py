"""Somebody else holds the port: ORP-6, ORP-10 and scenarios 15, 16, 28 as decisions."""

from __future__ import annotations

from typing import Any

import pytest

from midwatch.model.action import Kill, Settle, Spawn, Watch
from midwatch.model.event import NewRules, Permit, PortBusy, Probed, Resumed
from midwatch.model.service import Probe

OWNER = "nginx (pid 7, root, 3 days old)"


def busy(w: Any, owner: str = OWNER) -> list[Any]:
    return w.feed(PortBusy(w.state.run, 8787, "stranger", owner, pid=7, do="kill 7"))  # type: ignore[no-any-return]


def conflict(w: Any, job: str = "go") -> Any:
    """A service that was asked to start and found its port taken."""
    w.ask("start", job)
    w.feed(Permit())
    busy(w)
    return w


def test_a_conflict_is_told_with_its_holder_and_what_to_do(world: Any) -> None:
    """ORP-6: the job fails with the owner and the command in words; nothing was spawned, no crash is counted."""
    w = conflict(world())
    assert (w.state.phase, w.state.pid, w.state.crash_count) == ("waiting", None, 0)
    assert w.state.last_cause == "port-conflict"
    words = f"port 8787 is held by {OWNER}: kill 7; next try in 5 s, no crash counted"
    assert w.done(Settle) == [Settle("go", False, words)]
    assert w.named("port.conflict") == [{
        "run_id": "p.web.1", "port": 8787, "owner": OWNER, "class": "stranger", "pid": 7, "do": "kill 7",
        "decision": words,
    }]  # fmt: skip
    assert not w.named("run.exited")


def test_a_conflict_waits_longer_and_longer_and_costs_nothing(world: Any) -> None:
    """ORP-10 as design 4 has it: 5 10 20 40 60 60 s for ever, said once, no budget spent, no number used up."""
    w = conflict(world())
    for _ in range(1000):
        w.tick()
        busy(w)
    assert [b["ms"] for b in w.named("backoff")[:6]] == [5000, 10_000, 20_000, 40_000, 60_000, 60_000]
    assert {b["reason"] for b in w.named("backoff")} == {"port-conflict"}
    assert len(w.named("port.conflict")) == 1
    assert (w.state.crash_count, w.state.windows, w.state.restarts) == (0, {}, {})
    assert {action.run for action in w.done(Spawn)} == {"p.web.1"}
    w.tick()
    w.spawned()
    w.exit(1)
    assert w.done(Spawn)[-1].run == "p.web.1"
    w.tick()
    assert w.done(Spawn)[-1].run == "p.web.2"


def test_another_holder_is_told_anew(world: Any) -> None:
    w = conflict(world())
    for owner in (OWNER, "python3 (pid 9)", "python3 (pid 9)", OWNER):
        w.tick()
        busy(w, owner)
    assert w.field("port.conflict", "owner") == [OWNER, "python3 (pid 9)", OWNER]


def test_a_run_that_lives_closes_the_conflict(world: Any) -> None:
    """G9: port.free once, when the run has lived longer than a start takes; a later conflict is a new one."""
    w = conflict(world())
    w.come_up()
    assert w.state.wake_at == w.t + 10.0
    w.tick()
    assert w.named("port.free") == [{"run_id": "p.web.1"}]
    assert w.state.episodes == {}
    w.exit(0)
    busy(w)
    assert len(w.named("port.conflict")) == 2
    assert w.named("backoff")[-1]["ms"] == 5000


def test_an_answered_ready_probe_closes_it_at_once(world: Any) -> None:
    """The run itself has answered: it has its port."""
    w = conflict(world(ready=Probe(tcp="x:1")))
    w.come_up()
    w.feed(Probed("p.web.1", "ready", True), 0.5)
    assert w.state.wake_at is not None
    assert w.state.wake_at <= w.t
    w.tick()
    assert len(w.named("port.free")) == 1


def test_an_early_end_beside_another_holder_is_a_conflict(world: Any) -> None:
    """The check came too early, or missed an address: the run says so by ending; waits like any conflict."""
    w = world().lives((1, 1.0)).come_up()
    w.exit(98, 0.4, port=8787, port_owner="node (pid 5)")
    assert w.named("run.exited")[-1]["cause"] == "port-conflict"
    assert (w.state.phase, w.state.crash_count, w.state.wake_at) == ("waiting", 1, w.t + 5.0)
    assert w.named("port.conflict")[0]["owner"] == "node (pid 5)"
    assert w.state.restarts == {"crash": 1, "port-conflict": 1}
    w.come_up()
    assert w.state.run == "p.web.3"
    w.exit(98, 0.4, strays=1, port_owner="node (pid 5)")
    assert w.done(Kill)
    w.tree_gone()
    assert (w.state.phase, w.named("backoff")[-1]["ms"]) == ("waiting", 10_000)
    assert "its port is held by node (pid 5); next try in 10 s" in w.state.decision
    w.come_up()
    w.exit(98, 10.5, port_owner="node (pid 5)")
    assert w.named("run.exited")[-1]["cause"] == "crash"


def test_stop_ends_the_waiting(world: Any) -> None:
    """B5: at once; the next start tells of a conflict again."""
    w = conflict(world())
    w.ask("stop", "s")
    assert (w.state.phase, w.jobs["s"], w.state.wake_at) == ("stopped", [True], None)
    conflict(w, "later")
    assert len(w.named("port.conflict")) == 2


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_start_and_restart_look_at_once(world: Any, verb: str) -> None:
    w = conflict(world())
    w.ask(verb, "again")
    w.feed(Permit())
    assert (w.state.phase, len(w.done(Spawn))) == ("starting", 2)
    busy(w)
    assert w.jobs["again"] == [False]


def test_reset_and_new_spawn_facts_look_at_once(world: Any) -> None:
    """Another port in the file is a new chance; without other facts the wait goes on."""
    w = conflict(world())
    w.ask("reset")
    assert w.state.phase == "starting"
    busy(w)
    w.feed(NewRules(w.rules, respawn=False))
    assert w.state.phase == "waiting"
    w.feed(NewRules(w.rules, respawn=True))
    assert w.state.phase == "starting"


def test_a_stop_that_came_before_the_answer(world: Any) -> None:
    """Asked to stop while the port was looked at: stopped, and a restart looks again."""
    w = world()
    w.ask("start", "go")
    w.feed(Permit())
    w.ask("stop", "s")
    busy(w)
    assert (w.state.phase, w.jobs["s"]) == ("stopped", [True])
    assert not w.named("port.conflict")
    w.ask("start")
    w.feed(Permit())
    w.ask("restart")
    busy(w)
    assert w.state.phase == "starting"


def test_what_cannot_be_is_ignored(world: Any) -> None:
    """The run exists: nobody says any more that nothing was started."""
    w = world(ready=Probe(tcp="x:1")).come_up()
    assert busy(w) == []
    w.ask("stop")
    assert busy(w) == []


def test_a_new_engine_goes_on_waiting(world: Any) -> None:
    """ORP-10: the wait survives our own restart."""
    w = conflict(world())
    assert w.feed(Resumed(alive=False)) == []
    assert w.state.phase == "waiting"
    assert not w.done(Watch)
