"""H17: the exit code of `run`, so that Restart=on-failure does the right thing."""

from __future__ import annotations

from typing import Any

from midwatch.model.event import Permit, PortBusy
from midwatch.policy.exitcode import run_exit_code


def test_gave_up_and_held_are_three(world: Any) -> None:
    gave_up = world(budgets={"crash_hard": 1}).lives((1, 1.0))
    assert run_exit_code(gave_up.state) == 3
    assert run_exit_code(world().lives((78, 1.0)).state) == 3


def test_a_stop_that_was_asked_for_and_a_clean_end_are_zero(world: Any) -> None:
    w = world().come_up()
    w.ask("stop")
    assert run_exit_code(w.state) == 0
    assert run_exit_code(world(on_clean="stop").lives((0, 1.0)).state) == 0


def test_a_port_conflict_is_78(world: Any) -> None:
    """ORP-6: the outer manager is told that trying again at once cannot help; 1 is for what has no code of its own."""
    w = world()
    w.ask("start")
    w.feed(Permit())
    w.feed(PortBusy("p.web.1", 8787, "stranger", "nginx (pid 7)"))
    assert run_exit_code(w.state) == 78
    assert run_exit_code(world().come_up().state) == 1
