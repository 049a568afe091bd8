"""Launchers on the fake machine: who leaves a process behind that serves, and what becomes of both."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.engine.conftest import Stagehand, a_spec

from midwatch.policy import defaults

PORT = 8787


@pytest.fixture(params=["bare", "stage"])
def both(request: pytest.FixtureRequest) -> Stagehand:
    """With and without cgroups: escaped children are found by marker or by cgroup."""
    found: Stagehand = request.getfixturevalue(request.param)
    return found


def a_launcher(**facts: Any) -> Any:
    return a_spec(launch={"port": PORT}, **facts)


def hands_over(stage: Stagehand, code: int = 0, port: int = PORT, **facts: Any) -> int:
    """The main process leaves a serving child and exits."""
    main = stage.pid()
    heir: int = stage.do(lambda: stage.machine.hand_over(main, port, code, **facts)).pid
    return heir


def test_14_the_child_that_serves_is_followed_as_the_run(both: Stagehand) -> None:
    """Scenario 14: told within a second with its pid, no second copy; kept on record, stopped as any run."""
    both.apply(a_launcher())
    launcher = both.pid()
    heir = hands_over(both)
    both.pass_time(0.2)
    [line] = both.events("run.daemonised")
    assert (line["pid"], line["launcher_pid"], line["action"]) == (heir, launcher, "followed")
    assert (both.phase(), both.pid(), both.service().state.run) == ("up", heir, "p.a.1")
    assert both.keeper.ops("follow") == ["p.a.1"]
    record = json.loads((both.layout.runs / "p.a.1.json").read_text())
    assert (record["pid"], record["since"] > 0) == (heir, True)
    both.pass_time(30)
    assert (both.keeper.ops("spawn"), both.events("run.exited")) == (both.keeper.ops("spawn")[:2], [])
    both.ask("stop", "a")
    both.pass_time(1)
    assert (both.phase(), both.dead(heir)) == ("stopped", True)


def test_its_end_is_the_end_of_the_run(both: Stagehand) -> None:
    """The heir's own code is judged, and a new launcher is started."""
    both.apply(a_launcher())
    heir = hands_over(both)
    both.pass_time(40)
    both.do(lambda: both.machine.exit(heir, 3))
    [line] = both.events("run.exited")
    assert (line["pid"], line["code"], line["cause"]) == (heir, 3, "crash")
    both.pass_time(2)
    assert (both.phase(), both.service().state.run) == ("up", "p.a.2")


def test_a_child_that_listens_late_is_waited_for(both: Stagehand) -> None:
    """The launcher leaves at once, its child imports for some seconds."""
    both.apply(a_launcher())
    child = both.do(lambda: both.machine.fork(both.pid(), new_session=True))
    both.exits(code=0)
    both.pass_time(4)
    assert both.events("run.exited", "run.daemonised") == []
    both.do(lambda: both.machine.listen(child.pid, PORT))
    both.pass_time(0.2)
    assert both.pid() == child.pid


def test_a_child_that_never_listens_is_a_left_over(both: Stagehand) -> None:
    """Bounded: after that the exit is judged as any other, and the rest is ended before a new run."""
    both.apply(a_launcher())
    child = both.do(lambda: both.machine.fork(both.pid(), new_session=True))
    both.exits(code=0)
    both.pass_time(defaults.HEIR_START - 1)
    assert both.events("run.exited") == []
    both.pass_time(2)
    assert both.events("run.exited")[0]["cause"] == "clean"
    assert both.dead(child.pid)
    assert (both.phase(), both.service().state.run) == ("up", "p.a.2")


def test_after_a_long_life_a_second_is_enough(both: Stagehand) -> None:
    """What has served for an hour and leaves a helper is no launcher."""
    both.apply(a_launcher())
    both.machine.listen(both.pid(), PORT)
    both.pass_time(3600)
    child = both.do(lambda: both.machine.fork(both.pid()))
    both.exits(code=0)
    both.pass_time(defaults.HEIR_WAIT + 0.2)
    assert both.dead(child.pid)
    assert both.service().state.run == "p.a.2"


def test_without_a_port_any_listening_child_is_the_heir(both: Stagehand) -> None:
    """No port is configured: whoever listens."""
    both.apply(a_spec())
    heir = hands_over(both, port=9999)
    both.pass_time(0.3)
    assert both.pid() == heir
    assert both.events("run.daemonised")[0]["port"] == 9999


def test_of_a_server_and_its_workers_the_server_is_followed(both: Stagehand) -> None:
    """Pre-forked workers hold the same socket; the oldest ancestor among them is the run."""
    both.apply(a_launcher())
    main, machine = both.pid(), both.machine

    def leave() -> tuple[int, int]:
        helper = machine.fork(main, new_session=True).pid
        server = machine.fork(main, new_session=True).pid
        machine.listen(server, PORT)
        worker = machine.fork(server).pid
        machine.procs[worker].ports.add(PORT)
        machine.procs[worker].queues[PORT] = machine.procs[server].queues[PORT]
        machine.exit(main, 0)
        return helper, server

    helper, server = both.do(leave)
    both.pass_time(0.3)
    assert both.pid() == server
    both.ask("stop", "a")
    both.pass_time(1)
    assert (both.phase(), both.dead(helper), both.dead(server)) == ("stopped", True, True), "the older one too"


def test_refused_it_is_ended_and_held_with_the_fix(both: Stagehand) -> None:
    """launcher = "refuse": named, ended, held; not started again by itself."""
    both.apply(a_launcher(launcher="refuse"))
    heir = hands_over(both)
    both.pass_time(20)
    assert (both.phase(), both.dead(heir)) == ("held", True)
    assert both.events("run.daemonised")[0]["action"] == "refused"
    assert "foreground" in both.service().state.decision
    both.pass_time(300)
    assert both.service().state.run == "p.a.1"


def test_a_launcher_that_fails_has_failed(both: Stagehand) -> None:
    """A code other than 0: no heir is looked for; what it left is ended."""
    both.apply(a_launcher())
    heir = hands_over(both, code=1)
    assert both.events("run.daemonised") == []
    assert (both.events("run.exited")[0]["cause"], both.dead(heir)) == ("crash", True)


def test_a_oneshot_is_done_when_it_leaves(both: Stagehand) -> None:
    """Exit 0 of a oneshot means done: nobody is followed, what it left is ended."""
    both.apply(a_launcher(oneshot=True))
    heir = hands_over(both)
    both.pass_time(1)
    assert (both.phase(), both.dead(heir), both.events("run.daemonised")) == ("done", True, [])


def test_a_stop_during_the_look_wins(both: Stagehand) -> None:
    """A person stops it while we wait for the child to listen: stopped, nothing is left, nothing is followed."""
    both.apply(a_launcher())
    child = both.do(lambda: both.machine.fork(both.pid(), new_session=True))
    both.exits(code=0)
    job = both.ask("stop", "a")
    both.pass_time(15)
    assert (both.phase(), both.dead(child.pid), both.job(job)["state"]) == ("stopped", True, "done")
    assert both.events("run.daemonised") == []


def test_an_heir_that_is_gone_when_it_is_followed(both: Stagehand) -> None:
    """It went in the same moment: the keeper does not find it, the run ends as lost and is started again."""
    both.apply(a_launcher())
    follow = both.keeper._follow
    both.keeper._follow = lambda frame: {"errno": "ESRCH", "error": "gone"}  # type: ignore[method-assign]
    heir = hands_over(both)
    both.pass_time(1)
    both.keeper._follow = follow  # type: ignore[method-assign]
    assert both.events("run.exited")[0]["cause"] == "lost"
    both.do(lambda: None if both.dead(heir) else both.machine.exit(heir))
    both.pass_time(80)
    assert (both.phase(), both.service().state.run) == ("up", "p.a.2")


def test_a_new_engine_goes_on_with_the_heir(both: Stagehand) -> None:
    """The engine dies: the record and the keeper speak of the heir."""
    both.apply(a_launcher())
    heir = hands_over(both)
    both.pass_time(1)
    both.engine_dies()
    both.boot()
    assert (both.phase(), both.pid()) == ("up", heir)
    assert both.service().run is not None
    assert both.service().run.tree.since > 0  # type: ignore[union-attr]
    both.do(lambda: both.machine.exit(heir, 1))
    assert both.events("run.exited")[0]["pid"] == heir


def test_a_new_engine_looks_again_where_the_last_one_died_looking(both: Stagehand) -> None:
    """The exit was not handed in yet: the keeper still has it."""
    both.apply(a_launcher())
    child = both.do(lambda: both.machine.fork(both.pid(), new_session=True))
    both.exits(code=0)
    both.engine_dies()
    both.machine.listen(child.pid, PORT)
    both.boot()
    both.pass_time(0.5)
    assert (both.phase(), both.pid()) == ("up", child.pid)
