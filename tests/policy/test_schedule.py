"""Scheduled services: armed, one run at a time, a deadline, and times that were missed."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from midwatch.model.action import Capture, Signal, Spawn
from midwatch.model.event import Due, NewRules, Permit, PortBusy, Prechecked, Probed, SpawnFailed
from midwatch.model.service import Probe, Schedule

NIGHTLY = Schedule("0 3 * * *", zone="Europe/Berlin")
HOUR = 3600.0


def armed(w: Any) -> Any:
    w.ask("start", "arm")
    w.feed(Permit())
    return w


def due(w: Any, slot: float, **more: Any) -> list[Any]:
    return w.feed(Due(slot, **more))  # type: ignore[no-any-return]


def ran(w: Any, slot: float, code: int = 0, life: float = 5.0) -> None:
    due(w, slot)
    w.spawned()
    w.exit(code, life)


def test_the_first_start_arms_it(world: Any) -> None:
    """Through the fleet, like any start; the job is done when it waits for its time, nothing was spawned."""
    w = world(schedule=NIGHTLY)
    w.ask("start", "arm")
    assert w.state.phase == "pending"
    w.feed(Permit())
    assert (w.state.phase, w.jobs["arm"], w.state.wake_at) == ("scheduled", [True], None)
    assert w.named("schedule.armed") == [{"cron": "0 3 * * *", "zone": "Europe/Berlin"}]
    assert not w.done(Spawn)


def test_it_runs_at_its_time_and_waits_for_the_next(world: Any) -> None:
    """A clean end is no restart; a time that is told twice is one."""
    w = armed(world(schedule=NIGHTLY))
    for slot in (1.0, 2.0, 3.0):
        ran(w, slot)
        assert (w.state.phase, w.state.slot, w.state.crash_count) == ("scheduled", slot, 0)
        assert due(w, slot) == []
    assert len(w.done(Spawn)) == 3
    assert not w.named("backoff")
    assert (w.state.restarts, w.state.windows) == ({}, {})


def test_times_count_from_the_moment_it_has_its_schedule(world: Any) -> None:
    """`begin` moves the slot and nothing else, in every phase that a time may come in."""
    w = armed(world(schedule=NIGHTLY))
    due(w, 5.0, begin=True)
    assert (w.state.phase, w.state.slot) == ("scheduled", 5.0)
    assert w.named("schedule.begin") == [{"slot": 5.0}]
    w.ask("start")
    due(w, 6.0, begin=True)
    assert w.state.slot == 6.0
    assert not w.named("schedule.skipped")


def test_start_and_restart_run_it_now(world: Any) -> None:
    """The second start means now; its job is done when it is up."""
    w = armed(world(schedule=NIGHTLY))
    for verb in ("start", "restart"):
        w.ask(verb, verb)
        assert w.state.phase == "starting"
        w.spawned()
        assert w.jobs[verb] == [True]
        w.exit(0)
    assert w.state.phase == "scheduled"


@pytest.mark.parametrize(("code", "ok"), [(0, True), (1, False)])
def test_a_job_of_a_run_that_ends_before_it_is_ready(world: Any, code: int, ok: bool) -> None:
    w = armed(world(schedule=NIGHTLY, ready=Probe(tcp="x:1")))
    w.ask("start", "now")
    w.spawned()
    w.exit(code)
    assert w.jobs["now"] == [ok]


def test_single_flight(world: Any) -> None:
    """A time that comes while it runs, stops, or waits is skipped and said, each once."""
    w = armed(world(schedule=NIGHTLY))
    due(w, 1.0)
    due(w, 2.0)
    w.spawned()
    due(w, 3.0, missed=2)
    w.ask("restart")
    due(w, 4.0)
    due(w, 4.0)
    w.exit(signal=15)
    due(w, 5.0)
    skipped = w.named("schedule.skipped")
    assert [n["reason"] for n in skipped] == ["starting", "running", "running", "killing"]
    assert skipped[1] == {"slot": 3.0, "missed": 2, "reason": "running", "run_id": "p.web.1"}
    assert len(w.done(Spawn)) == 1
    assert w.state.slot == 5.0


def test_a_service_that_nobody_wants_is_not_run(world: Any) -> None:
    w = armed(world(schedule=NIGHTLY))
    w.ask("stop", "s")
    assert (w.state.phase, w.jobs["s"]) == ("stopped", [True])
    assert due(w, 1.0) == []
    armed_again = world(schedule=NIGHTLY).come_up()
    armed_again.ask("stop")
    assert due(armed_again, 1.0) == []


def test_with_catch_up_one_run_stands_for_all(world: Any) -> None:
    """Issue 3.5: after a sleep of days one run, which says for how many it stands."""
    w = armed(world(schedule=NIGHTLY))
    due(w, 9.0, missed=6, late=3 * HOUR)
    assert w.named("schedule.due")[0]["missed"] == 6
    assert w.state.decision == "its time has come; 6 earlier one(s) were missed, this run stands for all"
    assert len(w.done(Spawn)) == 1


def test_without_catch_up_a_late_time_is_skipped(world: Any) -> None:
    """Later than a minute: not run, said; in time it runs, although earlier ones were missed."""
    w = armed(world(schedule=replace(NIGHTLY, catch_up=False)))
    due(w, 8.0, missed=5, late=60.1)
    assert w.state.phase == "scheduled"
    assert w.named("schedule.skipped") == [{"slot": 8.0, "missed": 5, "reason": "late"}]
    due(w, 9.0, missed=6, late=60.0)
    assert w.state.phase == "starting"
    assert "stands for" not in w.named("schedule.due")[0]["decision"]


def test_a_failure_waits_for_the_next_time_too(world: Any) -> None:
    """No immediate retry whatever the cause; ten in a row are one warning, a success closes it."""
    w = armed(world(schedule=NIGHTLY))
    for slot in range(9):
        ran(w, float(slot), 1)
    assert not w.named("health.warn")
    for slot in range(9, 14):
        ran(w, float(slot), 137)
    assert [(n["reason"], n["count"]) for n in w.named("health.warn")] == [("schedule_failing", 10)]
    assert (w.state.phase, w.state.crash_count) == ("scheduled", 14)
    assert not w.named("backoff")
    ran(w, 20.0)
    assert w.field("health.recovered", "budget") == ["schedule"]
    assert (w.state.crash_count, w.state.episodes) == (0, {})


def test_a_drain_is_no_failure(world: Any) -> None:
    w = armed(world(schedule=NIGHTLY, drain_code=12))
    ran(w, 1.0, 12)
    assert w.state.crash_count == 0


def test_code_78_holds_it_until_something_changes(world: Any) -> None:
    """Held; cured, it is armed and not run at an odd time."""
    w = armed(world(schedule=NIGHTLY))
    ran(w, 1.0, 78)
    assert w.state.phase == "held"
    due(w, 2.0)
    assert w.field("schedule.skipped", "reason") == ["held"]
    w.feed(Prechecked("other"))
    assert w.state.phase == "scheduled"


def test_a_start_that_fails_for_now_waits_for_the_next_time(world: Any) -> None:
    w = armed(world(schedule=NIGHTLY))
    due(w, 1.0)
    w.feed(SpawnFailed(w.state.run, "EAGAIN", "fork", "no more processes", lasting=False))
    assert (w.state.phase, w.state.crash_count) == ("scheduled", 1)


def test_a_busy_port_makes_it_late_only(world: Any) -> None:
    """A conflict is no failure: tried again until the port is free."""
    w = armed(world(schedule=NIGHTLY))
    due(w, 1.0)
    w.feed(PortBusy(w.state.run, 80, "stranger", "nginx"))
    assert w.state.phase == "waiting"
    w.tick()
    assert (w.state.phase, w.state.crash_count) == ("starting", 0)


def test_the_deadline_stops_it(world: Any) -> None:
    """deadline: evidence, the stop ladder, cause unhealthy, a failure, the next time; no budget of restarts spent."""
    w = armed(world(schedule=replace(NIGHTLY, deadline=600.0)))
    due(w, 1.0)
    w.spawned()
    assert w.state.wake_at == w.t + 600.0
    w.tick()
    assert w.state.phase == "stopping"
    assert [type(a) for a in w.actions if isinstance(a, Capture | Signal)] == [Capture, Signal]
    assert w.named("health.failed")[0]["reason"] == "deadline"
    w.exit(signal=15)
    w.tree_gone()
    assert (w.state.phase, w.state.crash_count, w.state.windows) == ("scheduled", 1, {})
    exited = w.named("run.exited")[0]
    assert (exited["cause"], exited["because"][1]) == ("unhealthy", "not done within 10 m, its deadline")
    assert "waits for its next time" in exited["decision"]
    assert w.state.restarts == {}


def test_the_deadline_holds_while_it_starts_too(world: Any) -> None:
    """The earlier of both: its readiness, its deadline."""
    w = armed(world(schedule=replace(NIGHTLY, deadline=10.0), ready=Probe(tcp="x:1", within=25.0)))
    due(w, 1.0)
    w.spawned()
    w.tick()
    assert w.field("health.failed", "reason") == ["deadline"]
    later = armed(world(schedule=replace(NIGHTLY, deadline=99.0), ready=Probe(tcp="x:1", within=25.0)))
    due(later, 1.0)
    later.spawned()
    later.tick()
    assert later.field("health.failed", "reason") == ["not_ready"]
    later.exit(signal=15)
    later.tree_gone()
    assert (later.state.phase, later.state.crash_count) == ("scheduled", 1)


def test_an_unhealthy_run_is_stopped_and_not_started_again(world: Any) -> None:
    w = armed(world(schedule=NIGHTLY, health=Probe(tcp="x:1", failures=1), budgets={"crash": 1}))
    due(w, 1.0)
    w.spawned()
    w.feed(Probed(w.state.run, "health", False, "no"))
    assert w.field("health.warn", "reason") == ["schedule_failing"]
    w.exit(signal=15)
    w.tree_gone()
    assert w.state.phase == "scheduled"


def test_an_episode_closes_before_the_deadline(world: Any) -> None:
    """A port conflict is closed by ten seconds of life, then the deadline is next."""
    w = armed(world(schedule=replace(NIGHTLY, deadline=600.0)))
    due(w, 1.0)
    w.feed(PortBusy(w.state.run, 80, "stranger", "nginx"))
    w.tick()
    w.spawned()
    born = w.t
    w.tick()
    assert w.named("port.free")
    assert w.state.wake_at == born + 600.0


def test_reset_leaves_it_armed(world: Any) -> None:
    w = armed(world(schedule=NIGHTLY))
    ran(w, 1.0, 1)
    w.ask("reset", "r")
    assert (w.state.phase, w.state.crash_count, w.jobs["r"]) == ("scheduled", 0, [True])


def test_a_reload_does_not_disturb_a_scheduled_run(world: Any) -> None:
    """Other spawn facts hold from the next run on; another deadline at once."""
    w = armed(world(schedule=NIGHTLY, ready=Probe(tcp="x:1")))
    due(w, 1.0)
    w.spawned()
    w.feed(NewRules(replace(w.state.rules, schedule=replace(NIGHTLY, deadline=5.0)), respawn=True, job="a"))
    assert (w.state.phase, w.jobs["a"], w.state.wake_at) == ("starting", [True], w.t + 5.0)


def test_a_service_becomes_a_scheduled_one(world: Any) -> None:
    """What runs for ever would never wait for its time: it is stopped and armed."""
    w = world().come_up()
    w.feed(NewRules(replace(w.state.rules, schedule=NIGHTLY), respawn=False, job="a"))
    assert w.state.phase == "stopping"
    w.exit(signal=15)
    w.tree_gone()
    w.feed(Permit())
    assert (w.state.phase, w.jobs["a"]) == ("scheduled", [True])


def test_a_service_loses_its_schedule(world: Any) -> None:
    """Nobody would tell it its time any more: it is started."""
    w = armed(world(schedule=NIGHTLY))
    w.feed(NewRules(replace(w.state.rules, schedule=None), respawn=False, job="a"))
    assert w.state.phase == "starting"
    w.spawned()
    assert w.jobs["a"] == [True]
    assert due(w, 5.0) == []


def test_a_schedule_that_is_removed_while_it_stops(world: Any) -> None:
    """What follows is decided by the rules of then: it is started like any other; and the other way round."""
    w = armed(world(schedule=NIGHTLY))
    due(w, 1.0)
    w.spawned()
    w.exit(0, strays=1)
    w.feed(NewRules(replace(w.state.rules, schedule=None), respawn=False))
    w.tree_gone()
    assert w.state.phase == "pending"
    w = world().come_up()
    w.exit(0, strays=1)
    w.feed(NewRules(replace(w.state.rules, schedule=NIGHTLY), respawn=False))
    w.tree_gone()
    assert w.state.phase == "scheduled"


def test_one_that_waits_for_a_try_is_armed_instead(world: Any) -> None:
    w = world().lives((1, 1.0))
    w.feed(NewRules(replace(w.state.rules, schedule=NIGHTLY), respawn=False))
    w.tick()
    assert w.state.phase == "scheduled"
