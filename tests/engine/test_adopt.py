"""Keeper and engine were killed together: what lives on is adopted, what cannot be is ended by identity first, and
nothing runs twice (design 5, D9, ORP-7). On the fake machine; the real kills are in tests/real.
"""

from __future__ import annotations

import pytest
from tests.engine.conftest import Stagehand, a_spec, stop_rules

from midwatch.engine.adopt import newest_log
from midwatch.model.service import Probe


def both_die(stage: Stagehand, seconds: float = 0.0) -> None:
    stage.keeper_dies()
    stage.machine.advance(seconds)
    stage.boot()
    stage.pass_time(0.1)


def test_a_service_that_lived_on_is_adopted_and_not_started_again(stage: Stagehand) -> None:
    """D9: the same pid, one run, no exit invented, and its next exit is judged as ever."""
    stage.apply(a_spec())
    pid = stage.pid()
    both_die(stage, 30)
    assert (stage.phase(), stage.pid()) == ("up", pid)
    assert [line["pid"] for line in stage.events("run.adopted")] == [pid]
    assert stage.events("run.exited", "run.orphaned") == []
    assert stage.keeper.ops("spawn").count("p.a.1") == 1
    stage.exits(code=3)
    stage.pass_time(1.2)
    assert (stage.service().state.crash_count, stage.service().state.run) == (1, "p.a.2")


def test_its_tree_is_found_and_ended_by_a_stop(stage: Stagehand) -> None:
    """Adopted, then stopped: also the child that left its session is gone, and that is verified."""
    stage.apply(a_spec())
    child = stage.machine.fork(stage.pid(), new_session=True)
    both_die(stage)
    stage.ask("stop", "a")
    stage.pass_time(20)
    assert stage.phase() == "stopped"
    assert stage.dead(child.pid)


def test_what_died_meanwhile_is_lost_and_says_between_which_times(bare: Stagehand) -> None:
    """Nobody saw its end: the cause is `lost`, no code is invented, and it is started again once."""
    bare.apply(a_spec())
    pid = bare.pid()
    bare.keeper_dies()
    bare.machine.advance(60)
    bare.machine.exit(pid, 7)
    bare.machine.reap(pid)
    bare.boot()
    bare.pass_time(1)
    [line] = bare.events("run.exited")
    assert (line["cause"], line["code"], line["signal"]) == ("lost", None, None)
    assert (bare.phase(), bare.service().state.run) == ("up", "p.a.2")


def test_a_recycled_pid_is_nobody_of_ours(bare: Stagehand) -> None:
    """GEN-5: the number lives again under another start time; it is neither adopted nor signalled."""
    bare.apply(a_spec())
    pid = bare.pid()
    bare.keeper_dies()
    bare.machine.exit(pid, 0)
    bare.machine.reap(pid)
    stranger = bare.machine.stranger(pid)
    bare.boot()
    bare.pass_time(1)
    assert not bare.dead(stranger.pid)
    assert bare.events("run.adopted") == []
    assert bare.pid() != pid


def test_an_intent_without_a_record_is_found_by_its_marker_and_adopted(bare: Stagehand) -> None:
    """Design 5: run.spawning was written, the process exists, its record was never made."""
    real = bare.keeper.ask
    bare.keeper.ask = lambda answer, **frame: real(lambda _: None, **frame)  # type: ignore[method-assign]
    bare.apply(a_spec())
    bare.keeper.ask = real  # type: ignore[method-assign]
    assert not list(bare.layout.runs.glob("*.json"))
    pid = bare.keeper.table["p.a.1"]["pid"]
    both_die(bare)
    assert (bare.phase(), bare.pid()) == ("up", pid)
    assert (bare.layout.runs / "p.a.1.json").exists()


def test_only_what_is_left_of_an_unrecorded_run_is_ended(bare: Stagehand) -> None:
    """Its main process is gone, a grandchild lives: that is no run to adopt, and no second one beside it."""
    bare.apply(a_spec())
    child = bare.machine.fork(bare.pid())
    pid = bare.pid()
    bare.keeper_dies()
    bare.machine.exit(pid, 0)
    bare.machine.reap(pid)
    bare.boot()
    bare.pass_time(1)
    assert bare.dead(child.pid)
    assert bare.events("run.adopted") == []
    assert bare.service().state.run == "p.a.2"


@pytest.mark.parametrize("how", ["torn", "gone"])
def test_a_torn_record_costs_nothing(bare: Stagehand, how: str) -> None:
    """The file is damaged or missing: the run is found by its marker."""
    bare.apply(a_spec())
    pid = bare.pid()
    bare.keeper_dies()
    path = bare.layout.runs / "p.a.1.json"
    if how == "torn":
        path.write_bytes(path.read_bytes()[:17])
    else:
        path.unlink()
    bare.boot()
    bare.pass_time(0.1)
    assert (bare.phase(), bare.pid()) == ("up", pid)


def test_a_lost_journal_does_not_cost_the_run(stage: Stagehand) -> None:
    """The records alone: it is taken over as running, and the next number is a new one."""
    stage.apply(a_spec())
    pid = stage.pid()
    stage.keeper_dies()
    for path in stage.layout.journal.glob("*"):
        path.unlink()
    stage.boot()
    stage.pass_time(0.1)
    assert (stage.phase(), stage.pid()) == ("up", pid)
    assert stage.service().state.want == "up"


def test_a_record_of_another_boot_is_history(bare: Stagehand) -> None:
    """No process outlives a boot, whatever pid it had: started afresh, nothing is signalled."""
    bare.apply(a_spec())
    pid = bare.pid()
    bare.keeper_dies()
    bare.machine.reboot()
    bare.machine.wall += 60
    stranger = bare.machine.stranger(pid)
    bare.loop.close()
    bare.loop = type(bare.loop)(bare.machine)
    bare.boot()
    bare.pass_time(1)
    assert bare.phase() == "up"
    assert not bare.dead(stranger.pid)


def test_a_lost_output_is_said_and_costs_the_run_nothing(bare: Stagehand) -> None:
    """A FIFO that was replaced by a file: the run is adopted, its output is not invented."""
    bare.apply(a_spec())
    pid = bare.pid()
    bare.keeper.lost = {"out": "not a FIFO any more"}
    both_die(bare)
    assert bare.pid() == pid
    [line] = bare.events("state.damaged")
    assert "not a FIFO any more" in line["problem"]


def test_a_stop_that_was_under_way_is_finished(bare: Stagehand) -> None:
    """It ignored TERM, then both died in its grace: the ladder goes on to the kill."""
    bare.apply(a_spec(stop=stop_rules(grace=10)))
    pid = bare.pid()
    bare.machine.procs[pid].ignores.add(15)
    bare.ask("stop", "a")
    bare.pass_time(3)
    both_die(bare)
    assert bare.phase() == "stopping"
    bare.pass_time(10)
    assert bare.phase() == "stopped"
    assert bare.dead(pid)


def test_probes_and_budgets_are_carried_on(bare: Stagehand) -> None:
    """Two failures before, one after: unhealthy at the third; the crash count is the old one."""
    probe = Probe(file="alive", every=30, timeout=1, failures=3)
    bare.apply(a_spec(health=probe))
    bare.exits(code=1)
    bare.pass_time(63)
    assert bare.service().state.probe_failures == 2
    both_die(bare)
    assert (bare.service().state.probe_failures, bare.service().state.crash_count) == (2, 1)
    bare.pass_time(32)
    assert [line["reason"] for line in bare.events("health.failed")] == ["health"]


def test_a_gate_that_was_waiting_leaves_and_the_run_is_started(stage: Stagehand) -> None:
    """The release never came: the gate reads end of file; the service starts once, under the next number."""
    real = stage.keeper.ask

    def broken(answer: object, **frame: object) -> None:
        if frame["op"] != "release":
            real(answer, **frame)  # type: ignore[arg-type]

    stage.keeper.ask = broken  # type: ignore[method-assign]
    stage.keeper.deaf = False
    stage.apply(a_spec())
    stage.keeper.ask = real  # type: ignore[method-assign]
    gate = stage.keeper.table["p.a.1"]["pid"]
    stage.keeper_dies()
    stage.machine.exit(gate, 125)
    stage.machine.reap(gate)
    stage.boot()
    stage.pass_time(1)
    assert stage.phase() == "up"
    assert stage.dead(gate)


def test_a_service_nobody_wants_any_more_is_ended(bare: Stagehand) -> None:
    """Its record says it lives, the accepted specs do not know it: ended by identity, said."""
    bare.apply(a_spec(), a_spec("b"))
    pid = bare.pid("b")
    bare.keeper_dies()
    from midwatch.engine.specs import load_specs, save_specs

    accepted, _ = load_specs(bare.layout.specs)
    save_specs(bare.layout.specs, [spec for spec in accepted.specs if spec.name == "a"], accepted.settings)
    bare.boot()
    bare.pass_time(1)
    assert bare.dead(pid)
    assert [line["run_id"] for line in bare.events("run.orphaned")] == ["p.b.1"]
    assert bare.phase() == "up"


def test_the_log_goes_on_in_the_newest_file(tmp_path: object) -> None:
    """Rotated twice, the first compressed: output goes on in number 2; a lone compressed one means the next."""
    from pathlib import Path

    folder = Path(str(tmp_path))
    first = str(folder / "p.a.1.out.0.log")
    assert newest_log(first) == first
    (folder / "p.a.1.out.0.log.gz").touch()
    assert newest_log(first) == str(folder / "p.a.1.out.1.log")
    for name in ("p.a.1.out.1.log", "p.a.1.out.2.log", "p.a.1.out.2.log.idx", "p.a.1.err.7.log", "p.a.11.out.9.log"):
        (folder / name).touch()
    assert newest_log(first) == str(folder / "p.a.1.out.2.log")


@pytest.mark.parametrize("marker", ["{own}", "{own}/0a1b2c3d:q.b.7", "", "0a1b2c3d:p.a.1", "{home}:p.b.1"])
def test_whose_marker_a_process_bears_decides_beside_its_start_time(bare: Stagehand, marker: str) -> None:
    """E5: ours, one inside ours, or overwritten: adopted. Another run's or home's: the record is wrong, said once, and
    its process is left alone; the run is started anew."""
    bare.apply(a_spec())
    pid = bare.pid()
    process = bare.machine.procs[pid]
    own = process.env["MIDWATCH_RUN"]
    process.env = {"MIDWATCH_RUN": marker.format(own=own, home=bare.layout.instance)}
    both_die(bare)
    assert not bare.dead(pid)
    if marker in ("0a1b2c3d:p.a.1", "{home}:p.b.1"):
        assert bare.pid() != pid
        [line] = bare.events("state.damaged")
        assert f"names process {pid}, which belongs to" in line["problem"]
    else:
        assert (bare.phase(), bare.pid()) == ("up", pid)


def test_a_run_record_torn_anywhere_costs_nothing(bare: Stagehand) -> None:
    """E5, ORP-7: cut at every eleventh byte between two daemons: the same process is adopted each time, never two."""
    bare.apply(a_spec())
    pid, path = bare.pid(), bare.layout.runs / "p.a.1.json"
    bystander = bare.machine.stranger()
    for length in range(0, len(path.read_bytes().rstrip()), 11):
        bare.keeper_dies()
        path.write_bytes(path.read_bytes().rstrip()[:length])
        bare.boot()
        bare.pass_time(0.1)
        assert (bare.phase(), bare.pid()) == ("up", pid), length
        assert not bare.dead(bystander.pid)
    assert len(bare.events("run.adopted")) > 20
    assert bare.keeper.ops("spawn").count("p.a.2") == 0
