"""Saved states in the present: the same boot, another boot, and a wall clock that went back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from midwatch.model.identity import Now
from midwatch.model.service import Schedule
from midwatch.policy.rebase import rebase


def test_within_one_boot_nothing_changes(world: Any) -> None:
    w = world().lives((1, 1.0))
    assert rebase(w.state, w.now, replace(w.now, awake=w.t + 500)) is w.state


def test_another_boot_keeps_budgets_by_their_age(world: Any) -> None:
    """Ten minutes later on another boot: times are ten minutes older, counters stay, run facts are gone."""
    w = world().lives((1, 1.0), (0, 1.0))
    saved, now = w.now, Now(5.0, w.now.wall + 600.0, "boot-2")
    after = rebase(w.state, saved, now)
    ages = [saved.awake - t for t in w.state.windows["clean"]]
    assert [now.awake - t for t in after.windows["clean"]] == pytest.approx([age + 600.0 for age in ages])
    assert (after.crash_count, after.run_no, after.restarts) == (1, 2 + 1, w.state.restarts)
    assert (after.phase, after.pid, after.spawned_at, after.wake_at) == ("pending", None, None, None)
    assert "machine was restarted" in after.decision


def test_a_wall_clock_that_went_back_makes_nothing_negative(world: Any) -> None:
    """Ages never become negative: a budget spent just now was spent just now."""
    w = world().lives((0, 1.0))
    now = Now(5.0, w.now.wall - 86_400.0, "boot-2")
    assert all(t <= now.awake for times in rebase(w.state, w.now, now).windows.values() for t in times)


def test_a_stop_that_the_reboot_finished(world: Any) -> None:
    """What was being stopped is stopped; what was being restarted starts."""
    w = world().come_up()
    w.ask("stop")
    other = Now(1.0, w.now.wall + 60, "boot-2")
    assert rebase(w.state, w.now, other).phase == "stopped"
    w.ask("restart")
    assert rebase(w.state, w.now, other).phase == "pending"


@pytest.mark.parametrize(("history", "rules", "phase"), [
    ([(78, 1.0)], {}, "held"),
    ([(1, 1.0)], {"budgets": {"crash_hard": 1}}, "gave_up"),
    ([(0, 1.0)], {"oneshot": True}, "done"),
    ([], {}, "stopped"),
    ([(0, 1.0)], {"schedule": Schedule("* * * * *")}, "scheduled"),
])  # fmt: skip
def test_ends_outlive_a_boot(world: Any, history: Any, rules: Any, phase: str) -> None:
    """held, gave_up, done and stopped stay, with their words; held is looked at at once."""
    w = world(**rules).lives(*history)
    now = Now(3.0, w.now.wall + 60, "boot-2")
    after = rebase(w.state, w.now, now)
    assert (after.phase, after.decision) == (phase, w.state.decision)
    assert after.wake_at == (3.0 if phase == "held" else None)
