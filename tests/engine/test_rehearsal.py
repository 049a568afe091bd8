"""The rehearsal on the fake machine: it delays nothing, its failure is said once, a busy machine is tried again."""

from __future__ import annotations

from tests.engine.conftest import Stagehand, a_spec

from midwatch.engine import rehearsal
from midwatch.engine.status import status_report
from midwatch.policy import defaults


def test_its_rungs_are_shown_beside_the_others(bare: Stagehand) -> None:
    """`ps --json`: daemon.rungs, once it is over; the services were there before."""
    bare.apply(a_spec())
    bare.do(lambda: rehearsal.rehearse_later(bare.engine))
    assert "rehearsal" not in status_report(bare.engine)["daemon"]["rungs"]
    bare.pass_time(defaults.REHEARSE_AFTER + 0.1)
    rungs = status_report(bare.engine)["daemon"]["rungs"]
    assert (rungs["rehearsal"], rungs["kill"]) == ("yes", "yes")
    assert bare.events("limit.warning") == []


def test_its_failure_is_said_once(bare: Stagehand) -> None:
    """What has no way around is a warning; `SIGSTOP only` is none."""
    bare.machine.rungs_tried = {"rehearsal": "failed: no room", "freeze": "SIGSTOP only: no cgroup"}
    bare.do(lambda: rehearsal.rehearse_later(bare.engine))
    bare.pass_time(400)
    [warning] = bare.events("limit.warning")
    assert "rehearsal: failed: no room" in warning["message"]
    assert "SIGSTOP" not in warning["message"]
    bare.machine.fail("rehearse", RuntimeError("can't start new thread"))
    bare.do(lambda: rehearsal.rehearse(bare.engine))
    bare.pass_time(1)
    assert "can't start new thread" in status_report(bare.engine)["daemon"]["rungs"]["rehearsal"]


def test_a_busy_machine_is_tried_again_three_times_at_most(bare: Stagehand) -> None:
    """Bounded; the last answer stays."""
    bare.machine.rungs_tried = {"rehearsal": "yes", "kill": "not tried to the end: the machine is too busy"}
    bare.do(lambda: rehearsal.rehearse_later(bare.engine))
    bare.pass_time(70)
    bare.machine.rungs_tried = {"rehearsal": "yes", "kill": "yes"}
    bare.pass_time(60)
    assert bare.engine.rehearsed["kill"] == "yes"
    bare.machine.rungs_tried = {}
    bare.pass_time(200)
    assert bare.engine.rehearsed["kill"] == "yes"
