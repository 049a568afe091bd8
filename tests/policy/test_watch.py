"""Restart when files change: what is disturbed, what is not, and a service that changes what it watches."""

from __future__ import annotations

from typing import Any

import pytest

from midwatch.model.action import Spawn
from midwatch.model.event import Changed, Permit
from midwatch.model.service import FileWatch, Schedule

WATCH = FileWatch(("/srv/app",))


def change(w: Any, after: float = 30.0) -> list[Any]:
    return w.feed(Changed(("/srv/app/main.py",), 3), after)  # type: ignore[no-any-return]


def restarted(w: Any) -> None:
    w.exit(signal=15, after=0.1)
    w.tree_gone(after=0.0)
    w.come_up()


def test_a_saved_file_restarts_it(world: Any) -> None:
    """Requested, by "watch": no budget is spent, a job that waits for the start goes on waiting."""
    w = world(file_watch=WATCH).come_up()
    change(w)
    assert w.named("watch.changed") == [{"run_id": "p.web.1", "paths": ("/srv/app/main.py",), "count": 3}]
    assert [(n["reason"], n["by"]) for n in w.named("stop.begin")] == [("watch", "watch")]
    restarted(w)
    assert w.field("run.exited", "cause") == ["requested"]
    assert (w.state.run, w.state.crash_count) == ("p.web.2", 0)
    assert set(w.state.windows) == {"watch"}


@pytest.mark.parametrize(("lives", "rules", "phase"), [
    ([(1, 1.0)], {}, "backoff"),
    ([(1, 1.0)], {"budgets": {"crash": 1}}, "degraded"),
    ([(78, 1.0)], {}, "held"),
    ([(1, 1.0)], {"budgets": {"crash_hard": 1}}, "gave_up"),
    ([(0, 1.0)], {"oneshot": True}, "done"),
])  # fmt: skip
def test_a_saved_file_is_a_new_chance_at_once(world: Any, lives: Any, rules: Any, phase: str) -> None:
    """A developer saved the fix: no waiting."""
    w = world(file_watch=WATCH, **rules).lives(*lives)
    assert w.state.phase == phase
    change(w)
    assert (w.state.phase, len(w.done(Spawn))) == ("starting", 2)


def test_what_nobody_wants_or_what_is_going_anyway_is_left_alone(world: Any) -> None:
    """stopped, pending, stopping, scheduled, a scheduled run, and without a watch."""
    w = world(file_watch=WATCH)
    assert change(w) == []
    w.ask("start")
    assert change(w) == []
    w.feed(Permit())
    w.spawned()
    w.ask("stop")
    assert change(w) == []
    cron = world(file_watch=WATCH, schedule=Schedule("* * * * *"))
    cron.ask("start")
    cron.feed(Permit())
    assert change(cron) == []
    cron.come_up()
    cron.ask("start")
    cron.spawned()
    assert change(cron) == []
    assert change(world().come_up()) == []


def test_a_service_that_touches_what_it_watches_is_a_loop(world: Any) -> None:
    """Three changes right after its own start: said once, left running; a real change later restarts it."""
    w = world(file_watch=WATCH).come_up()
    for _ in range(2):
        change(w, 1.0)
        restarted(w)
    for _ in range(5):
        change(w, 0.2)
    assert w.state.phase == "up"
    loop = w.named("watch.loop")
    assert len(loop) == 1
    assert (loop[0]["count"], loop[0]["window_ms"]) == (3, 60_000)
    assert loop[0]["decision"] == (
        "change 3 in 1 m, 3 right after a start: it seems to change what it watches (/srv/app/main.py); "
        "left alone for 1 m: ignore that path, or restart it by hand"
    )
    change(w, 10.0)
    assert w.state.phase == "stopping"
    assert w.state.episodes == {}


def test_six_restarts_in_a_minute_are_a_loop(world: Any) -> None:
    """Later than right after the start, but too often; over when the minute has drained."""
    w = world(file_watch=WATCH).come_up()
    for _ in range(5):
        change(w, 3.0)
        restarted(w)
    change(w, 3.0)
    assert w.state.phase == "up"
    assert w.field("watch.loop", "count") == [6]
    change(w, 60.0)
    assert w.state.phase == "stopping"
    assert len(w.state.windows["watch"]) <= 6


def test_a_loop_of_failing_starts_is_recognised(world: Any) -> None:
    """It touches its files and dies: the watch does not defeat the back-off."""
    w = world(file_watch=WATCH).come_up()
    for _ in range(10):
        w.exit(1, 0.5)
        change(w, 0.2)
        if w.state.phase == "starting":
            w.spawned()
        else:
            w.come_up()
    assert len(w.named("watch.loop")) >= 1
    assert len(w.named("watch.changed")) <= 5
