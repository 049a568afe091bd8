"""A run's life: spawned, ended, failed to spawn (A11, A12), one-shots, and the words of each."""

from __future__ import annotations

from typing import Any

import pytest

from midwatch.model.action import Settle, Spawn
from midwatch.model.event import Exited, Permit, Probed, Spawned, SpawnFailed, Tick, TreeGone
from midwatch.model.exit import ExitFacts
from midwatch.model.service import Probe


def failed(run: str, error: str = "EAGAIN", lasting: bool = False, fingerprint: str = "") -> SpawnFailed:
    return SpawnFailed(run, error, "fork", f"{error}: cannot start", lasting, fingerprint)


def test_run_ids_count_up(world: Any) -> None:
    """Each run has its own id, project and name joined by dots."""
    w = world("shop/db").lives((0, 1.0), (1, 1.0)).come_up()
    assert [a.run for a in w.done(Spawn)] == ["shop.db.1", "shop.db.2", "shop.db.3"]


def test_the_intent_is_written_before_the_spawn(world: Any) -> None:
    """run.spawning stands before Spawn, so a crash of ours never leaves an unknown run."""
    w = world()
    w.ask("start")
    first, second = w.feed(Permit())
    assert (first.event, first.fields) == ("run.spawning", {"run_id": "p.web.1"})
    assert second == Spawn("p.web.1")


@pytest.mark.parametrize("error", ["EAGAIN", "ENOMEM", "EMFILE", "ENOSPC"])
def test_a_passing_spawn_failure_is_a_crash_that_waits(world: Any, error: str) -> None:
    """A11 as decided: attempts count 1,2,3 with 1, 2, 4 s between them, and never hang."""
    w = world()
    for _ in range(3):
        _ask_if_needed(w)
        w.feed(failed(w.state.run, error))
        assert w.state.phase == "backoff"
    assert w.field("run.spawn_failed", "crash_count") == [1, 2, 3]
    assert [round(b["ms"] / 1100) for b in w.named("backoff")] == [1, 2, 4]
    assert w.state.last_cause == "spawn-failed"
    assert w.state.restarts == {"spawn-failed": 3}


def _ask_if_needed(w: Any) -> None:
    if w.state.phase == "stopped":
        w.ask("start")
        w.feed(Permit())
    else:
        w.tick()


def test_a_failed_spawn_that_contradicts_a_pid_is_ignored(world: Any) -> None:
    """The pid was told: it did start, and its exit will come."""
    w = world(ready=Probe(tcp="x:1")).come_up()
    assert w.feed(failed("p.web.1")) == []
    w.ask("stop")
    assert w.feed(failed("p.web.1")) == []


def test_spawn_failures_reach_the_ceiling(world: Any) -> None:
    w = world(budgets={"crash_hard": 2})
    for _ in range(2):
        _ask_if_needed(w)
        w.feed(failed(w.state.run))
    assert w.state.phase == "gave_up"


@pytest.mark.parametrize("error", ["ENOENT", "EACCES", "ENOEXEC"])
def test_a_lasting_spawn_failure_is_held(world: Any, error: str) -> None:
    """A11, A12: what time cannot cure is held with its reason; the start job fails with it."""
    w = world()
    w.ask("start", "go")
    w.feed(Permit())
    w.feed(failed("p.web.1", error, lasting=True, fingerprint="f1"))
    assert (w.state.phase, w.state.fingerprint, w.state.crash_count) == ("held", "f1", 0)
    assert w.jobs["go"] == [False]
    assert error in w.done(Settle)[0].message
    assert not w.named("backoff")


def test_a_start_job_survives_crashes_until_it_is_decided(world: Any) -> None:
    """A crash before the process was even confirmed keeps the job; degraded ends it as failed."""
    w = world(budgets={"crash": 2})
    w.ask("start", "go")
    w.feed(Permit())
    w.exit(1)
    assert w.jobs["go"] == []
    w.tick()
    w.exit(1)
    assert w.state.phase == "degraded"
    assert w.jobs["go"] == [False]


@pytest.mark.parametrize("rules", [{"oneshot": True}, {"on_clean": "stop"}])
def test_a_clean_end_that_was_meant_is_done(world: Any, rules: dict[str, Any]) -> None:
    """A one-shot, or on_clean = "stop", is done after exit 0 and not started again."""
    w = world(**rules).lives((0, 5.0))
    assert (w.state.phase, w.state.want) == ("done", "up")
    assert w.events()[-1] == "service.done"


def test_a_failing_oneshot_is_tried_again(world: Any) -> None:
    w = world(oneshot=True).lives((1, 1.0), (0, 1.0))
    assert w.state.phase == "done"
    assert w.field("backoff", "reason") == ["crash"]


def test_events_of_another_run_change_nothing(world: Any) -> None:
    """What belongs to a past run is ignored before the table is asked."""
    w = world().come_up()
    before = w.state
    for event in (
        Exited("p.web.0", ExitFacts(0, 1.0)), Spawned("p.web.0", 5), TreeGone("p.web.0", "tree"),
        Probed("p.web.0", "health", False), failed("p.web.0"),
    ):  # fmt: skip
        assert w.feed(event) == []
    assert w.state is before


def test_a_tick_that_comes_early_does_nothing(world: Any) -> None:
    """A timer too early, or of a phase that has none, does no harm."""
    w = world().lives((1, 1.0))
    assert w.feed(Tick()) == []
    assert world().feed(Tick()) == []


def test_a_pid_told_twice_changes_nothing(world: Any) -> None:
    w = world()
    w.ask("start")
    w.feed(Permit())
    w.ask("stop")
    w.spawned()
    assert w.feed(Spawned("p.web.1", w.state.pid)) == []


def test_ignored_events_return_the_same_state(world: Any) -> None:
    w = world()
    before = w.state
    assert w.feed(Permit()) == []
    assert w.state is before


def test_an_exit_before_the_pid_is_known_is_judged(world: Any) -> None:
    """A run that dies faster than its pid is told still counts."""
    w = world()
    w.ask("start")
    w.feed(Permit())
    w.exit(1)
    assert w.named("run.exited")[0]["pid"] is None
    assert w.state.crash_count == 1


def test_the_exit_carries_every_fact(world: Any) -> None:
    """run.exited: raw status, code and signal (null when there is none), duration, cause and reasons."""
    w = world().come_up()
    w.exit(139, 2.5, max_rss_bytes=1000, cpu_seconds=0.5)
    fields = w.named("run.exited")[0]
    assert fields["code"] == 139
    assert fields["signal"] is None
    assert fields["status"] == 139 << 8
    assert fields["duration_ms"] == 2500
    assert fields["reported_signal"] == 11
    assert (fields["max_rss_bytes"], fields["cpu_seconds"], fields["pid"]) == (1000, 0.5, 101)
    w.come_up().exit(signal=9)
    assert (w.named("run.exited")[1]["code"], w.named("run.exited")[1]["signal"]) == (None, "SIGKILL")
