"""Time in which everything stood still is nobody's fault: G12, and scenario A4 over a pause."""

from __future__ import annotations

from typing import Any

from midwatch.model.event import Probed, Woke
from midwatch.model.service import Probe, Schedule, Window

HEALTH = Probe(tcp="x:1", failures=3)
NIGHT = 8 * 3600.0


def pause(w: Any, seconds: float = NIGHT) -> list[Any]:
    """The whole container stood still: the awake clock went on."""
    return w.feed(Woke(seconds, seconds), seconds)  # type: ignore[no-any-return]


def probe(w: Any, kind: Any, ok: bool) -> None:
    w.feed(Probed(w.state.run, kind, ok, "no"), 30.0)


def test_a_fresh_full_count_is_required(world: Any) -> None:
    """G12: two failures before a sleep and one after it are no verdict; the deep probe counts afresh as well."""
    w = world(health=HEALTH, deep=HEALTH).come_up()
    for kind in ("health", "health", "deep", "deep"):
        probe(w, kind, False)
    w.wall += NIGHT
    w.feed(Woke(NIGHT, 0.0))
    assert w.named("service.forgiven") == [{"gap_ms": 28_800_000}]
    for kind in ("health", "deep", "health", "deep"):
        probe(w, kind, False)
    assert w.state.phase == "up"
    probe(w, "health", False)
    assert w.state.phase == "stopping"


def test_one_that_is_failing_already_needs_a_full_count_too(world: Any) -> None:
    """Left running with a spent budget, asleep, awake: three failures before it is restarted, and said once."""
    w = world(health=HEALTH, budgets={"unhealthy": Window(1, 100.0)}).come_up()
    for _ in range(2):
        for _ in range(3):
            probe(w, "health", False)
        if w.state.phase == "stopping":
            w.exit(signal=15)
            w.tree_gone()
            w.come_up()
    assert (w.state.phase, w.state.health) == ("up", "failing")
    w.feed(Woke(NIGHT, 0.0), 200.0)
    probe(w, "health", False)
    probe(w, "health", False)
    assert w.state.phase == "up"
    probe(w, "health", False)
    assert w.state.phase == "stopping"
    assert len(w.named("health.failed")) == 2


def test_nothing_to_forgive_is_not_said(world: Any) -> None:
    w = world()
    assert w.feed(Woke(NIGHT, 0.0)) == []
    assert w.come_up().feed(Woke(NIGHT, 0.0)) == []


def test_patience_does_not_run_in_a_pause(world: Any) -> None:
    """The readiness of a start and the grace of a stop get what the pause took."""
    w = world(ready=HEALTH).come_up()
    deadline = w.state.wake_at
    pause(w)
    assert w.state.wake_at == deadline + NIGHT
    w.feed(Probed("p.web.1", "ready", True), 1.0)
    assert w.field("run.ready", "ready_ms") == [1000]
    w.ask("stop")
    ends = w.state.wake_at
    pause(w)
    assert w.state.wake_at == ends + NIGHT


def test_a_pause_is_no_stable_life(world: Any) -> None:
    """A4: it neither heals nor breaks: 8 h of standing still do not reset the crash count, nor close an episode."""
    w = world(budgets={"crash": 2}).lives((1, 1.0), (1, 1.0)).come_up()
    healed_at = w.state.wake_at
    pause(w)
    assert w.state.wake_at == healed_at + NIGHT
    w.exit(1, 5.0)
    assert w.state.crash_count == 3
    assert not w.named("health.recovered")
    assert w.named("run.exited")[-1]["duration_ms"] == round((NIGHT + 5) * 1000)
    w.come_up()
    assert w.state.forgiven == 0.0


def test_windows_are_not_charged_nor_drained(world: Any) -> None:
    """Ten clean ends before the pause and one after it are eleven in a row."""
    w = world().lives(*[(0, 0.1)] * 10).come_up()
    pause(w)
    w.exit(0, 0.1)
    assert w.field("health.warn", "count") == [11]


def test_a_wait_is_over_when_its_time_has_come(world: Any) -> None:
    """A delay protects others, and they stood still as well: it ends on time; windows are shifted and that is said."""
    w = world().lives((1, 1.0))
    wake = w.state.wake_at
    assert pause(w)
    assert (w.state.phase, w.state.wake_at) == ("backoff", wake)
    w.tick()
    assert w.state.phase == "starting"


def test_a_deadline_is_extended(world: Any) -> None:
    w = world(schedule=Schedule("* * * * *", deadline=60.0)).come_up()
    w.ask("start")
    w.spawned()
    pause(w)
    w.tick()
    assert w.named("health.failed")[0]["decision"] == "not done within 1 m, its deadline"
