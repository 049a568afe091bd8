"""Budgets: A1-A4, A7-A10, A13-A15, C1-C4. Histories of (code, seconds of life) on a fake clock."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from midwatch.model.event import NewRules
from midwatch.model.service import Window

CRASH = (1, 1.0)
CLEAN = (0, 0.1)


def test_ten_clean_exits_cost_nothing(world: Any) -> None:
    """A1: ten exits with 0 leave the crash count at 0, restart at 0 ms each, and never give up."""
    w = world().lives(*[CLEAN] * 10)
    assert w.field("run.exited", "crash_count") == [0] * 10
    assert w.field("run.exited", "cause") == ["clean"] * 10
    assert [(b["ms"], b["reason"]) for b in w.named("backoff")] == [(0, "clean_exit")] * 10
    assert not w.named("supervision.gave_up")


def test_clean_exits_neither_spend_nor_refill(world: Any) -> None:
    """A2: exits 1,0,1,0,1 under a ceiling of 3 give up with 3 after the fifth, with no delay after it."""
    w = world(budgets={"crash_hard": 3}).lives(CRASH, CLEAN, CRASH, CLEAN, CRASH)
    assert w.state.phase == "gave_up"
    assert w.named("supervision.gave_up")[0]["crash_count"] == 3
    assert w.field("backoff", "reason") == ["crash", "clean_exit", "crash", "clean_exit"]


def test_a_long_clean_run_resets_nothing(world: Any) -> None:
    """A3: 1 (1 s), 0 (after 360 s), 1, 1 under a ceiling of 3 count 1,1,2,3."""
    w = world(budgets={"crash_hard": 3}).lives(CRASH, (0, 360.0), CRASH, CRASH)
    assert w.field("run.exited", "crash_count") == [1, 1, 2, 3]
    assert w.state.phase == "gave_up"


@pytest.mark.parametrize(("life", "count"), [(300.001, 1), (300.0, 5)])
def test_a_run_longer_than_stable_after_counts_afresh(world: Any, life: float, count: int) -> None:
    """A4: strictly more than 300 s sets the count to 1 and restarts at once; exactly 300 s adds one."""
    w = world().lives(*[CRASH] * 4, (1, life))
    assert w.state.crash_count == count
    assert (w.named("backoff")[-1]["ms"] == 0) is (count == 1)


def test_the_first_crash_waits_a_second(world: Any) -> None:
    """B1: the very first crash waits 1 s, with its arithmetic in words."""
    w = world().lives(CRASH)
    assert 1000 <= w.named("backoff")[0]["ms"] < 1100
    assert w.state.decision == "crash 1 of 10, resets after 5 m of life, next try in 1 s"
    assert w.named("run.exited")[0]["decision"] == w.state.decision


def test_drains_always_wait_thirty_seconds(world: Any) -> None:
    """A7: six drains under a ceiling of 3 count 0 crashes, never give up and wait 30 s each."""
    w = world(drain_code=12, budgets={"crash_hard": 3}).lives(*[(12, 10.0)] * 6)
    assert w.state.crash_count == 0
    assert [(b["ms"], b["reason"]) for b in w.named("backoff")] == [(30_000, "drain")] * 6
    assert not w.named("supervision.gave_up")


def test_four_drains_raise_one_drain_loop(world: Any) -> None:
    """A8: the fourth drain inside the window of 3 warns with count 4, the fifth does not warn again."""
    w = world(drain_code=12, budgets={"drain_slow": None}).lives(*[(12, 100.0)] * 5)
    warnings = w.named("health.warn")
    assert [(n["reason"], n["count"], n["window_ms"]) for n in warnings] == [("drain_loop", 4, 1_800_000)]


def test_drains_at_the_incidents_cadence_raise_the_slow_alert(world: Any) -> None:
    """A9: a drain every 246 s for a day alerts, even where the fast window is too short to see it."""
    w = world(drain_code=12, budgets={"drain": Window(3, 600.0)}).lives(*[(12, 216.0)] * 351)
    assert w.field("health.warn", "reason") == ["flapping"]
    assert w.named("health.warn")[0]["budget"] == "drain_slow"
    with_defaults = world(drain_code=12).lives(*[(12, 216.0)] * 20)
    assert "drain_loop" in with_defaults.field("health.warn", "reason")


def test_killed_from_outside_restarts_at_once_inside_its_window(world: Any) -> None:
    """A10: ten SIGTERMs from outside restart at 0 ms and cost no crash; the eleventh waits and warns once."""
    w = world()
    for _ in range(12):
        w.come_up().exit(signal=15, after=0.5)
    assert [b["ms"] for b in w.named("backoff")] == [0] * 10 + [1000, 2000]
    assert w.field("health.warn", "reason") == ["killed_loop"]
    assert w.state.crash_count == 0
    assert w.state.restarts == {"killed": 12}


def test_lost_runs_cost_like_killed_ones(world: Any) -> None:
    """An exit nobody saw restarts at once and is no crash."""
    w = world().come_up()
    w.exit(status=None)
    assert w.named("backoff")[0] | {"decision": ""} == {"ms": 0, "reason": "lost", "crash_count": 0, "decision": ""}
    assert w.state.decision == "ended unseen 1 of 10 in 10 m, restarted at once"


def test_oom_over_budget_waits_sixty_seconds_and_more(world: Any) -> None:
    """Out of memory: 1 s inside its window of 5, then 60, 120 s and one warning."""
    w = world()
    for _ in range(7):
        w.come_up().exit(signal=9, oom_kills=1)
    assert [b["ms"] for b in w.named("backoff")] == [1000] * 5 + [60_000, 120_000]
    assert w.field("health.warn", "reason") == ["memory_loop"]
    assert w.state.crash_count == 0


def test_soft_and_hard_ceiling(world: Any) -> None:
    """A13: soft 3, hard 6: exactly one budget.exhausted{3, 3}, then gave_up at 6."""
    w = world(budgets={"crash": 3, "crash_hard": 6}).lives(*[CRASH] * 6)
    spent = w.named("budget.exhausted")
    assert [(n["budget"], n["count"], n["limit"]) for n in spent] == [("crash", 3, 3)]
    gave_up = w.named("supervision.gave_up")
    assert [(n["crash_count"], n["limit"], n["cause"]) for n in gave_up] == [(6, 6, "crash")]
    assert w.field("backoff", "reason") == ["crash"] * 5
    assert w.state.wake_at is None


def test_without_a_hard_ceiling_it_never_gives_up(world: Any) -> None:
    """A14: a thousand crashes: degraded, said once, at most five minutes (and a tenth) apart."""
    w = world().lives(*[CRASH] * 1000)
    assert w.state.phase == "degraded"
    assert len(w.named("budget.exhausted")) == 1
    assert max(b["ms"] for b in w.named("backoff")) <= 330_000


def test_the_default_crash_budget_is_ten(world: Any) -> None:
    """Nine crashes wait inside the budget, the tenth is degraded and waits a minute."""
    w = world().lives(*[CRASH] * 9)
    assert w.state.phase == "backoff"
    w.lives(CRASH)
    assert w.state.phase == "degraded"
    assert 60_000 <= w.named("backoff")[-1]["ms"] < 66_000
    assert "the budget of 10 is spent" in w.state.decision


def test_crashes_after_stable_runs_raise_flapping(world: Any) -> None:
    """A15: a crash every 301 s never spends the fast budget; the slow window says "flapping" once."""
    w = world().lives(*[(1, 301.0)] * 40)
    assert w.state.crash_count == 1
    assert [(n["reason"], n["budget"], n["count"]) for n in w.named("health.warn")] == [("flapping", "crash_slow", 20)]


def test_every_slow_window_alerts_once(world: Any) -> None:
    """Killed and out of memory, slowly: one line each, no delay added."""
    w = world(budgets={"killed_slow": Window(3, 86_400.0), "memory_slow": Window(2, 86_400.0)})
    for _ in range(5):
        w.come_up().exit(signal=15, after=3600.0)
        w.come_up().exit(signal=9, after=3600.0, oom_kills=1)
    assert w.field("health.warn", "budget") == ["memory_slow", "killed_slow"]
    assert {b["ms"] for b in w.named("backoff")} == {0, 1000}


def test_a_slow_episode_ends_when_its_window_drains(world: Any) -> None:
    """G9: flapping is closed by a record, and may be raised again."""
    w = world(budgets={"crash_slow": Window(3, 10_000.0)}).lives(*[(1, 400.0)] * 3)
    w.come_up()
    assert w.state.wake_at is not None
    w.tick()
    assert w.field("health.recovered", "budget") == ["crash_slow"]
    w.lives(*[(1, 400.0)] * 3)
    assert w.field("health.warn", "reason") == ["flapping"] * 2


def test_a_drained_slow_window_is_rearmed_by_the_next_exit(world: Any) -> None:
    """Without a living run in between, the next exit closes the slow episode silently."""
    w = world(budgets={"crash_slow": Window(2, 50.0)}).lives(CRASH, CRASH)
    w.t += 1000
    w.lives(CRASH)
    assert "crash_slow" not in w.state.episodes


def test_code_75_is_a_planned_restart(world: Any) -> None:
    """SVC-4, scenario 28: 75 restarts at once and counts as no crash, even where a clean end would be the end."""
    w = world(on_clean="stop").lives((1, 1.0), (75, 1.0))
    assert (w.state.phase, w.state.crash_count) == ("starting", 1)
    assert w.named("backoff")[-1]["ms"] == 0
    assert w.named("backoff")[-1]["reason"] == "planned_restart"
    assert w.state.decision == "planned restart 1 of 10 in 1 m, restarted at once"
    assert "planned restart" in w.named("run.exited")[-1]["because"][1]


def test_a_storm_of_planned_restarts_is_slowed(world: Any) -> None:
    """75 for ever is a loop like any other clean exit."""
    w = world().lives(*[(75, 0.1)] * 13)
    assert [b["ms"] for b in w.named("backoff")[-3:]] == [1000, 2000, 4000]
    assert w.state.decision.startswith("planned restart over the budget of 10 in 1 m, 3 in a row")


def test_the_eleventh_clean_exit_is_over_budget(world: Any) -> None:
    """C1: eleven clean exits in 5 s: ten at 0 ms, the eleventh warns {11, 60000} and waits 1000 ms."""
    w = world().lives(*[(0, 0.4)] * 11)
    assert [b["ms"] for b in w.named("backoff")] == [0] * 10 + [1000]
    warning = w.named("health.warn")[0]
    assert (warning["reason"], warning["count"], warning["window_ms"]) == ("clean_restart_budget_exceeded", 11, 60_000)
    assert w.named("backoff")[-1]["reason"] == "budget_exceeded"
    assert w.events()[-2:] == ["health.warn", "backoff"]


def test_clean_exits_spread_out_are_inside_the_budget(world: Any) -> None:
    """C2: eleven clean exits 6.6 s apart never go over."""
    w = world().lives(*[(0, 6.6)] * 11)
    assert not w.named("health.warn")


@pytest.mark.parametrize(("limit", "trips"), [(2, 3), (5, 6)])
def test_two_services_trip_independently(world: Any, limit: int, trips: int) -> None:
    """C3: budgets of 2 and 5 trip at the 3rd and the 6th exit."""
    w = world(budgets={"clean": Window(limit, 60.0)}).lives(*[CLEAN] * trips)
    assert [b["ms"] > 0 for b in w.named("backoff")] == [False] * (trips - 1) + [True]


def test_a_clean_spinner_is_slowed_and_warned_once(world: Any) -> None:
    """C4: exiting 0 at once for ten minutes: the delay grows to 30 s and more, one warning in all."""
    w = world()
    start = w.t
    while w.t - start < 600:
        w.lives((0, 0.01))
    assert len(w.named("health.warn")) == 1
    assert w.named("backoff")[-1]["ms"] >= 30_000
    assert len(w.named("backoff")) < 30
    assert w.state.crash_count == 0


def test_a_run_as_long_as_the_window_ends_the_clean_episode(world: Any) -> None:
    """G9: after the episode a run that lives a window long closes it; the next spin is a new episode."""
    w = world().lives(*[CLEAN] * 12)
    w.come_up()
    w.tick()
    assert w.field("health.recovered", "budget") == ["clean"]
    w.exit(0, 1.0)
    assert w.named("backoff")[-1]["ms"] == 0


def test_an_exit_can_close_the_episode_too(world: Any) -> None:
    """When the closing tick never came (the machine slept), the exit of the long run closes the episode."""
    w = world().lives(*[CLEAN] * 12).come_up()
    w.exit(0, 61.0)
    assert w.field("health.recovered", "budget") == ["clean"]
    assert w.named("backoff")[-1]["ms"] == 0


def test_a_crash_episode_is_closed_by_a_stable_run(world: Any) -> None:
    """Degraded, then a run of five minutes: recovered is written once; a later spell is announced anew."""
    w = world(budgets={"crash": 3}).lives(*[CRASH] * 4).come_up()
    w.tick()
    assert w.field("health.recovered", "budget") == ["crash"]
    w.exit(1, 10.0)
    w.lives(*[CRASH] * 3)
    assert len(w.named("budget.exhausted")) == 2


def test_a_window_that_is_off_never_goes_over(world: Any) -> None:
    """`clean = "off"`: restarts at once for ever."""
    w = world(budgets={"clean": None}).lives(*[CLEAN] * 50)
    assert {b["ms"] for b in w.named("backoff")} == {0}
    assert w.state.decision == "clean exit, restarted at once"


def test_windows_never_keep_more_than_they_need(world: Any) -> None:
    """A window keeps at most limit + 1 times, whatever happens."""
    w = world().lives(*[CLEAN] * 200)
    assert len(w.state.windows["clean"]) <= 11


def test_wall_clock_jumps_change_nothing(world: Any) -> None:
    """B6: the wall clock jumps back an hour and forward a day; counts, windows and delays are the same."""
    steady = world().lives(*[CLEAN] * 5, *[CRASH] * 5)
    jumping = world()
    for i, life in enumerate([CLEAN] * 5 + [CRASH] * 5):
        jumping.wall += 86_400 if i % 2 else -3600
        jumping.lives(life)
    assert jumping.field("backoff", "ms") == steady.field("backoff", "ms")
    assert jumping.state == steady.state


def test_a_budget_of_one_is_degraded_even_after_a_stable_run(world: Any) -> None:
    """`crash = 1` means that one crash is already too many."""
    w = world(budgets={"crash": 1}).lives((1, 1000.0))
    assert w.state.phase == "degraded"


def test_other_crash_causes_name_themselves(world: Any) -> None:
    """A segfault counts as a crash and says what it was."""
    w = world().come_up()
    w.exit(signal=11)
    assert w.state.decision.startswith("segfault, crash 1 of 10")
    assert w.state.restarts == {"segfault": 1}


def test_zero_delays_restart_at_once(world: Any) -> None:
    """`first = 0` never parks a service without a timer."""
    w = world(backoff={"first": 0.0, "most": 0.0, "drain": 0.0}, drain_code=12).lives(CRASH, (12, 1.0))
    assert w.state.phase == "starting"
    assert w.field("backoff", "ms") == [0, 0]


def test_episodes_are_closed_one_by_one(world: Any) -> None:
    """A clean and a crash episode: the first tick closes the one that is due, the next the other."""
    w = world(budgets={"crash": 2}).lives(*[CRASH] * 2, *[CLEAN] * 12).come_up()
    w.tick()
    assert w.field("health.recovered", "budget") == ["clean"]
    w.tick()
    assert w.field("health.recovered", "budget") == ["clean", "crash"]
    assert w.state.wake_at is None


def test_a_slow_window_that_was_switched_off_closes_its_episode(world: Any) -> None:
    """Reload without the slow window: nothing is left to wait for."""
    w = world(budgets={"crash_slow": Window(2, 10_000.0)}).lives(CRASH, CRASH).come_up()
    rules = replace(w.rules, budgets=replace(w.rules.budgets, crash_slow=None))
    w.feed(NewRules(rules, respawn=False))
    w.tick()
    assert w.field("health.recovered", "budget") == ["crash_slow"]
    w.exit(1)
    assert w.field("health.warn", "reason") == ["flapping"]
