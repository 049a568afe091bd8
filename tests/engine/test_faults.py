"""G11: a bug of our own in a probe, a guard, a pass or an action is recorded once; everything else goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.engine.conftest import Stagehand, a_spec

from midwatch.engine import asking
from midwatch.engine.guard import leaks
from midwatch.model.service import MemoryLines, Probe
from midwatch.policy.guard.memory import judge as real

MIB = 1 << 20


class Bug(RuntimeError):
    """Ours."""


def boom(*_: Any, **__: Any) -> Any:
    raise Bug("no such attribute")


def broken_for(name: str, works: Callable[..., Any], at: int) -> Callable[..., Any]:
    """Raises for the run of one service, works for all others. `at`: which argument is the run's id."""

    def judge(*args: Any) -> Any:
        return boom() if f".{name}." in args[at] else works(*args)

    return judge


@pytest.fixture
def two(bare: Stagehand) -> Stagehand:
    """Services a and b under a hard line, watched. What is wrong with them is wanted."""
    bare.faults_expected = True
    line = MemoryLines(hard=512 * MIB)
    bare.apply(a_spec("a", memory=line), a_spec("b", memory=line))
    bare.do(bare.engine.guards.start)
    bare.do(bare.engine.pulse.start)
    bare.pass_time(1)
    return bare


def hold(stage: Stagehand, name: str, size: int) -> None:
    stage.machine.procs[stage.pid(name)].held_bytes = size


def test_g11_a_guard_that_fails_for_one_service_only_watches_it(
    two: Stagehand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G11: one line for the episode, no action on a's number; b is ended at its line; then a is guarded again."""
    monkeypatch.setattr("midwatch.engine.guard.sampler.judge", broken_for("a", real, 1))
    hold(two, "a", 600 * MIB)
    hold(two, "b", 600 * MIB)
    two.pass_time(40)
    assert [line["service"] for line in two.events("run.exited")] == ["p/b"]
    (said,) = two.events("engine.fault")
    assert (said["service"], said["part"]) == ("p/a", "memory guard")
    assert "Bug: no such attribute" in said["error"]
    assert said["where"].startswith("test_faults.py:")
    assert two.engine.guards.watches["p/a"].value == 600 * MIB, "it is still watched"
    monkeypatch.setattr("midwatch.engine.guard.sampler.judge", real)
    two.pass_time(90)
    assert [line["service"] for line in two.events("run.exited")] == ["p/b", "p/a"]
    assert two.events("engine.fault")[-1]["over"] is True


def test_g11_a_pass_that_fails_is_followed_by_the_next(two: Stagehand, monkeypatch: pytest.MonkeyPatch) -> None:
    """G11: a fault injected into the sampler itself, for a while; afterwards lines hold again."""
    monkeypatch.setattr(two.engine.guards.budget, "look", boom)
    hold(two, "a", 600 * MIB)
    two.pass_time(30)
    assert two.events("run.exited") == []
    assert [line["part"] for line in two.events("engine.fault")] == ["sampler"]
    monkeypatch.undo()
    two.pass_time(15)
    assert [line["service"] for line in two.events("run.exited")] == ["p/a"]


@pytest.mark.parametrize("method", ["meter", "read", "host_sample", "confirm"])
def test_g11_a_machine_that_raises_what_nobody_expects(two: Stagehand, method: str) -> None:
    """G11: any exception of a reading is one line, and the line is held as soon as it can be read again."""
    two.machine.fail(method, Bug("surprise"), 3)
    hold(two, "a", 600 * MIB)
    two.exits("b", code=1)  # b needs a new meter
    two.pass_time(30)
    assert "p/a" in [line["service"] for line in two.events("run.exited")]
    assert two.phase("a") == two.phase("b") == "up"


def test_g11_a_leak_watch_that_fails_costs_no_memory_guard(two: Stagehand, monkeypatch: pytest.MonkeyPatch) -> None:
    """G11: parts of one guard fail apart."""
    monkeypatch.setattr(leaks, "fold", boom)
    two.pass_time(40)
    hold(two, "a", 600 * MIB)
    two.pass_time(15)
    assert {(line["service"], line["part"]) for line in two.events("engine.fault")} == {
        ("p/a", "leak watch"), ("p/b", "leak watch"),
    }  # fmt: skip
    assert [line["service"] for line in two.events("run.exited")] == ["p/a"]


def test_g11_a_probe_of_ours_that_fails_is_no_failure_of_the_service(
    bare: Stagehand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G11: a health probe with a bug restarts nobody, a ready probe with one makes nobody late."""
    bare.faults_expected = True
    real = asking._in_file
    monkeypatch.setattr(asking, "_in_file", boom)
    late = Probe(file="/there", within=20.0, every=0.5)
    bare.apply(a_spec("a", health=Probe(file="/beat", every=2.0)), a_spec("b", ready=late))
    bare.pass_time(120)
    assert bare.events("run.exited", "health.failed", "probe.failed") == []
    assert (bare.phase("a"), bare.phase("b")) == ("up", "starting")
    faults = [(line["service"], line["part"]) for line in bare.events("engine.fault")]
    assert sorted(faults) == [("p/a", "health probe"), ("p/b", "ready probe")]
    monkeypatch.setattr(asking, "_in_file", real)
    bare.pass_time(60)
    assert bare.events("health.failed") != [], "asked again: what it says counts again"


def test_g11_an_answer_with_a_bug_over_the_network(bare: Stagehand, monkeypatch: pytest.MonkeyPatch) -> None:
    """G11: the same where the exception comes out of a task."""
    bare.faults_expected = True

    async def bug(*_: Any) -> asking.Answer:
        return boom()  # type: ignore[no-any-return]

    monkeypatch.setattr(asking, "_over_network", bug)
    bare.apply(a_spec("a", health=Probe(tcp="127.0.0.1:1", every=1.0)))
    bare.pass_time(30)
    assert [line["part"] for line in bare.events("engine.fault")] == ["health probe"]
    assert bare.phase() == "up"


def test_g11_an_action_that_fails_does_not_take_the_others_with_it(
    two: Stagehand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G11: evidence that cannot be captured does not hold up the kill that follows it."""
    monkeypatch.setattr(two.engine.captures, "take", boom)
    hold(two, "a", 600 * MIB)
    two.pass_time(15)
    assert [line["service"] for line in two.events("run.exited")] == ["p/a"]
    assert "action Capture" in {line["part"] for line in two.events("engine.fault")}
    assert two.phase("a") == "up"
