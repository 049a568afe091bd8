"""Which stacks are idle, and that only what a plan named is stopped."""

from __future__ import annotations

import pytest
from tests.inspect.containers.engine import Engine

from midwatch.inspect.containers import idle, stop
from midwatch.inspect.containers.stop import Target
from midwatch.inspect.containers.values import Container, Picture, Seen, Usage
from midwatch.inspect.containers.values import Engine as Told

ID = "a" * 64
STARTED = 1772438400.0  # 2026-03-02 08:00 UTC
NOW = STARTED + 7200


def _stack(
    project: str, spent: float, image: str = "app", started: float = STARTED
) -> tuple[Container, Usage]:
    name = f"{project}-{image}"
    one = Container(name, name, image, status="running", started=started, project=project, service=image)
    return one, Usage(100, None, "cgroup", cpu=spent)


def _seen(*members: tuple[Container, Usage]) -> Seen:
    usage = {one.id: use for one, use in members}
    return Seen((Picture(Told("docker", "unix:///x"), tuple(one for one, _ in members), usage),))


def test_a_stack_is_idle_when_none_of_it_works() -> None:
    """REC-2: by CPU between two looks and over its life; the young and the unknown are not idle; data goes last."""
    young = _stack("young", 0.0, started=NOW - 60)
    before = _seen(
        _stack("calm", 1.0), _stack("calm", 1.0, "postgres"), _stack("busy", 10.0), young, _stack("web", 2.0)
    )
    after = _seen(
        _stack("calm", 1.0),
        _stack("calm", 1.001, "postgres"),
        _stack("busy", 10.5),
        young,
        _stack("web", 2.0),
    )
    found = idle.stacks(before, after, NOW, 1.0)
    assert [(one.project, one.datastore, len(one.targets), one.held) for one in found] == [
        ("web", False, 1, 100), ("calm", True, 2, 200),
    ]  # fmt: skip
    assert "none used more than 0.1% of a core" in found[1].why
    assert idle.stacks(_seen(), after, NOW, 1.0) == []
    worked = _seen(_stack("once", 1000.0))
    assert idle.stacks(worked, worked, NOW, 1.0) == []


def test_only_the_container_that_was_planned_is_stopped(engine: Engine) -> None:
    """S76's kin: started anew, gone, or already ended since the plan; and a stop that is made has its grace."""
    engine.add(ID, "one")
    engine.answers[f"/containers/{ID}/stop"] = (204, b"")
    target = Target(ID, "one", STARTED, engine.address)
    assert "started anew" in stop(Target(ID, "one", STARTED - 1, engine.address))
    assert not any("POST" in asked for asked in engine.asked)
    assert stop(target, 30.0) == ""
    assert engine.asked[-1] == f"POST /containers/{ID}/stop?t=30"
    engine.add("b" * 64, "ended", State={"Status": "exited"})
    assert stop(Target("b" * 64, "ended", STARTED, engine.address)) == ""
    assert sum("POST" in asked for asked in engine.asked) == 1
    assert stop(Target("c" * 64, "x", STARTED, engine.address)) == "it is gone since the plan"
    assert "not known" in stop(Target(ID, "one", STARTED, ""))


def test_an_engine_that_refuses_is_told(engine: Engine) -> None:
    """Its own words."""
    engine.add(ID, "one")
    engine.answers[f"/containers/{ID}/stop"] = (500, {"message": "cannot stop: device busy"})
    assert "device busy" in stop(Target(ID, "one", STARTED, engine.address))


@pytest.mark.parametrize(
    ("image", "data"), [("postgres:16", True), ("redis", True), ("shop/web", False), ("nginx", False)]
)
def test_what_keeps_data(image: str, data: bool) -> None:
    """By image and service names."""
    assert idle.keeps_data(Container("x", "x", image)) is data
    assert idle.keeps_data(Container("x", "x", "custom", service="db"))
