"""Alive and not working: HLT-4 to HLT-8 and scenarios 30, 31 as decisions."""

from __future__ import annotations

from typing import Any

import pytest

from midwatch.model.action import Capture, Signal, Watch
from midwatch.model.event import Probed, Wedged
from midwatch.model.service import Probe, Window

DEEP = Probe(http="http://x/", failures=3)
SHALLOW = Probe(tcp="x:1", failures=2)


def probe(w: Any, kind: Any, ok: bool, after: float = 30.0) -> list[Any]:
    return w.feed(Probed(w.state.run, kind, ok, "" if ok else f"{kind} said no"), after)  # type: ignore[no-any-return]


def wedge(w: Any, reason: Any, over: bool = False, after: float = 5.0) -> list[Any]:
    return w.feed(Wedged(w.state.run, reason, "128 wait", over), after)  # type: ignore[no-any-return]


@pytest.mark.parametrize("phase", ["backoff", "stopping"])
def test_nobody_is_judged_who_does_not_run(world: Any, phase: str) -> None:
    """G4, G5: no verdict in a wait or in a stop; without a question there is none at all."""
    w = world(health=SHALLOW, watchdog=5.0).come_up()
    w.exit(1) if phase == "backoff" else w.ask("stop")
    run, before = w.state.run, w.state
    for event in (Probed(run, "health", False, "x"), Probed(run, "deep", False, "x"), Wedged(run, "watchdog", "x")):
        assert w.feed(event, 1.0) == []
    assert (w.state.phase, w.state.health) == (phase, before.health)
    silent = world(backlog="off").come_up()
    assert silent.done(Watch) == []
    assert silent.feed(Probed(silent.state.run, "health", False, "x"), 1.0) == []


def replaced(w: Any) -> None:
    w.exit(signal=15)
    w.tree_gone()
    w.come_up()


def test_three_deep_failures_restart_beside_good_shallow_ones(world: Any) -> None:
    """HLT-4: a server that answers /health and nothing else: counted apart, evidence before the signal (HLT-7)."""
    w = world(health=SHALLOW, deep=DEEP).come_up()
    for _ in range(2):
        probe(w, "deep", False)
        probe(w, "health", True)
    assert (w.state.phase, w.state.deep_failures, w.state.probe_failures) == ("up", 2, 0)
    actions = probe(w, "deep", False)
    assert w.named("health.failed")[0]["reason"] == "deep"
    assert w.named("health.failed")[0]["decision"] == "3 deep probe(s) failed in a row: deep said no"
    kinds = [type(a) for a in actions]
    assert kinds.index(Capture) < kinds.index(Signal)
    assert w.done(Capture) == [Capture("p.web.1", "deep")]
    replaced(w)
    assert (w.state.deep_failures, w.state.failing) == (0, "")
    assert "deep said no" in w.named("run.exited")[0]["because"]


def test_two_deep_failures_and_a_success_are_forgotten(world: Any) -> None:
    """HLT-4: three in a row, not three in all."""
    w = world(deep=DEEP).come_up()
    for _ in range(5):
        probe(w, "deep", False)
        probe(w, "deep", False)
        probe(w, "deep", True)
    assert (w.state.phase, w.state.health) == ("up", "ok")
    assert len(w.named("probe.ok")) == 5
    assert probe(w, "deep", True) == []


def test_a_shallow_answer_does_not_cure_a_deep_failure(world: Any) -> None:
    """With the budget spent: it stays failing until the deep probe is answered, and says so once."""
    w = world(health=SHALLOW, deep=DEEP, budgets={"unhealthy": Window(1, 1e6)}).come_up()
    for _ in range(3):
        probe(w, "deep", False)
    replaced(w)
    for _ in range(5):
        probe(w, "deep", False)
        probe(w, "health", True)
    assert (w.state.health, w.state.failing) == ("failing", "deep")
    probe(w, "health", False)
    probe(w, "health", True)
    assert w.state.health == "failing"
    assert not w.named("health.recovered")
    probe(w, "deep", True)
    assert (w.state.health, w.state.failing, w.field("health.recovered", "budget")) == ("ok", "", ["unhealthy"])


def test_a_second_failing_probe_is_counted_but_not_told_again(world: Any) -> None:
    """Failing already and nothing may be done: the other probe's failures change nothing any more."""
    w = world(health=SHALLOW, deep=DEEP, budgets={"unhealthy": Window(0, 1e6)}).come_up()
    for _ in range(3):
        probe(w, "deep", False)
    for _ in range(10):
        probe(w, "health", False)
    assert len(w.named("health.failed")) == 1
    assert w.field("probe.failed", "kind") == ["deep", "deep", "health"]


def test_the_answer_of_a_removed_deep_probe_is_ignored(world: Any) -> None:
    w = world().come_up()
    assert probe(w, "deep", False) == []


def test_a_silent_watchdog_needs_no_vote(world: Any) -> None:
    """Our own WatchdogSec: one proof is enough; its words are its own."""
    w = world(watchdog=20.0).come_up()
    wedge(w, "watchdog")
    assert w.state.phase == "stopping"
    assert w.named("health.failed")[0]["decision"] == "its watchdog: 128 wait"
    assert w.done(Capture) == [Capture("p.web.1", "watchdog")]
    replaced(w)
    assert w.state.restarts == {"unhealthy": 1}
    assert w.field("run.exited", "cause") == ["unhealthy"]


def test_a_watchdog_that_a_reload_removed_is_ignored(world: Any) -> None:
    assert wedge(world().come_up(), "watchdog") == []


def test_a_full_accept_queue_is_said_and_captured_once(world: Any) -> None:
    """HLT-6, backlog = "warn": one warning and one capture an episode, closed when it accepts again."""
    w = world().come_up()
    for _ in range(5):
        wedge(w, "backlog")
    assert (w.state.phase, w.state.health) == ("up", "unknown")
    assert w.field("health.warn", "reason") == ["backlog"]
    assert w.done(Capture) == [Capture("p.web.1", "backlog", stage=1)]
    wedge(w, "backlog", over=True)
    assert w.field("health.recovered", "budget") == ["backlog"]
    assert wedge(w, "backlog", over=True) == []
    wedge(w, "backlog")
    assert len(w.done(Capture)) == 2
    w.exit(0)
    assert w.state.episodes == {}


def test_a_full_accept_queue_restarts_when_configured(world: Any) -> None:
    """Scenario 30: capture precedes the restart; with the budget spent it is left running until it accepts again."""
    w = world(backlog="restart", budgets={"unhealthy": Window(1, 1e6)}).come_up()
    wedge(w, "backlog")
    events = [a.event if hasattr(a, "event") else type(a).__name__ for a in w.actions]
    assert events.index("Capture") < events.index("stop.begin") < events.index("Signal")
    replaced(w)
    wedge(w, "backlog")
    assert (w.state.phase, w.state.failing) == ("up", "backlog")
    wedge(w, "backlog", over=True)
    assert (w.state.health, w.state.failing) == ("ok", "")
    assert w.field("health.recovered", "budget") == ["unhealthy"]


def test_backlog_off_says_nothing(world: Any) -> None:
    w = world(backlog="off").come_up()
    assert wedge(w, "backlog") == []
    assert w.done(Watch) == []


@pytest.mark.parametrize("rules", [{"health": SHALLOW}, {"deep": DEEP}, {"watchdog": 5.0}, {"backlog": "warn"}])
def test_every_way_of_watching_is_switched_on_and_off(world: Any, rules: Any) -> None:
    w = world(**{"backlog": "off", **rules}).come_up()
    w.ask("stop")
    assert w.done(Watch) == [Watch("p.web.1", "health"), Watch("p.web.1", None)]


def test_proofs_count_only_while_it_is_up(world: Any) -> None:
    """G3: not while it starts, not while it stops."""
    w = world(watchdog=5.0, ready=SHALLOW).come_up()
    assert wedge(w, "watchdog") == []
    w.ask("stop")
    assert wedge(w, "watchdog") == []
