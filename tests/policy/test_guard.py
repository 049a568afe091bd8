"""What is decided when a guard proposes: warn, drain, end; intents, causes, budgets (F15-F17, 1.14, guards 6.2, 11)."""

from __future__ import annotations

from typing import Any

import pytest

from midwatch.model.action import Capture, Drain, Kill, Note, Signal, Watch
from midwatch.model.event import Eased, NewRules, Permit, Probed, Resumed, Tripped, Woke
from midwatch.model.identity import Now
from midwatch.model.service import DrainRules, FdRules, MemoryLines, Probe, Schedule, Window
from midwatch.policy import defaults as d
from midwatch.policy.rebase import rebase

MIB = 1 << 20
DRAIN = DrainRules(signal=10, within=30.0)
LINES = MemoryLines(soft=1000 * MIB, hard=2000 * MIB)


def trip(w: Any, level: Any, guard: Any = "memory", after: float = 1.0, **more: Any) -> list[Any]:
    event = Tripped(w.state.run, guard, level, 1100 * MIB, 1000 * MIB, "exact", "holds 1.1 GiB", **more)
    return w.feed(event, after)  # type: ignore[no-any-return]


def kinds(actions: list[Any]) -> list[Any]:
    return [a.event if isinstance(a, Note) else type(a) for a in actions]


def ended(w: Any, signal: int = 15, after: float = 0.5) -> None:
    w.exit(signal=signal, after=after)
    if w.state.phase == "killing":
        w.tree_gone()


# -- warn and soft


def test_a_warning_is_said_once_an_episode(world: Any) -> None:
    """F15: once; after it has eased, again; the run goes on."""
    w = world().come_up()
    for _ in range(3):
        trip(w, "warn")
    assert w.feed(Eased(w.state.run, "memory"), 1.0) == [Note("guard.eased", {"run_id": "p.web.1", "guard": "memory"})]
    assert w.feed(Eased(w.state.run, "memory"), 1.0) == []
    trip(w, "warn")
    assert w.field("guard.tripped", "action") == ["warn", "warn"]
    fields = w.named("guard.tripped")[0]
    assert (fields["held_bytes"], fields["line_bytes"], fields["level"]) == (1100 * MIB, 1000 * MIB, "warn")
    assert (w.state.phase, w.state.restarts, w.state.decision) == ("up", {}, "holds 1.1 GiB")


def test_a_soft_line_asks_the_service_to_drain(world: Any) -> None:
    """F16, 1.14: asked once, with a deadline; it leaves with its code: `drain`, its own budget and delay, no crash."""
    w = world(drain=DRAIN, drain_code=12, memory=LINES).come_up()
    trip(w, "warn")
    assert kinds(trip(w, "soft")) == ["guard.tripped", Drain]
    assert w.state.wake_at == w.state.drain_by == w.t + 30.0
    assert trip(w, "soft") == trip(w, "warn") == []
    assert (w.state.phase, w.field("guard.tripped", "within_ms")) == ("up", [None, 30000])
    w.exit(12, 20.0)
    last = w.named("run.exited")[0]
    assert (last["cause"], last["crash_count"]) == ("drain", 0)
    assert last["because"] == ("holds 1.1 GiB", "it was asked to drain and left with exit code 12")
    assert w.field("backoff", "ms") == [30000]
    assert (w.state.windows["drain"], w.state.drain_by) == ((w.t,), None)


@pytest.mark.parametrize(("code", "cause"), [(0, "drain"), (1, "crash"), (75, "clean"), (78, "permanent")])
def test_how_it_leaves_while_draining(world: Any, code: int, cause: str) -> None:
    """0 is a drain too; anything else keeps its own meaning."""
    w = world(drain=DRAIN, drain_code=12).come_up()
    trip(w, "soft")
    w.exit(code, 5.0)
    assert w.state.last_cause == cause


def test_a_signal_that_it_does_not_handle_is_our_doing(world: Any) -> None:
    """Ended by the very signal that asked: memory-guard, not `killed` by a stranger; another signal is one."""
    w = world(drain=DRAIN).come_up()
    trip(w, "soft")
    w.exit(signal=10, after=0.01)
    assert w.state.last_cause == "memory-guard"
    assert "does not handle" in w.named("run.exited")[0]["because"][1]
    w.come_up()
    trip(w, "soft")
    w.exit(signal=9)
    assert w.state.last_cause == "killed"
    by_command = world(drain=DrainRules(command=("drain",))).come_up()
    trip(by_command, "soft")
    by_command.exit(signal=10)
    assert by_command.state.last_cause == "crash"


def test_a_drain_that_is_late_is_ended(world: Any) -> None:
    """1.14: the deadline passed: evidence, the ladder, cause memory-guard."""
    assert d.DRAIN_WITHIN == 30.0
    w = world(drain=DRAIN).come_up()
    trip(w, "soft")
    actions = w.tick()
    assert kinds(actions) == ["guard.drain", Capture, "stop.begin", Watch, "stop.signal", Signal]
    assert w.named("guard.drain")[0] == {
        "run_id": "p.web.1", "outcome": "late", "waited_ms": 30000,
        "decision": "holds 1.1 GiB; it did not leave within 30 s after it was asked to drain",
    }  # fmt: skip
    assert (w.state.phase, w.state.why_stopping, w.state.drain_by) == ("stopping", "memory-guard", None)
    w.tick()
    assert w.named("stop.kill")[0]["reason"] == "it did not leave within 10 s"
    ended(w, signal=9)
    assert (w.state.last_cause, w.state.phase) == ("memory-guard", "backoff")


def test_without_a_declared_drain_the_soft_line_only_speaks(world: Any) -> None:
    """And says how to declare one; nothing is signalled."""
    for memory, words in ((LINES, "before its hard line"), (None, "about it")):
        w = world(memory=memory, drain=None if memory else DrainRules()).come_up()
        assert kinds(trip(w, "soft")) == ["guard.tripped"]
        how = "drain.signal or drain.command would say how to ask it"
        assert w.state.decision == f"holds 1.1 GiB; nothing is done {words}: {how}"
        assert (w.field("guard.tripped", "action"), w.state.drain_by) == (["warn"], None)


def test_a_start_can_drain_too(world: Any) -> None:
    """Its deadline to be ready stays; whichever is first."""
    w = world(drain=DRAIN, ready=Probe(tcp="x:1", within=100.0)).come_up()
    trip(w, "soft", after=10.0)
    assert w.state.wake_at == w.state.drain_by
    w.tick()
    assert (w.state.phase, w.named("health.failed")) == ("stopping", [])


def test_a_stop_during_a_drain_is_the_persons(world: Any) -> None:
    """The newest intent wins: requested, and no deadline is left behind."""
    w = world(drain=DRAIN).come_up()
    trip(w, "soft")
    w.ask("stop")
    assert w.state.drain_by is None
    ended(w)
    assert (w.state.last_cause, w.state.phase) == ("requested", "stopped")


def test_sleep_and_reload_move_no_deadline_wrongly(world: Any) -> None:
    """G12: a gap is not the service's time; new rules without a drain do not leave it alone for ever."""
    w = world(drain=DRAIN).come_up()
    trip(w, "soft")
    w.feed(Woke(500.0, 500.0), 500.0)
    assert w.state.drain_by == w.state.wake_at == w.t + 30.0
    w.feed(NewRules(w.rules.__class__(w.rules.budgets, w.rules.backoff, w.rules.stop), False), 1.0)
    assert w.state.wake_at == w.state.drain_by
    w.tick()
    assert w.state.why_stopping == "memory-guard"


# -- hard


def test_the_intent_is_written_before_anything_is_signalled(world: Any) -> None:
    """Guards 11: note, evidence, signal; matched by the run and not by the signal number (guards 11, F17)."""
    w = world(memory=LINES).come_up()
    actions = trip(w, "hard", polite=10.0)
    assert kinds(actions) == ["guard.tripped", Capture, "stop.begin", Watch, "stop.signal", Signal]
    assert actions[1] == Capture("p.web.1", "memory")
    tripped = w.named("guard.tripped")[0]
    assert (tripped["action"], tripped["evidence"]) == ("stop", True)
    assert tripped["decision"] == "holds 1.1 GiB; memory guard 1 of 5 in 1 h, next try in 1 s"
    ended(w, signal=9)
    last = w.named("run.exited")[0]
    assert (last["cause"], last["confidence"], last["crash_count"]) == ("memory-guard", 1.0, 0)
    assert last["because"] == ("holds 1.1 GiB", "we ended it for that; it left with SIGKILL")
    assert (w.state.phase, w.state.restarts) == ("backoff", {"memory-guard": 1})
    w.come_up()
    assert (w.state.run, w.state.probe_detail) == ("p.web.2", "")


def test_no_politeness_no_grace(world: Any) -> None:
    """A fast grower, or a critical machine: frozen for evidence, then killed at once."""
    w = world().come_up()
    actions = trip(w, "hard", polite=0.0)
    assert kinds(actions) == ["guard.tripped", Capture, "stop.begin", Watch, "stop.kill", Kill]
    assert actions[1].freeze
    assert d.FREEZE_BELOW == 2.0
    assert w.named("guard.tripped")[0]["action"] == "kill"
    assert w.named("stop.begin")[0] == {
        "run_id": "p.web.1", "reason": "memory_guard", "signal": "SIGTERM", "grace_ms": 0}  # fmt: skip
    assert w.named("stop.kill")[0]["reason"] == "it gets no time to leave"
    w.exit(signal=9, after=0.1)
    w.tree_gone()
    assert w.state.last_cause == "memory-guard"


def test_the_grace_is_the_shorter_of_both(world: Any) -> None:
    """2 s in danger; a service's own shorter grace stays."""
    for grace, polite, wait in ((10.0, 2.0, 2.0), (1.0, 10.0, 1.0)):
        w = world(stop={"grace": grace}).come_up()
        trip(w, "hard", polite=polite)
        assert w.state.wake_at == w.t + wait
        w.tick()
        assert w.named("stop.kill")[0]["reason"] == f"it did not leave within {wait:.0f} s"


def test_over_its_budget_it_waits_longer_and_is_said_once(world: Any) -> None:
    """It cannot be left over its line: ended each time, 1 s inside the window, 60 to 300 s over it; never a crash."""
    w = world().come_up()
    for _ in range(8):
        trip(w, "hard", polite=0.0)
        w.exit(signal=9, after=0.1)
        w.tree_gone()
        w.come_up()
    assert w.field("backoff", "ms") == [1000] * 5 + [60000, 120000, 240000]
    assert w.field("health.warn", "reason") == ["memory_loop"]
    assert (w.state.crash_count, w.state.windows.get("crash_slow")) == (0, None)


def test_the_machine_may_ask_for_it_as_well(world: Any) -> None:
    """Host: like hard, with why."""
    w = world().come_up()
    trip(w, "hard", "host", polite=2.0)
    assert w.done(Capture) == [Capture("p.web.1", "host")]
    critical = world().come_up()
    trip(critical, "hard", "host", polite=0.0)
    assert critical.done(Capture) == [Capture("p.web.1", "host", freeze=True, stage=1)]
    ended(w)
    assert w.state.last_cause == "memory-guard"


def test_a_scheduled_run_waits_for_its_next_time(world: Any) -> None:
    w = world(schedule=Schedule("0 3 * * *"))
    w.ask("start")
    w.feed(Permit())
    w.ask("start")
    w.spawned()
    trip(w, "hard", polite=0.0)
    w.exit(signal=9, after=0.1)
    w.tree_gone()
    assert (w.state.phase, w.state.last_cause, w.state.crash_count) == ("scheduled", "memory-guard", 1)


def test_a_guard_hurries_a_stop_that_runs(world: Any) -> None:
    """What it holds is needed sooner than its grace ends; the cause stays the first one's."""
    w = world().come_up()
    w.ask("stop")
    trip(w, "hard", polite=2.0)
    assert w.state.wake_at == w.t + 2.0
    trip(w, "hard", polite=8.0, after=0.5)
    assert w.state.wake_at == w.t + 1.5
    assert trip(w, "warn") == trip(w, "hard", "fds", polite=0.0, after=0.0) == []
    assert kinds(trip(w, "hard", polite=0.0, after=0.0)) == ["stop.kill", Kill]
    assert trip(w, "hard", polite=0.0) == []
    w.exit(signal=9, after=0.1)
    w.tree_gone()
    assert (w.state.last_cause, w.state.phase) == ("requested", "stopped")


def test_leftovers_that_grow_are_hurried_no_further(world: Any) -> None:
    """The main process is gone, or the kill is at work already."""
    w = world().come_up()
    w.exit(1, strays=3)
    assert w.state.phase == "killing"
    assert trip(w, "hard", polite=0.0) == []
    late = world().come_up()
    late.ask("stop")
    late.tick()
    assert trip(late, "hard", polite=3.0) == []


def test_nothing_runs_nothing_is_decided(world: Any) -> None:
    """Before the process exists, and about another run."""
    w = world()
    w.ask("start")
    w.feed(Permit())
    assert trip(w, "hard") == []
    w.spawned()
    assert w.feed(Tripped("p.web.9", "memory", "hard", 1, 1)) == []


def test_a_new_run_and_a_new_boot_begin_without_episodes(world: Any) -> None:
    """What was said of the last run says nothing about this one."""
    w = world().come_up()
    trip(w, "warn")
    w.exit(1)
    w.come_up()
    assert not [name for name in w.state.episodes if name.startswith("guard.")]
    trip(w, "warn")
    assert len(w.named("guard.tripped")) == 2
    later = rebase(w.state, w.now, Now(5.0, w.now.wall + 60, "boot-2"))
    assert "guard.memory" not in later.episodes


def test_a_new_engine_does_not_ask_twice(world: Any) -> None:
    """The signal may have been sent: a second one ends some programs; the deadline stays."""
    w = world(drain=DRAIN).come_up()
    trip(w, "soft")
    by = w.state.drain_by
    assert Drain not in kinds(w.feed(Resumed(alive=True), 5.0))
    assert w.state.drain_by == w.state.wake_at == by


def test_an_oom_kill_is_told_apart(world: Any) -> None:
    """Guards 11: counted in its own group: `oom`; a bare SIGKILL: `killed`, sender unknown; ours only by intent."""
    for facts, cause in (({"signal": 9, "oom_kills": 1}, "oom"), ({"signal": 9}, "killed"), ({"code": 137}, "crash")):
        w = world().come_up()
        w.exit(**facts)
        assert w.state.last_cause == cause


# -- descriptors


def test_descriptors_restart_only_when_asked_to_and_rarely(world: Any) -> None:
    """FDW: by default only said; action = "restart": once in 15 min, four times a day; then left running, loudly."""
    assert Window(1, 900.0) == d.FDS
    assert Window(4, 86_400.0) == d.FDS_SLOW
    for fds in (None, FdRules()):
        w = world(fds=fds).come_up()
        assert kinds(trip(w, "hard", "fds")) == ["guard.tripped"]
        fields = w.named("guard.tripped")[0]
        assert (fields["action"], fields["open"], fields["limit"]) == ("warn", 1100 * MIB, 1000 * MIB)
        assert "held_bytes" not in fields
    w = world(fds=FdRules(action="restart")).come_up()
    for _ in range(6):
        trip(w, "hard", "fds", after=1000.0)
        if w.state.phase == "stopping":
            ended(w)
            w.come_up()
    assert w.field("run.exited", "cause") == ["fd-guard"] * 4
    assert (w.field("backoff", "ms"), w.field("backoff", "reason")) == ([0] * 4, ["fds"] * 4)
    assert w.named("budget.exhausted")[0]["budget"] == "fds_slow"
    assert (len(w.named("budget.exhausted")), w.state.crash_count) == (1, 0)


def test_a_second_restart_within_a_quarter_of_an_hour_is_refused(world: Any) -> None:
    w = world(fds=FdRules(action="restart")).come_up()
    trip(w, "hard", "fds")
    ended(w)
    w.come_up()
    assert kinds(trip(w, "hard", "fds", after=60.0)) == ["budget.exhausted"]
    assert trip(w, "hard", "fds", after=60.0) == []
    assert (w.state.phase, w.named("budget.exhausted")[0]["budget"]) == ("up", "fds")
    trip(w, "hard", "fds", after=900.0)
    assert w.state.phase == "stopping"


def test_descriptors_drain_first_where_that_is_declared(world: Any) -> None:
    """A soft proposal with action = "restart" asks; late, it is ended as fd-guard."""
    w = world(fds=FdRules(action="restart"), drain=DRAIN).come_up()
    assert kinds(trip(w, "soft", "fds")) == ["guard.tripped", Drain]
    w.tick()
    assert w.state.why_stopping == "fd-guard"
    ended(w)
    assert (w.state.last_cause, w.state.phase) == ("fd-guard", "up" if w.state.pid else "starting")


def test_a_scheduled_run_that_leaks_descriptors(world: Any) -> None:
    w = world(schedule=Schedule("0 3 * * *"), fds=FdRules(action="restart"))
    w.ask("start")
    w.feed(Permit())
    w.ask("start")
    w.spawned()
    trip(w, "hard", "fds")
    ended(w)
    assert (w.state.phase, w.state.last_cause) == ("scheduled", "fd-guard")


def test_a_leak_is_said(world: Any) -> None:
    """Guards 1.10: default action of every statistical finding: say it."""
    w = world().come_up()
    assert kinds(trip(w, "warn", "leak")) == ["guard.tripped"]
    assert w.named("guard.tripped")[0]["guard"] == "leak"


def test_probes_while_draining_change_no_words(world: Any) -> None:
    """A health failure before the end of the drain does not become the drain's reason."""
    w = world(drain=DRAIN, drain_code=12, health=Probe(tcp="x:1", failures=3)).come_up()
    trip(w, "soft")
    w.feed(Probed(w.state.run, "health", False, "draining"), 5.0)
    w.exit(12, 1.0)
    assert w.named("run.exited")[0]["because"][0] == "holds 1.1 GiB"
