"""H17: the exit code of `run`, so that Restart=on-failure does the right thing."""

from __future__ import annotations

from typing import Any

import pytest

from midwatch.model.exit import ExitFacts
from midwatch.policy.exitcode import run_exit_code


def test_gave_up_and_held_are_three(world: Any) -> None:
    gave_up = world(budgets={"crash_hard": 1}).lives((1, 1.0))
    assert run_exit_code(gave_up.state, ExitFacts(1 << 8, 1.0)) == 3
    assert run_exit_code(world().lives((78, 1.0)).state, ExitFacts(78 << 8, 1.0)) == 3


def test_a_stop_that_was_asked_for_and_a_clean_end_are_zero(world: Any) -> None:
    w = world().come_up()
    w.ask("stop")
    assert run_exit_code(w.state, ExitFacts(15, 1.0)) == 0
    assert run_exit_code(world(on_clean="stop").lives((0, 1.0)).state, ExitFacts(0, 1.0)) == 0


@pytest.mark.parametrize(("facts", "code"), [
    (ExitFacts(7 << 8, 1.0), 7), (ExitFacts(9, 1.0), 137), (ExitFacts(None, 1.0), 1), (None, 1),
])  # fmt: skip
def test_else_it_is_the_commands_own_code(world: Any, facts: ExitFacts | None, code: int) -> None:
    """A code as it is, 128+N for a signal, 1 when nobody knows."""
    assert run_exit_code(world().come_up().state, facts) == code
