"""A new engine in every phase: what it finds in the journal, the run records and the keeper's table, and what it makes
of it. Nothing is started twice, no exit is lost, no stop is forgotten.
"""

from __future__ import annotations

import signal

import pytest
from tests.engine.conftest import Stagehand, a_spec, stop_rules

from midwatch.policy import defaults


def successor(stage: Stagehand) -> None:
    stage.engine_dies()
    stage.boot()
    stage.pass_time(0.1)


def test_a_running_service_goes_on_and_its_exit_is_taken(stage: Stagehand) -> None:
    """Up: the same pid, the same containment, and the next exit is handled as ever."""
    stage.apply(a_spec())
    pid, dirs = stage.pid(), stage.engine.runs["p.a.1"].containment.dirs
    successor(stage)
    assert (stage.pid(), stage.phase()) == (pid, "up")
    assert stage.engine.runs["p.a.1"].containment.dirs == dirs
    stage.exits(code=3)
    assert stage.service().state.crash_count == 1
    assert stage.keeper.ops("spawn") == ["p.a.1"]


def test_a_spawn_that_was_asked_for_but_never_arrived_is_asked_again(bare: Stagehand) -> None:
    """The intent is in the journal, the keeper never got the request: the same run, once."""
    bare.keeper.deaf = True
    bare.apply(a_spec())
    assert bare.phase() == "starting"
    successor(bare)
    assert bare.phase() == "up"
    assert bare.keeper.ops("spawn") == ["p.a.1"]


def test_a_spawn_whose_answer_was_lost_is_not_repeated(bare: Stagehand) -> None:
    """The keeper has made the process, the engine never heard of it: taken over by its run id."""
    bare.apply(a_spec("z"))
    bare.do(lambda: None)
    spec = a_spec()
    real = bare.keeper.ask

    def lost(answer: object, **frame: object) -> None:
        if frame["op"] == "spawn":
            real(lambda _: None, **frame)
        else:
            real(answer, **frame)  # type: ignore[arg-type]

    bare.keeper.ask = lost  # type: ignore[method-assign]
    bare.apply(a_spec("z"), spec)
    bare.keeper.ask = real  # type: ignore[method-assign]
    assert bare.phase() == "starting"
    successor(bare)
    assert bare.phase() == "up"
    assert bare.keeper.ops("spawn").count("p.a.1") == 1



def test_a_stop_of_a_start_whose_answer_was_lost_is_finished(bare: Stagehand) -> None:
    """Asked to stop between the spawn and its answer, then the engine dies: the run is found, ended and verified."""
    real = bare.keeper.ask

    def lost(answer: object, **frame: object) -> None:
        real((lambda _: None) if frame["op"] == "spawn" else answer, **frame)  # type: ignore[arg-type]

    bare.keeper.ask = lost  # type: ignore[method-assign]
    bare.apply(a_spec())
    bare.keeper.ask = real  # type: ignore[method-assign]
    bare.ask("stop", "a")
    assert (bare.phase(), bare.service().state.pid) == ("stopping", None)
    [entry] = bare.keeper.table.values()
    successor(bare)
    bare.pass_time(30)
    assert bare.phase() == "stopped"
    assert bare.dead(entry["pid"])


@pytest.mark.parametrize("lost", ["release", "spawn-answer"])
def test_a_run_in_its_closed_gate_is_placed_and_let_go(stage: Stagehand, lost: str) -> None:
    """The engine died between spawn and release: the successor places it, writes its record and opens the gate."""
    real = stage.keeper.ask

    def broken(answer: object, **frame: object) -> None:
        if frame["op"] == "spawn":
            real((lambda _: None) if lost == "spawn-answer" else answer, **frame)  # type: ignore[arg-type]
        elif frame["op"] != "release":
            real(answer, **frame)  # type: ignore[arg-type]

    stage.keeper.ask = broken  # type: ignore[method-assign]
    stage.apply(a_spec())
    stage.keeper.ask = real  # type: ignore[method-assign]
    [entry] = stage.keeper.table.values()
    assert entry["gate"] == "closed"
    successor(stage)
    assert (stage.phase(), stage.pid(), entry["gate"]) == ("up", entry["pid"], "open")
    assert stage.machine.procs[entry["pid"]].cgroups
    assert stage.keeper.ops("spawn") == ["p.a.1"]
    assert (stage.layout.runs / "p.a.1.json").exists()


def test_an_exit_that_nobody_took_is_taken_with_its_true_code(bare: Stagehand) -> None:
    """It ended while no engine lived: the code, the count and the duration are the true ones."""
    bare.apply(a_spec())
    bare.pass_time(10)
    pid = bare.pid()
    bare.engine_dies()
    bare.machine.exit(pid, 7)
    bare.machine.advance(100)
    bare.boot()
    [line] = bare.events("run.exited")
    assert (line["code"], line["cause"], round(line["duration_ms"] / 1000)) == (7, "crash", 10)
    bare.pass_time(1.2)
    assert (bare.phase(), bare.service().state.crash_count) == ("up", 1)
    assert bare.keeper.ops("taken") == ["p.a.1"]


def test_an_exit_that_was_recorded_but_not_told_as_taken_counts_once(bare: Stagehand) -> None:
    """The engine died between the journal's line and `taken`: one exit, one crash."""
    bare.apply(a_spec())
    bare.keeper.deaf = True
    bare.exits(code=7)
    successor(bare)
    bare.pass_time(1.2)
    assert len(bare.events("run.exited")) == 1
    assert bare.service().state.crash_count == 1
    assert set(bare.keeper.table) == {"p.a.2"}


@pytest.mark.parametrize("when", ["in the grace", "after the grace", "gone meanwhile"])
def test_a_stop_that_is_half_done_is_finished(stage: Stagehand, when: str) -> None:
    """Stopping: the signal is repeated, the deadline stays, and it ends as requested, never started again."""
    stage.apply(a_spec(stop=stop_rules(6.0)))
    pid = stage.pid()
    stage.machine.procs[pid].ignores = {signal.SIGTERM}
    stage.ask("stop", "a")
    stage.pass_time(2)
    stage.engine_dies()
    if when == "gone meanwhile":
        stage.machine.exit(pid, 0)
    stage.machine.advance(10 if when == "after the grace" else 1)
    stage.boot()
    if when == "in the grace":
        assert stage.phase() == "stopping"
        stage.pass_time(2.9)
        assert stage.phase() == "stopping", "the deadline did not come earlier"
        stage.pass_time(0.3)
    stage.pass_time(0.2)
    assert stage.phase() == "stopped"
    assert pid not in stage.machine.procs
    assert [line["cause"] for line in stage.events("run.exited")] == ["requested"]
    assert stage.keeper.ops("release") == ["p.a.1"], "not started again"


def test_a_back_off_goes_on_where_it_was(bare: Stagehand) -> None:
    """Backoff: the delay is neither forgotten nor begun anew."""
    bare.apply(a_spec())
    for _ in range(3):
        bare.exits(code=1)
        bare.pass_time(4.6 if bare.service().state.crash_count == 3 else 2.3)
    bare.exits(code=1)  # 8 s and a little
    bare.pass_time(5)
    successor(bare)
    assert bare.phase() == "backoff"
    bare.pass_time(2.5)
    assert bare.phase() == "backoff"
    bare.pass_time(1.5)
    assert (bare.phase(), bare.service().state.crash_count) == ("up", 4)


def test_a_warm_gate_of_the_last_engine_leaves(stage: Stagehand) -> None:
    """It was made for an engine that is gone: dropped, no exit of the service, a new one is made."""
    stage.apply(a_spec())
    stage.pass_time(defaults.WARM_AFTER + 0.1)
    warm = stage.service().warm
    assert warm is not None
    assert warm.proc is not None
    successor(stage)
    assert warm.proc.pid not in stage.machine.procs
    assert stage.phase() == "up"
    stage.exits(code=0)
    stage.pass_time(1)
    assert stage.phase() == "up"
    assert [line["code"] for line in stage.events("run.exited")] == [0]


def test_a_stopped_service_stays_stopped(bare: Stagehand) -> None:
    """Intent survives: a new engine, and a new daemon, start nothing that nobody wants."""
    bare.apply(a_spec())
    bare.ask("stop", "a")
    bare.pass_time(0.1)
    successor(bare)
    assert bare.phase() == "stopped"
    bare.keeper_dies()
    bare.boot()
    bare.pass_time(1)
    assert bare.phase() == "stopped"
    assert bare.keeper.ops("spawn") == ["p.a.1"]


def test_a_reboot_keeps_budgets_and_starts_what_was_wanted(bare: Stagehand) -> None:
    """Another boot id: nothing to end, no exit invented, crash count kept."""
    bare.apply(a_spec(), a_spec("off"))
    bare.ask("stop", "off")
    bare.exits(code=1)
    bare.pass_time(1.2)
    bare.keeper_dies()
    bare.machine.reboot()
    bare.machine.wall += 60
    bare.loop.close()
    bare.loop = type(bare.loop)(bare.machine)
    bare.boot()
    bare.pass_time(1)
    assert (bare.phase(), bare.phase("off")) == ("up", "stopped")
    assert bare.service().state.crash_count == 1
    assert len(bare.events("run.exited")) == 2, "the crash and the stop"
    assert bare.events("run.orphaned") == []


def test_a_lost_journal_is_no_reason_to_end_what_runs(stage: Stagehand) -> None:
    """Nothing to restore from but the keeper's table: the run is taken over, the next number is a new one."""
    stage.apply(a_spec())
    pid = stage.pid()
    stage.engine_dies()
    for path in stage.layout.journal.glob("*"):
        path.unlink()
    stage.boot()
    assert (stage.phase(), stage.pid()) == ("up", pid)
    stage.exits(code=0)
    stage.pass_time(0.1)
    assert stage.service().state.run == "p.a.2"


@pytest.mark.parametrize("gate", ["waits", "has left", "leaves late"])
def test_a_run_waits_until_the_gate_of_its_number_is_gone(stage: Stagehand, gate: str) -> None:
    """The last engine's warm gate bears the next run's id; the service ended in between and is due at once: it is
    started under that number when the gate is gone, without a failed start."""
    stage.apply(a_spec())
    stage.pass_time(1)
    assert stage.service().warm is not None
    pid, waiting = stage.pid(), stage.keeper.table["p.a.2"]["pid"]
    stage.keeper.slow_gates = gate == "leaves late"
    stage.engine_dies()
    stage.machine.exit(pid, 0)
    if gate == "has left":
        stage.machine.exit(waiting, 125)
    stage.boot()
    if gate == "leaves late":
        assert (stage.phase(), stage.service().state.pid) == ("starting", None)
        stage.do(lambda: stage.machine.exit(waiting, 125))
    stage.pass_time(1)
    assert (stage.phase(), stage.service().state.run) == ("up", "p.a.2")
    assert stage.events("run.spawn_failed") == []
    assert stage.dead(waiting)
    assert stage.pid() != waiting


@pytest.mark.parametrize("gate", ["leaving", "gone"])
def test_a_dropped_gate_is_no_exit_of_the_run_that_waits_for_its_number(stage: Stagehand, gate: str) -> None:
    """Two engines in a row: the first dropped the gate and noted the start, the second finds both. No code 125, one
    start."""
    stage.apply(a_spec())
    stage.pass_time(1)
    waiting = stage.keeper.table["p.a.2"]["pid"]
    stage.keeper.slow_gates = True
    stage.engine_dies()
    stage.machine.exit(stage.keeper.table["p.a.1"]["pid"], 0)
    stage.boot()
    assert stage.service().state.run == "p.a.2"
    stage.engine_dies()
    if gate == "gone":
        stage.machine.exit(waiting, 125)
    stage.boot()
    if gate == "leaving":
        stage.do(lambda: stage.machine.exit(waiting, 125))
    stage.pass_time(0.1)
    assert (stage.phase(), stage.service().state.run) == ("up", "p.a.2")
    assert [line["code"] for line in stage.events("run.exited")] == [0]
    assert stage.service().state.crash_count == 0
    assert stage.pid() != waiting


@pytest.mark.parametrize("told", [True, False], ids=["exit recorded", "exit not recorded"])
def test_a_kill_that_died_with_its_engine_is_done_again(bare: Stagehand, told: bool) -> None:
    """The main process has left, its tree was being ended, and then there was no engine: the stop is finished, once."""
    bare.apply(a_spec(stop=stop_rules(grace=1)))
    pid = bare.pid()
    bare.engine.ender.kill = lambda *_: None  # type: ignore[method-assign]
    if told:
        bare.ask("stop", "a")
        bare.pass_time(0.1)
    else:
        bare.machine.procs[pid].ignores.add(15)
        bare.ask("stop", "a")
        bare.pass_time(1.1)
        bare.keeper.deaf = True
    assert bare.phase() == "killing"
    bare.engine_dies()
    if not told:
        bare.machine.exit(pid, 0, 9)
    bare.boot()
    bare.pass_time(2)
    assert bare.phase() == "stopped"
    assert bare.keeper.table == {}
    assert len(bare.events("run.exited")) == len(bare.events("stop.done")) == 1
