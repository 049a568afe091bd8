"""Histories of one service through the whole engine: start, crash, back-off, stop ladder, jobs, probes, reload."""

from __future__ import annotations

import signal

import pytest
from tests.engine.conftest import Stagehand, a_spec, stop_rules

from midwatch.engine.probes import Watcher
from midwatch.machine.ports import LaunchProblem
from midwatch.model.service import Backoff, Probe
from midwatch.policy import defaults


def test_a_run_is_placed_and_recorded_before_its_gate_opens(stage: Stagehand) -> None:
    """Design 4, spawn: spawn -> cgroup -> record -> release -> run.spawned; the intent is written first of all."""
    stage.apply(a_spec())
    assert [frame["op"] for frame in stage.keeper.frames] == ["spawn", "release"]
    process = stage.machine.procs[stage.pid()]
    assert process.cgroups
    assert (stage.layout.runs / "p.a.1.json").exists()
    assert [line["event"] for line in stage.events("run.spawning", "run.spawned")] == ["run.spawning", "run.spawned"]


def test_crashes_back_off_in_time_and_a_stable_run_counts_afresh(bare: Stagehand) -> None:
    """B1 A4: 1, 2, 4 s (with at most 10 % more); after a long life the count is 1 and the delay 0."""
    bare.apply(a_spec())
    for base in (1.0, 2.0, 4.0):
        bare.exits(code=1)
        assert bare.phase() == "backoff"
        bare.pass_time(base * 0.99)
        assert bare.phase() == "backoff"
        bare.pass_time(base * 0.12)
        assert bare.phase() == "up"
    bare.pass_time(301)
    bare.exits(code=1)
    assert (bare.phase(), bare.service().state.crash_count) == ("up", 1)
    assert bare.keeper.ops("spawn") == [f"p.a.{n}" for n in range(1, 6)]
    assert bare.keeper.ops("taken") == [f"p.a.{n}" for n in range(1, 5)]


@pytest.mark.parametrize("hour", [3600.0, -3600.0], ids=["forward", "back"])
def test_b6_the_wall_clock_jumps_by_an_hour(bare: Stagehand, hour: float) -> None:
    """B6: delays, budgets and durations go by the awake clock; also through an engine restart."""
    bare.apply(a_spec())
    bare.pass_time(10)
    bare.exits(code=1)
    bare.machine.wall += hour
    bare.pass_time(0.9)
    assert bare.phase() == "backoff"
    bare.pass_time(0.3)
    assert bare.phase() == "up"
    bare.machine.wall += hour
    bare.pass_time(5)
    bare.engine_dies()
    bare.boot()
    assert bare.phase() == "up"
    bare.exits(code=1)
    assert bare.service().state.crash_count == 2
    assert [round(line["duration_ms"] / 1000) for line in bare.events("run.exited")] == [10, 5]
    bare.pass_time(2.3)
    assert bare.phase() == "up"


def test_the_stop_ladder_goes_term_grace_kill_and_verifies(stage: Stagehand) -> None:
    """D2 D3: TERM at once; who ignores it is killed after the grace; the job ends when nothing is left."""
    stage.apply(a_spec(stop=stop_rules(7.0)))
    pid = stage.pid()
    stage.machine.procs[pid].ignores = {signal.SIGTERM}
    job = stage.ask("stop", "a")
    assert (pid, signal.SIGTERM) in stage.machine.signals
    stage.pass_time(6.9)
    assert (stage.phase(), stage.job(job)["state"]) == ("stopping", "running")
    stage.pass_time(0.2)
    assert stage.phase() == "stopped"
    assert stage.job(job)["state"] == "done"
    assert stage.events("stop.done")[-1]["verified_by"] == "cgroup"
    assert pid not in stage.machine.procs
    assert not list(stage.layout.runs.glob("*.json"))


def test_leftovers_are_killed_before_the_next_run(stage: Stagehand) -> None:
    """D4: the main process dies, its grandchild does not: no second run beside it."""
    stage.apply(a_spec())
    child = stage.do(lambda: stage.machine.fork(stage.pid(), new_session=True))
    stage.exits(code=0)
    stage.pass_time(1.2)  # it might have been a launcher (scenario 14)
    assert child.pid not in stage.machine.procs
    assert (stage.phase(), stage.service().state.run) == ("up", "p.a.2")


def test_the_newest_intent_wins_and_the_older_job_is_told(bare: Stagehand) -> None:
    """A start during a slow stop: the stop's job is superseded, the service runs again."""
    bare.apply(a_spec(stop=stop_rules(5.0)))
    bare.machine.procs[bare.pid()].leaves = {signal.SIGTERM: (2.0, 0)}
    stop = bare.ask("stop", "a")
    start = bare.ask("start", "a")
    bare.pass_time(3)
    report = bare.job(stop)
    assert report["state"] == "failed"
    assert "superseded" in report["services"]["p/a"]["message"]
    assert bare.job(start)["state"] == "done"
    assert bare.phase() == "up"


def test_a_stop_that_cannot_end_everything_says_so(stage: Stagehand) -> None:
    """A process in the kernel that not even KILL ends: the job fails and names how many are left."""
    stage.apply(a_spec(stop=stop_rules(1.0)))
    stage.machine.procs[stage.pid()].kernel_stuck = True
    stage.machine.procs[stage.pid()].ignores = {signal.SIGTERM}
    job = stage.ask("stop", "a")
    stage.pass_time(20)
    report = stage.job(job)
    assert report["state"] == "failed"
    assert "1" in report["services"]["p/a"]["message"]


def test_stops_go_in_layers_dependents_first(bare: Stagehand) -> None:
    """Reverse order: who is needed by others leaves last."""
    bare.apply(a_spec("db"), a_spec("web", needs={"p/db": "started"}))
    slow = bare.pid("web")
    bare.machine.procs[slow].leaves = {signal.SIGTERM: (2.0, 0)}
    bare.ask("stop", "db", "web")
    assert (bare.phase("web"), bare.phase("db")) == ("stopping", "up")
    bare.pass_time(3)
    assert (bare.phase("web"), bare.phase("db")) == ("stopped", "stopped")


@pytest.mark.parametrize(("errno", "phase"), [("EAGAIN", "backoff"), ("EMFILE", "backoff"), ("ENOENT", "held")])
def test_a_spawn_that_never_was_is_an_exit_with_a_cause(bare: Stagehand, errno: str, phase: str) -> None:
    """A11: what time can cure is tried again, what it cannot is held."""
    bare.keeper.refuse = [{"errno": errno, "phase": "fork", "error": "words"}]
    bare.apply(a_spec())
    assert bare.phase() == phase
    assert bare.service().state.last_cause == "spawn-failed"
    assert bare.engine.runs == {}
    if phase == "backoff":
        bare.pass_time(1.2)
        assert bare.phase() == "up"


def test_a_missing_program_is_held_until_it_is_there(bare: Stagehand) -> None:
    """A11: looked up before anything is spawned, looked at again every minute."""
    bare.machine.problems["/bin/a"] = LaunchProblem("ENOENT", "/bin/a does not exist", True)
    bare.apply(a_spec())
    assert bare.phase() == "held"
    assert bare.keeper.frames == []
    bare.pass_time(61)
    assert bare.phase() == "held"
    bare.machine.touch("/bin/a")
    bare.pass_time(61)
    assert bare.phase() == "up"


def test_a_cgroup_that_cannot_be_made_is_a_failed_spawn(stage: Stagehand) -> None:
    """The kernel refuses the place: nothing was started, it is tried again."""
    stage.machine.fail("contain", OSError(28, "No space left on device"))
    stage.apply(a_spec())
    assert stage.phase() == "backoff"
    assert stage.keeper.ops("spawn") == []
    stage.pass_time(1.2)
    assert stage.phase() == "up"


def test_a_gate_that_cannot_be_placed_never_opens(stage: Stagehand) -> None:
    """What is not in its place is not let go: dropped, and tried again as another run."""
    stage.machine.fail("place", OSError(16, "Device or resource busy"))
    stage.apply(a_spec())
    assert stage.keeper.ops("release") == []
    stage.pass_time(1.2)
    assert stage.phase() == "up"
    assert stage.keeper.ops("release") == ["p.a.2"]
    assert "p.a.1" not in stage.keeper.table


def warmed(stage: Stagehand) -> int:
    """Up, with the next gate waiting: its pid."""
    stage.apply(a_spec())
    stage.pass_time(defaults.WARM_AFTER + 0.1)
    warm = stage.service().warm
    assert warm is not None
    assert warm.proc is not None
    assert stage.machine.procs[warm.proc.pid].cgroups
    stage.keeper.frames.clear()
    return warm.proc.pid


def test_a_warm_gate_makes_a_restart_one_release(stage: Stagehand) -> None:
    """Design 4: the next run waits in its cgroup already: no spawn, no move, one frame."""
    gate = warmed(stage)
    stage.exits(code=0)
    assert stage.pid() == gate
    assert [(frame["op"], frame["run"]) for frame in stage.keeper.frames] == [("release", "p.a.2"), ("taken", "p.a.1")]


def test_a_warm_gate_of_old_facts_is_dropped_on_reload(stage: Stagehand) -> None:
    """A reload with other spawn facts: the waiting gate leaves and the new run is made from the new facts."""
    gate = warmed(stage)
    applied = stage.apply(a_spec(launch={"env": {"X": "1"}}))
    assert applied.restarted == ["p/a"]
    stage.pass_time(1)
    assert gate not in stage.machine.procs
    assert stage.machine.procs[stage.pid()].env["X"] == "1"
    assert stage.engine.gates.count == 1, "one is waiting again"


def test_a_warm_gate_goes_when_its_service_stops(stage: Stagehand) -> None:
    """Nothing of a stopped service is left, not even a gate."""
    gate = warmed(stage)
    stage.ask("stop", "a")
    stage.pass_time(1)
    assert gate not in stage.machine.procs
    assert stage.engine.gates.count == 0
    assert stage.keeper.table == {}


def test_a_warm_gate_that_dies_is_no_exit_of_the_service(stage: Stagehand) -> None:
    """Killed while it waits: no budget is spent, the next restart spawns anew."""
    gate = warmed(stage)
    stage.do(lambda: stage.machine.exit(gate, signum=9))
    assert stage.events("run.exited") == []
    stage.exits(code=0)
    stage.pass_time(0.1)
    assert stage.phase() == "up"
    assert stage.pid() != gate


def test_reload_restarts_the_difference_only(bare: Stagehand) -> None:
    """Design 7: added starts, removed stops, other facts restart, other rules apply live, the rest stays."""
    bare.apply(*(a_spec(name) for name in ("same", "rules", "facts", "gone")))
    before = {name: bare.pid(name) for name in ("same", "rules", "facts")}
    gone = bare.pid("gone")
    changed = (a_spec("rules", stop=stop_rules(3.0)), a_spec("facts", launch={"umask": 7}))
    wanted = (a_spec("same"), *changed, a_spec("new"))
    dry = bare.apply(*wanted, dry_run=True)
    assert bare.pid("facts") == before["facts"]
    applied = bare.apply(*wanted)
    assert (dry.added, dry.removed, dry.restarted, dry.changed) == (["p/new"], ["p/gone"], ["p/facts"], ["p/rules"])
    assert (applied.added, applied.removed, applied.restarted, applied.changed, applied.unchanged) == (
        ["p/new"], ["p/gone"], ["p/facts"], ["p/rules"], ["p/same"],
    )  # fmt: skip
    bare.pass_time(1)
    assert bare.pid("same") == before["same"]
    assert bare.pid("rules") == before["rules"]
    assert bare.service("rules").state.rules.stop.grace == 3.0
    assert bare.pid("facts") != before["facts"]
    assert gone not in bare.machine.procs
    assert "p/gone" not in bare.engine.services


def test_a_refused_configuration_changes_nothing(bare: Stagehand) -> None:
    """A cycle: named with its path, nothing stored, nothing restarted."""
    bare.apply(a_spec("x"))
    pid, stored = bare.pid("x"), bare.layout.specs.read_bytes()
    refused = bare.apply(a_spec("x", needs={"p/y": "started"}), a_spec("y", needs={"p/x": "started"}))
    assert "p/x" in refused.problem
    assert "p/y" in refused.problem
    assert bare.pid("x") == pid
    assert bare.layout.specs.read_bytes() == stored
    assert len(bare.events("config.refused")) == 1


def test_a_low_disk_is_said_once_and_ends_when_there_is_room(bare: Stagehand) -> None:
    """Output is thrown away below the reserve, for new runs too, and kept again afterwards."""
    bare.do(bare.engine.output.watch_disk)
    bare.apply(a_spec())
    bare.machine.free = 1000
    bare.pass_time(3 * defaults.DISK_CHECK_EVERY)
    assert len(bare.events("disk.low")) == 1
    assert [f["discard"] for f in bare.keeper.frames if f["op"] == "pump"] == [True]
    bare.exits(code=0)
    bare.pass_time(2 * defaults.DISK_CHECK_EVERY)
    assert [f["run"] for f in bare.keeper.frames if f["op"] == "pump" and f["discard"]] == ["p.a.1", "p.a.2"]
    bare.machine.free = 1 << 40
    bare.pass_time(2 * defaults.DISK_CHECK_EVERY)
    assert len(bare.events("disk.ok")) == 1
    assert [f["run"] for f in bare.keeper.frames if f["op"] == "pump"][-1] == "p.a.2"
    assert bare.keeper.frames[-1]["discard"] is False


def test_a_low_disk_episode_that_ends_while_no_engine_lives_ends_too(bare: Stagehand) -> None:
    """The keeper was told to throw away; the next engine finds room and has to tell it to stop."""
    bare.apply(a_spec())
    bare.machine.free = 1000
    bare.do(bare.engine.output.watch_disk)
    bare.engine_dies()
    bare.machine.free = 1 << 40
    bare.boot()
    bare.do(bare.engine.output.watch_disk)
    assert [f["discard"] for f in bare.keeper.frames if f["op"] == "pump"] == [True, False]


def test_probes_stop_with_their_run(bare: Stagehand, tmp_path: object) -> None:
    """A ready probe asks at its rhythm, is answered, and none is left when the run ends."""
    flag = f"{tmp_path}/flag"
    probe = Probe(file=flag, every=1.0, within=20.0)
    bare.apply(a_spec(ready=probe))
    assert bare.phase() == "starting"
    watched = bare.service().probe
    assert watched is not None
    [watcher] = watched.parts
    assert isinstance(watcher, Watcher)
    bare.pass_time(3)
    assert bare.phase() == "starting"
    bare.exits(code=1)
    assert bare.service().probe is None
    assert watcher._stopped
    bare.pass_time(0.5)
    assert len(bare.events("probe.failed")) == 1, "the same failure is told once"


def test_a_run_that_is_not_ready_in_time_is_replaced(bare: Stagehand) -> None:
    """HLT-1: unhealthy, with its own budget; no crash is counted."""
    bare.apply(a_spec(ready=Probe(file="/nonexistent/flag", every=1.0, within=5.0)))
    first = bare.pid()
    bare.pass_time(5.5)
    assert bare.pid() != first
    assert bare.service().state.crash_count == 0
    assert bare.events("run.exited")[-1]["cause"] == "unhealthy"


def test_many_services_that_crash_together_do_not_rise_together(bare: Stagehand) -> None:
    """B3: jitter; and the engine's table holds exactly the living ones throughout."""
    quick = Backoff(4.0, 60.0, 0.1, 30.0, 1.0, 60.0, 300.0, 60.0)
    names = [f"s{n}" for n in range(30)]
    bare.apply(*(a_spec(name, backoff=quick) for name in names))
    for name in names:
        bare.exits(name, code=1)
    wakes = {bare.service(name).state.wake_at for name in names}
    assert len(wakes) > 20
    assert bare.engine.runs == {}
    bare.pass_time(4.5)
    assert {bare.phase(name) for name in names} == {"up"}
    assert len(bare.engine.runs) == len(bare.keeper.table) == 30


def test_a_needed_oneshot_that_is_done_is_not_run_again(bare: Stagehand) -> None:
    """A migration runs once; asked for by name it runs again."""
    bare.apply(a_spec("migrate", oneshot=True), a_spec("web", needs={"p/migrate": "completed"}))
    bare.exits("migrate")
    bare.ask("stop", "web")
    bare.do(lambda: bare.engine.jobs.ask("start", bare.engine.with_needs(["p/web"]), "test"))
    assert (bare.phase("migrate"), bare.phase("web")) == ("done", "up")
    assert bare.engine.with_needs(["p/migrate"]) == ["p/migrate"]
