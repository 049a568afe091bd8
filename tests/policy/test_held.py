"""Held: what time cannot cure waits for a change, looked at every minute and at reload."""

from __future__ import annotations

from typing import Any

from midwatch.model.action import Precheck, Spawn
from midwatch.model.event import Exited, Permit, Prechecked, SpawnFailed
from midwatch.model.exit import ExitFacts


def held(w: Any) -> Any:
    """A service held by exit code 78, with a known fingerprint."""
    w.come_up()
    w.feed(Exited(w.state.run, ExitFacts(78 << 8, 1.0), fingerprint="f1"), 1.0)
    return w


def unspawnable(w: Any) -> Any:
    w.ask("start")
    w.feed(Permit())
    w.feed(SpawnFailed("p.web.1", "ENOENT", "lookup", "no such file: /opt/x", lasting=True, fingerprint="f1"))
    return w


def test_code_78_holds_the_service(world: Any) -> None:
    """78 says "configuration": held, no crash counted, the words say what to do."""
    w = held(world())
    assert (w.state.phase, w.state.crash_count, w.state.fingerprint) == ("held", 0, "f1")
    assert w.field("run.exited", "cause") == ["permanent"]
    assert w.named("service.held")[0]["recheck_ms"] == 60_000
    assert w.named("run.exited")[0]["do"]
    assert w.state.restarts == {}


def test_a_held_service_rechecks_every_minute(world: Any) -> None:
    """Every 60 s one look, no line, no start while nothing changed."""
    w = held(world())
    for _ in range(100):
        before = w.t
        assert w.tick() == [Precheck()]
        assert w.t - before <= 60.0
        assert w.feed(Prechecked("f1")) == []
    assert len(w.done(Spawn)) == 1
    assert len(w.named("service.held")) == 1


def test_it_starts_when_the_precondition_changed(world: Any) -> None:
    """Another fingerprint and no problem: the next run, without asking anybody."""
    w = held(world())
    w.feed(Prechecked("f2"))
    assert w.state.phase == "starting"
    assert w.named("service.recheck")[0]["changed"] is True


def test_a_change_that_does_not_help_is_said_once(world: Any) -> None:
    """The file changed but still cannot be run: one line, stays held."""
    w = held(world())
    for _ in range(3):
        w.feed(Prechecked("f3", "the file has no execute permission"))
    assert w.state.phase == "held"
    assert len(w.named("service.recheck")) == 1
    assert "no execute permission" in w.state.decision


def test_after_a_failed_spawn_it_starts_when_the_problem_is_gone(world: Any) -> None:
    """The same fingerprint, but the look finds nothing wrong any more (a mount came back)."""
    w = unspawnable(world())
    w.feed(Prechecked("f1", "no such file"))
    assert w.state.phase == "held"
    w.feed(Prechecked("f1"))
    assert w.state.phase == "starting"


def test_after_a_permanent_code_an_unchanged_look_does_not_start(world: Any) -> None:
    """Nothing wrong with the file, but nothing changed either: the program itself said no."""
    w = held(world())
    w.feed(Prechecked("f1"))
    assert w.state.phase == "held"


def test_a_look_that_comes_late_is_ignored(world: Any) -> None:
    w = held(world())
    w.ask("stop")
    assert w.feed(Prechecked("f2")) == []
