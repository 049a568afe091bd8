"""The machine runs short, or all services together hold too much: who has to go, and when nobody has."""

from __future__ import annotations

import pytest
from tests.engine.conftest import Stagehand, a_spec

from midwatch.engine.guard.sampler import Sampler
from midwatch.model.service import MemoryLines
from midwatch.policy import defaults

MIB, GIB = 1 << 20, 1 << 30


def started(stage: Stagehand, *names: str, **priorities: str) -> Sampler:
    """Services, each at 1 MiB, on a machine with 16 GiB; their guard runs."""
    stage.apply(*(a_spec(name, priority=priorities.get(name, "normal")) for name in names))
    stage.do(stage.engine.guards.start)
    stage.pass_time(1)
    return stage.engine.guards


def grow(stage: Stagehand, name: str, size: int) -> None:
    stage.machine.procs[stage.pid(name)].held_bytes = size


def test_in_danger_the_largest_of_the_lowest_priority_goes(bare: Stagehand) -> None:
    """Guards 6.2: victims among our own, by priority and size; one at a time, with the intent before the signal."""
    started(bare, "a", "b", "c", c="expendable")
    for name, size in (("a", 6), ("b", 2), ("c", 2)):
        for part in range(1, size * 4 + 1):
            grow(bare, name, part * GIB // 4)
            bare.pass_time(6)
    bare.machine.memory.available_bytes = 400 * MIB
    bare.pass_time(3)
    (pressure,) = bare.events("host.pressure")
    assert pressure["level"] in ("danger", "critical")
    gone = bare.events("run.exited")
    assert [line["service"] for line in gone] == ["p/c"]
    assert gone[0]["cause"] == "memory-guard"
    (tripped,) = [line for line in bare.events("guard.tripped") if line["level"] == "hard"]
    assert tripped["guard"] == "host"


def test_nobody_worth_ending_is_said_once(bare: Stagehand) -> None:
    """Guards 6.2.8: when nothing of ours would help it says so and does nothing; once an episode, and its end."""
    started(bare, "a", "b")
    bare.machine.memory.available_bytes = 300 * MIB
    bare.pass_time(60)
    assert len(bare.events("host.nobody")) == 1
    assert len(bare.events("host.pressure")) == 1
    assert bare.events("run.exited", "guard.tripped") == []
    bare.machine.memory.available_bytes = None
    bare.pass_time(90)
    assert len(bare.events("host.ok")) == 1


def test_pressure_alone_only_slows_starts_down(bare: Stagehand) -> None:
    """Guards 5: stalls with plenty of memory end nobody; starts are spread out."""
    started(bare, "a")
    grow(bare, "a", 2 * GIB)
    bare.machine.memory.some = bare.machine.memory.full = 40.0
    bare.pass_time(20)
    assert bare.events("run.exited", "guard.tripped") == []
    begun: list[float] = []
    for _ in range(3):
        bare.do(lambda: bare.engine.pulse.pace(lambda: begun.append(bare.machine.awake)))
    bare.pass_time(2)
    assert len(begun) == 3
    assert begun[-1] - begun[0] >= 2 * defaults.STAGGER - 0.01


def test_all_together_over_the_budget(bare: Stagehand) -> None:
    """F14: three services without lines of their own hold no more than the machine budget; one of them goes."""
    guards = started(bare, "a", "b", "c")
    whole = guards.budget.whole
    assert whole == int(0.8 * 16 * GIB)
    assert sum(guards.budget.of(bare.service(name)).warn for name in "abc") <= whole
    for part in range(1, 21):
        for name in "abc":
            grow(bare, name, part * whole // 58)
        bare.pass_time(3)
    bare.pass_time(20)
    assert bare.events("budget.over") != []
    assert len(bare.events("run.exited")) >= 1


def test_who_is_over_its_own_line_goes_first(bare: Stagehand) -> None:
    """Guards 6.2.1: its own hard line comes before everything else."""
    bare.apply(a_spec("a", memory=MemoryLines(hard=GIB)), a_spec("b"))
    bare.do(bare.engine.guards.start)
    bare.pass_time(1)
    for part in range(1, 30):
        grow(bare, "b", part * 200 * MIB)
        bare.pass_time(6)
    grow(bare, "a", 2 * GIB)
    bare.machine.memory.available_bytes = 200 * MIB
    bare.pass_time(1)
    assert [line["service"] for line in bare.events("run.exited")] == ["p/a"]


def test_the_kernels_trigger_wakes_the_sampler(bare: Stagehand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards 5: a stall is looked at when it happens, not at the next look; without a trigger nothing breaks."""
    bare.machine.memory.some = None
    guards = started(bare, "a")
    assert guards.host._trigger is None
    bare.do(guards.hurry)
    assert guards.watches["p/a"].sample is not None
    assert bare.machine.awake - guards.watches["p/a"].sample.at < 0.1


def test_a_share_of_the_budget_as_the_line(bare: Stagehand) -> None:
    """F12, F13: `hard = "auto"` takes the share of what the machine has, never more than half of it."""
    bare.apply(a_spec("a", memory=MemoryLines(hard="auto")), a_spec("b"))
    bare.machine.memory.limit_bytes = 4 * GIB
    bare.do(bare.engine.guards.start)
    bare.pass_time(1)
    lines = bare.engine.guards.lines(bare.service("a"))
    assert lines["hard_bytes"] is not None
    assert lines["hard_bytes"] <= 2 * GIB
    assert lines["by"] == "polling"
    assert "cgroup" in bare.engine.guards.state()["basis"]
