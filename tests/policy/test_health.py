"""Ready and healthy: HLT-1, G1, G6, G8, G9, G12 as decisions, with a budget of their own."""

from __future__ import annotations

from typing import Any

import pytest

from midwatch.model.action import Settle, Watch
from midwatch.model.event import Probed
from midwatch.model.service import Probe, Window
from midwatch.policy.defaults import UNHEALTHY

READY = Probe(tcp="x:1", within=25.0)
HEALTH = Probe(tcp="x:1", failures=3)


def probe(w: Any, ok: bool, kind: Any = "health", detail: str = "refused", after: float = 30.0) -> list[Any]:
    return w.feed(Probed(w.state.run, kind, ok, "" if ok else detail), after)  # type: ignore[no-any-return]


def replaced(w: Any) -> None:
    """The stop ladder of an unhealthy run ends."""
    w.exit(signal=15)
    w.tree_gone()
    w.come_up()


def test_ready_makes_it_up(world: Any) -> None:
    """With a ready probe the service is `starting` until its own answer; the job waits for that."""
    w = world(ready=READY, health=HEALTH)
    w.ask("start", "go")
    w.come_up()
    assert (w.state.phase, w.state.ready, w.jobs["go"]) == ("starting", False, [])
    probe(w, True, "ready", after=2.0)
    assert (w.state.phase, w.state.ready, w.state.wake_at) == ("up", True, None)
    assert w.named("run.ready") == [{"run_id": "p.web.1", "ready_ms": 2000}]
    assert w.done(Watch) == [Watch("p.web.1", "ready"), Watch("p.web.1", "health")]
    assert w.done(Settle)[0].ok


def test_a_start_that_asks_for_more_time_has_it(world: Any) -> None:
    """EXTEND_TIMEOUT_USEC: so many seconds from now, and never less than it had; nothing is written."""
    w = world(ready=READY).come_up()
    assert w.feed(Probed(w.state.run, "ready", False, extend=60.0), 5.0) == []
    assert w.state.wake_at == w.t + 60.0
    w.feed(Probed(w.state.run, "ready", False, extend=10.0), 5.0)
    assert w.state.wake_at == w.t + 55.0


def test_failures_while_starting_are_said_when_they_change(world: Any) -> None:
    """Sixty refused connections are one line."""
    w = world(ready=READY).come_up()
    for _ in range(10):
        probe(w, False, "ready", after=0.4)
    probe(w, False, "ready", "answered by pid 7, not ours", after=0.4)
    assert len(w.named("probe.failed")) == 2


def test_not_ready_in_time_is_unhealthy(world: Any) -> None:
    """HLT-1: after 25 s without an answer the run is stopped with cause unhealthy and started again at once."""
    w = world(ready=READY).come_up()
    probe(w, False, "ready", after=1.0)
    w.tick()
    assert w.t == w.state.spawned_at + 25.0
    assert w.state.phase == "stopping"
    assert w.named("health.failed")[0]["decision"] == "not ready within 25 s: refused"
    replaced(w)
    assert w.field("run.exited", "cause") == ["unhealthy"]
    assert w.named("backoff")[-1]["ms"] == 0
    assert w.named("backoff")[-1]["reason"] == "unhealthy"
    assert w.state.crash_count == 0
    assert w.state.restarts == {"unhealthy": 1}


def test_three_failures_in_a_row_restart_and_two_do_not(world: Any) -> None:
    """G1: three in a row restart once; two and a success leave the counter at 0."""
    w = world(health=HEALTH).come_up()
    probe(w, False)
    probe(w, False)
    probe(w, True)
    assert (w.state.phase, w.state.probe_failures, w.state.health) == ("up", 0, "ok")
    for _ in range(3):
        probe(w, False)
    assert w.state.phase == "stopping"
    assert w.named("probe.failed")[-1] | {"run_id": ""} == {
        "run_id": "", "kind": "health", "count": 2, "of": 3, "detail": "refused",
    }  # fmt: skip
    assert "restart 1 of 3 in 30 m" in w.state.decision
    replaced(w)
    assert w.state.crash_count == 0


def test_a_healthy_service_writes_one_line(world: Any) -> None:
    """A thousand good answers are one probe.ok."""
    w = world(health=HEALTH).come_up()
    for _ in range(100):
        probe(w, True)
    assert len(w.named("probe.ok")) == 1


def test_the_unhealthy_budget_restarts_then_alerts_once(world: Any) -> None:
    """G6: checks 1, budget 2, always failing: two restarts, one alert over the next ten checks; it is left running."""
    w = world(health=Probe(tcp="x:1", failures=1), budgets={"unhealthy": Window(2, 1800.0)}).come_up()
    for _ in range(2):
        probe(w, False)
        replaced(w)
    for _ in range(10):
        probe(w, False)
    assert (w.state.phase, w.state.health) == ("up", "failing")
    assert [(n["budget"], n["count"], n["limit"]) for n in w.named("budget.exhausted")] == [("unhealthy", 2, 2)]
    assert len(w.named("stop.begin")) == 2
    assert len(w.named("health.failed")) == 3


def test_the_default_unhealthy_budget_is_three_in_thirty_minutes(world: Any) -> None:
    """Three restarts, the fourth time it is left alone."""
    assert Window(3, 1800.0) == UNHEALTHY
    w = world(health=Probe(tcp="x:1", failures=1)).come_up()
    for _ in range(3):
        probe(w, False)
        replaced(w)
    probe(w, False)
    assert w.state.phase == "up"


def test_it_restarts_again_when_the_window_has_drained(world: Any) -> None:
    """No restarts until the window has room; then the next failing check restarts, and a new spell alerts anew."""
    w = world(health=Probe(tcp="x:1", failures=1), budgets={"unhealthy": Window(1, 100.0)}).come_up()
    probe(w, False)
    replaced(w)
    probe(w, False)
    assert w.state.phase == "up"
    probe(w, False, after=100.0)
    assert w.state.phase == "stopping"
    replaced(w)
    probe(w, False)
    assert len(w.named("budget.exhausted")) == 2


def test_recovery_is_said_once(world: Any) -> None:
    """G9: a failing service that answers again writes one health.recovered."""
    w = world(health=Probe(tcp="x:1", failures=1), budgets={"unhealthy": Window(1, 1e6)}).come_up()
    probe(w, False)
    replaced(w)
    probe(w, False)
    for _ in range(3):
        probe(w, True)
    assert w.field("health.recovered", "budget") == ["unhealthy"]
    assert (w.state.health, w.state.episodes) == ("ok", {})


def test_a_late_start_with_a_spent_budget_is_left_alone_and_may_still_come_up(world: Any) -> None:
    """Budget spent while starting: one alert, a look when the window has room, and a late answer makes it up."""
    w = world(ready=READY, budgets={"unhealthy": Window(1, 500.0)}).come_up()
    w.tick()
    replaced(w)
    w.tick()
    assert (w.state.phase, w.state.health) == ("starting", "failing")
    assert w.state.wake_at == w.state.windows["unhealthy"][0] + 500.0
    probe(w, True, "ready")
    assert (w.state.phase, w.state.health) == ("up", "unknown")
    assert w.field("health.recovered", "budget") == ["unhealthy"]


def test_a_late_start_is_restarted_when_the_window_has_room(world: Any) -> None:
    w = world(ready=READY, budgets={"unhealthy": Window(1, 500.0)}).come_up()
    w.tick()
    replaced(w)
    w.tick()
    w.tick()
    assert w.state.phase == "stopping"


def test_unhealthy_restarts_without_a_budget(world: Any) -> None:
    """`unhealthy = "off"`: every time."""
    w = world(health=Probe(tcp="x:1", failures=1), budgets={"unhealthy": None}).come_up()
    for _ in range(10):
        probe(w, False, detail="")
        replaced(w)
    assert w.state.restarts == {"unhealthy": 10}


def test_slow_unhealthy_restarts_raise_flapping(world: Any) -> None:
    """One every two hours stays under the fast budget; the slow window of ten a day says so once."""
    w = world(health=Probe(tcp="x:1", failures=1)).come_up()
    for _ in range(14):
        probe(w, False, after=7200.0)
        replaced(w)
    assert w.field("health.warn", "budget") == ["unhealthy_slow"]


def test_a_stop_during_an_unhealthy_ladder_keeps_the_cause(world: Any) -> None:
    """We stopped it because it was unhealthy; that somebody then asked for a stop does not change why it ended."""
    w = world(health=Probe(tcp="x:1", failures=1)).come_up()
    probe(w, False)
    w.ask("stop", "s")
    w.exit(signal=15)
    w.tree_gone()
    assert w.state.phase == "stopped"
    assert w.field("run.exited", "cause") == ["unhealthy"]
    assert w.jobs["s"] == [True]


@pytest.mark.parametrize("kind", ["ready", "health"])
def test_answers_that_come_late_are_ignored(world: Any, kind: Any) -> None:
    """A probe's answer during the stop changes nothing."""
    w = world(ready=READY).come_up()
    w.ask("stop")
    assert probe(w, True, kind) == []


def test_the_answer_of_a_removed_probe_is_ignored(world: Any) -> None:
    """A failure that arrives after a reload has removed the probe stops nobody."""
    w = world().come_up()
    assert probe(w, False) == []
    assert w.state.phase == "up"


def test_sleep_of_the_machine_is_not_counted(world: Any) -> None:
    """G12: eight hours of sleep are no awake time; three fresh failures are still required."""
    w = world(health=HEALTH).come_up()
    probe(w, False)
    w.wall += 8 * 3600
    probe(w, False)
    assert w.state.phase == "up"
