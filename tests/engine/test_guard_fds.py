"""Descriptors that go faster than regular counts, on the fake machine: who asked for it is counted faster (FDW-10)."""

from __future__ import annotations

from tests.engine.conftest import Stagehand, a_spec

from midwatch.model.finding import FdSnapshot
from midwatch.model.service import FdRules, Window
from midwatch.policy import defaults


def opening(stage: Stagehand, seconds: float, rate: int, name: str = "a") -> None:
    """So long it opens `rate` descriptors a second, under a limit of 256."""
    run = stage.service(name).state.run
    for _ in range(int(seconds * 10)):
        service = stage.service(name)
        if service.state.run != run or service.state.phase != "up":
            return
        process = stage.machine.procs[stage.pid(name)]
        process.fd_limit = 256
        process.fds = (process.fds or 10) + rate // 10
        assert process.fds < 256, "EMFILE"
        stage.pass_time(0.1)


def begin(stage: Stagehand, rules: FdRules) -> None:
    stage.apply(a_spec(fds=rules))
    stage.do(stage.engine.guards.start)
    stage.pass_time(1)


def test_twenty_a_second_under_256_are_restarted_before_emfile(bare: Stagehand) -> None:
    """FDW-10 and scenario 35 at speed: the table goes on record, then it is restarted, with descriptors to spare."""
    begin(bare, FdRules(action="restart"))
    bare.machine.procs[bare.pid()].table = FdSnapshot(0.0, (("/srv/state.db", "sqlite-main", 40),))
    opening(bare, 20, 20)
    bare.pass_time(20)
    (gone,) = bare.events("run.exited")
    assert gone["cause"] == "fd-guard"
    (tripped,) = [line for line in bare.events("guard.tripped") if line["level"] == "hard"]
    assert 179 < tripped["open"] < 240
    assert "more each second: full in" in tripped["decision"]
    assert bare.events("fds.record")[0]["by_kind"] == {"sqlite-main": 40}
    assert (bare.phase(), bare.service().state.run) == ("up", "p.a.2")


def test_a_second_leak_within_its_budget_is_only_said(bare: Stagehand) -> None:
    """Scenario 36: 1 in 15 min and 4 a day of its own; the crash budget is not touched, and after it there is room."""
    begin(bare, FdRules(action="restart"))
    assert Window(1, 900.0) == defaults.FDS
    assert Window(4, 86400.0) == defaults.FDS_SLOW
    opening(bare, 20, 20)
    bare.pass_time(20)
    opening(bare, 11, 20)
    bare.pass_time(60)
    assert len(bare.events("run.exited")) == 1
    (spent,) = bare.events("budget.exhausted")
    assert spent["budget"] == "fds"
    assert bare.service().state.crash_count == 0
    bare.pass_time(900)
    assert len(bare.events("run.exited")) == 2, "still close to its limit when the window has drained"


def test_who_did_not_ask_is_not_counted_faster(bare: Stagehand) -> None:
    """The default action is to say it: no timer, no restart."""
    begin(bare, FdRules())
    assert bare.engine.guards.fds._timer is None
    opening(bare, 11, 20)
    bare.pass_time(30)
    assert bare.events("run.exited") == []


def test_a_start_that_opens_many_and_is_done_lives(bare: Stagehand) -> None:
    """A pool of 200 under 256 is close, but full it is not: three regular counts decide, here it has closed some."""
    begin(bare, FdRules(action="restart"))
    process = bare.machine.procs[bare.pid()]
    process.fds, process.fd_limit = 215, 256
    bare.pass_time(4)
    process.fds = 100
    bare.pass_time(60)
    assert bare.events("run.exited") == []


def test_rules_that_are_taken_back_end_the_counting(bare: Stagehand) -> None:
    """A reload without fds.action = "restart": the timer goes."""
    begin(bare, FdRules(action="restart"))
    assert bare.engine.guards.fds._timer is not None
    bare.apply(a_spec(fds=FdRules()))
    bare.pass_time(5)
    assert bare.engine.guards.fds._timer is None
