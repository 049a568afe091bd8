"""Asking a run to leave: by signal, by a command, and what is said when that cannot be done."""

from __future__ import annotations

import signal

import pytest
from tests.engine.conftest import Stagehand, a_spec

from midwatch.model.action import Drain
from midwatch.model.service import DrainRules


def asked(stage: Stagehand, rules: DrainRules | None) -> None:
    stage.apply(a_spec(drain=rules))
    service = stage.service()
    stage.do(lambda: stage.engine.guards.drains.ask(service, Drain("p.a.1")))


def test_the_signal_goes_to_the_main_process_alone(bare: Stagehand) -> None:
    """Its children are asked by itself, if at all."""
    bare.apply(a_spec(drain=DrainRules(signal=int(signal.SIGUSR1))))
    main = bare.machine.procs[bare.pid()]
    child = bare.machine.fork(main.pid)
    for process in (main, bare.machine.procs[child.pid]):
        process.leaves = {signal.SIGUSR1: (0.0, 12 << 8)}
    service = bare.service()
    bare.do(lambda: bare.engine.guards.drains.ask(service, Drain("p.a.1")))
    bare.pass_time(0.1)
    assert bare.dead(main.pid)


def test_the_command_has_the_runs_environment(bare: Stagehand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook of the service: its marker, its folder, its pid."""
    seen: list[dict[str, object]] = []

    class Hook:
        def __init__(self, argv: object, timeout: float, done: object, **more: object) -> None:
            seen.append({"argv": argv, "timeout": timeout, **more})

        def cancel(self) -> None:
            seen.append({"cancelled": True})

    monkeypatch.setattr("midwatch.engine.guard.drain.Helper", Hook)
    asked(bare, DrainRules(command=("drain.sh", "now"), within=7.0))
    (call,) = seen
    env = call["env"]
    assert isinstance(env, dict)
    assert (call["argv"], call["timeout"], call["cwd"]) == (("drain.sh", "now"), 7.0, "/")
    assert env["MIDWATCH_RUN"].endswith("p.a.1")
    assert env["MIDWATCH_PID"] == str(bare.pid())
    bare.do(lambda: bare.engine.guards.drains.over("p.a.1"))
    assert seen[-1] == {"cancelled": True}


def test_a_command_that_cannot_be_run_is_said(bare: Stagehand) -> None:
    """The policy's deadline does the rest."""
    asked(bare, DrainRules(command=("/nowhere/drain",)))
    (warning,) = bare.events("limit.warning")
    assert "cannot be run" in warning["message"]


@pytest.mark.parametrize("rules", [None, DrainRules()])
def test_who_has_not_said_how_is_not_asked(bare: Stagehand, rules: DrainRules | None) -> None:
    """Nothing is invented."""
    asked(bare, rules)
    assert bare.phase() == "up"
    assert bare.events("limit.warning") == []


