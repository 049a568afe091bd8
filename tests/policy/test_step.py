"""What must hold after any sequence of events: no exception, one run at a time, jobs settled once, the ladder ends.

The checks of every single step are in conftest.py (`World`); here hypothesis looks for sequences that break them.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from midwatch.model import event as ev
from midwatch.model.action import Follow, Kill, Note, Precheck, Spawn, Watch
from midwatch.model.exit import ExitFacts
from midwatch.model.service import DrainRules, FdRules, FileWatch, Probe, Schedule, Window
from midwatch.policy import defaults
from midwatch.policy.state import KEYS, PHASES
from midwatch.policy.step import key_of, step

TIGHT = {
    "budgets": {"crash": 2, "crash_slow": Window(3, 500.0), "clean": Window(2, 60.0), "killed": Window(2, 60.0),
                "unhealthy": Window(1, 100.0), "memory": Window(1, 100.0), "drain": Window(1, 300.0),
                "fds": Window(1, 100.0), "fds_slow": Window(2, 900.0)},
    "drain_code": 12, "watchdog": 5.0, "file_watch": FileWatch(("/x",)),
}  # fmt: skip
DRAIN = DrainRules(signal=15, within=40.0)
STATUSES = [0, 1 << 8, 12 << 8, 75 << 8, 78 << 8, 137 << 8, 9, 11, 15, None]
RUN = "?"  # replaced by the current run id

events = st.one_of(
    st.builds(
        ev.Ask, st.sampled_from(["start", "stop", "restart", "reset"]), st.just(""), st.just("ann"),
        st.booleans(), st.booleans(),
    ),
    st.builds(ev.Permit),
    st.builds(ev.Spawned, st.just(RUN), st.just(0)),
    st.builds(ev.SpawnFailed, st.just(RUN), st.just("E"), st.just("fork"), st.just("no"), st.booleans(), st.just("f")),
    st.builds(ev.Probed, st.just(RUN), st.sampled_from(["ready", "health", "deep"]), st.booleans(),
              st.sampled_from(["", "x"])),
    st.builds(ev.PortBusy, st.just(RUN), st.just(80), st.just("stranger"), st.sampled_from(["nginx", "node"])),
    st.builds(ev.Wedged, st.just(RUN), st.sampled_from(["watchdog", "backlog"]), st.just("x"), st.booleans()),
    st.builds(ev.Due, st.sampled_from([1.0, 2.0, 3.0]), st.integers(0, 1), st.sampled_from([0.0, 99.0])),
    st.builds(ev.Changed, st.just(("/x/a",)), st.just(1)),
    st.builds(ev.Woke, st.just(50.0), st.sampled_from([0.0, 50.0])),
    st.builds(
        ev.Exited, st.just(RUN),
        st.builds(ExitFacts, st.sampled_from(STATUSES), st.floats(0, 1000), st.integers(0, 1),
                  strays=st.sampled_from([0, 0, -1, 2]), heir=st.sampled_from([None, None, 9]),
                  port_owner=st.sampled_from(["", "nginx"])),
        st.sampled_from(["f", "g"]),
    ),
    st.builds(ev.TreeGone, st.just(RUN), st.sampled_from(["cgroup", "not provable"]), left=st.sampled_from([0, 0, 1])),
    st.builds(ev.Prechecked, st.sampled_from(["f", "g"]), st.sampled_from([None, "missing"])),
    st.builds(ev.Resumed, st.booleans()),
    st.builds(
        ev.Tripped, st.just(RUN), st.sampled_from(["memory", "fds", "host", "leak"]),
        st.sampled_from(["warn", "soft", "hard"]), st.just(2), st.just(1), polite=st.sampled_from([0.0, 2.0, 99.0]),
    ),
    st.builds(ev.Eased, st.just(RUN), st.sampled_from(["memory", "fds"])),
    st.builds(ev.Tick),
    st.sampled_from(["reload", "respawn", "reschedule"]),
)  # fmt: skip
PROBES = st.sampled_from([None, Probe(tcp="x:1", failures=2)])
SCHEDULES = st.sampled_from([None, None, Schedule("* * * * *", deadline=300.0), Schedule("* * * * *", catch_up=False)])
MORE = st.fixed_dictionaries({
    "schedule": SCHEDULES, "deep": PROBES, "backlog": st.sampled_from(["off", "warn", "restart"]),
    "launcher": st.sampled_from(["follow", "refuse"]), "drain": st.sampled_from([None, DRAIN]),
    "fds": st.sampled_from([None, FdRules(action="restart")]),
})  # fmt: skip
WINDOWS = {"watch": defaults.WATCH_LOOP, "watch_early": defaults.WATCH_EARLY_LOOP}
TIMED = ("backoff", "degraded", "waiting", "held")


def _feed(w: Any, event: Any, jobs: int, probe: Probe | None) -> None:
    if isinstance(event, str):
        rules = replace(w.state.rules, health=probe)
        if event == "reschedule":
            rules = replace(rules, schedule=None if rules.schedule else Schedule("* * * * *"))
        event = ev.NewRules(rules, event == "respawn", f"job{jobs}")
    elif isinstance(event, ev.Ask):
        event = replace(event, job=f"job{jobs}")
    elif getattr(event, "run", None) == RUN:
        event = replace(event, run=w.state.run or "none")
    if isinstance(event, ev.Spawned):
        event = replace(event, pid=w.state.run_no + 100)
    w.feed(event)


def _settle_down(w: Any) -> None:
    """What an honest world answers until the stop is done: the ladder has to end."""
    for _ in range(12):
        if w.state.phase == "stopped":
            return
        if w.state.phase == "stopping" and w.state.pid is None:
            w.spawned()
        elif w.state.phase == "stopping":
            w.tick()
        elif w.state.pid is not None:
            w.exit(signal=9, after=0.0)
        else:
            w.tree_gone()
    raise AssertionError(f"the stop did not end: {w.state}")


@settings(max_examples=400)
@given(st.lists(st.tuples(events, st.floats(0, 200)), max_size=40), PROBES, PROBES, st.sampled_from([None, 4]), MORE)
def test_any_sequence_keeps_every_promise(history: Any, ready: Any, health: Any, hard: int | None, more: Any) -> None:
    """Never an exception, never two runs, each job settled once, windows bounded, and a stop always ends."""
    from tests.policy.conftest import World

    budgets = {**TIGHT["budgets"], "crash_hard": hard}  # type: ignore[dict-item]
    w = World(**{**TIGHT, "budgets": budgets, **more}, ready=ready, health=health)
    for number, (event, wait) in enumerate(history):
        w.t += wait
        _feed(w, event, number, health)
        for name, times in w.state.windows.items():
            window = WINDOWS.get(name) or getattr(w.state.rules.budgets, name)
            assert len(times) <= window.limit + 1
            assert list(times) == sorted(times)
        assert (w.state.phase in TIMED) <= (w.state.wake_at is not None)
        assert (w.state.phase == "scheduled") <= (w.state.rules.schedule is not None)
        assert (w.state.health == "failing") == bool(w.state.failing)
    w.ask("stop", "last")
    _settle_down(w)
    assert w.state.pid is None
    assert all(len(told) == 1 for told in w.jobs.values()), w.jobs


@settings(max_examples=100)
@given(st.lists(st.tuples(events, st.floats(0, 200)), max_size=30), MORE)
def test_the_same_events_give_the_same_states(history: Any, more: Any) -> None:
    """`step` is deterministic: the inputs that wrote a line are enough to get the same state again."""
    from tests.policy.conftest import World

    w = World(**TIGHT, **more)  # type: ignore[arg-type]
    again = w.state
    for number, (event, wait) in enumerate(history):
        w.t += wait
        _feed(w, event, number, None)
    _replays(w, again)


def _replays(w: Any, again: Any) -> None:
    """From the first state, with nothing but the inputs that wrote a line."""
    for event, at, notes in w.inputs:
        stepped = step(again, event, replace(w.now, awake=at))
        again = stepped.state
        assert [a for a in stepped.actions if isinstance(a, Note)] == notes
    assert replace(again, wake_at=None) == replace(w.state, wake_at=None)


def _likely(w: Any, r: Random) -> Any:
    """What an engine would send now: most histories are ordinary ones, with trouble in between."""
    state, run = w.state, str(w.state.run)
    if state.phase == "pending":
        return ev.Permit()
    if state.phase == "starting" and state.pid is None:
        failed = ev.SpawnFailed(RUN, "E", "fork", "no", r.random() < 0.3, "f")
        return r.choice([ev.Spawned(RUN, 0)] * 4 + [failed, ev.PortBusy(RUN, 80, "wedged", r.choice("ab"))])
    if state.phase in ("starting", "up"):
        strays = r.choice([0, 0, -1, 2])
        facts = ExitFacts(
            r.choice(STATUSES), r.choice([0.1, 70.0, 500.0]), r.randrange(2), strays=strays,
            heir=r.choice([None, 9]), port_owner=r.choice(["", "x"]),
        )  # fmt: skip
        probe = ev.Probed(run, r.choice(["ready", "health", "deep"]), r.random() < 0.4, r.choice(["", "x"]))
        wedged = ev.Wedged(run, r.choice(["watchdog", "backlog"]), "x", r.random() < 0.5)
        level: Any = r.choice(["warn", "soft", "hard"])
        guard: Any = r.choice(["memory", "fds", "host", "leak"])
        tripped = ev.Tripped(run, guard, level, 2, 1, polite=r.choice([0.0, 2.0, 99.0]))
        eased = ev.Eased(run, guard)
        return r.choice([probe, probe, ev.Exited(run, facts, r.choice("fg")), ev.Tick(), wedged, tripped, eased])
    if state.phase in ("stopping", "killing"):
        gone = ev.TreeGone(run, "tree", left=r.choice([0, 0, 1]))
        return r.choice([ev.Exited(run, ExitFacts(9, 1.0, strays=r.randrange(2))), gone, ev.Tick()])
    if state.phase == "scheduled":
        return ev.Due(float(r.randrange(9)), r.randrange(2), r.choice([0.0, 99.0]))
    if state.phase in ("backoff", "degraded", "waiting"):
        w.t = max(w.t, state.wake_at)
        return ev.Tick()
    return ev.Prechecked(r.choice("fg"), r.choice([None, "x"])) if state.phase == "held" else ev.Ask("start", "", "ann")


@pytest.mark.parametrize("seed", range(150))
def test_long_histories_keep_every_promise(world: Any, seed: int) -> None:
    """80 likely and unlikely events: phase, pid, want and timer agree after each, and the stop ends."""
    r = Random(seed)
    probe = Probe(tcp="x:1", failures=2)
    schedule = r.choice([None, None, Schedule("* * * * *", deadline=200.0)])
    w = world(
        **TIGHT, ready=r.choice([None, probe]), health=r.choice([None, probe]), oneshot=r.random() < 0.1,
        deep=r.choice([None, probe]), backlog=r.choice(["warn", "restart"]), schedule=schedule,
        launcher=r.choice(["follow", "refuse"]), drain=r.choice([None, DRAIN]), fds=FdRules(action="restart"),
    )  # fmt: skip
    first = w.state
    for number in range(80):
        w.t += r.choice([0.0, 0.1, 5.0, 70.0, 400.0])
        ask = ev.Ask(r.choice(["start", "stop", "restart", "reset"]), "", "ann", r.random() < 0.2, r.random() < 0.2)
        outside = [ev.Due(float(number)), ev.Changed(("/x/a",), 1), ev.Woke(9.0, r.choice([0.0, 9.0])), "reschedule"]
        unlikely = [*outside, ask, ask, ask, "reload", "respawn", ev.Resumed(r.random() < 0.5), ev.Tick(), ev.Permit()]
        _feed(w, _likely(w, r) if r.random() < 0.7 else r.choice(unlikely), number, r.choice([None, probe]))
        phase = w.state.phase
        assert (phase in TIMED) <= (w.state.wake_at is not None)
        assert (phase == "up") <= (w.state.pid is not None)
        assert (w.state.health == "failing") == bool(w.state.failing)
        assert (phase == "scheduled") <= (w.state.rules.schedule is not None)
        assert w.state.followed <= (w.state.run in {action.run for action in w.done(Follow)})
        assert phase in ("starting", "up", "stopping", "killing") or w.state.pid is None
        assert w.state.drain_by is None or (phase in ("starting", "up") and w.state.wake_at <= w.state.drain_by)
        assert (phase == "stopped") == (w.state.want == "down" and phase not in ("stopping", "killing"))
    w.ask("stop", "last")
    _settle_down(w)
    assert all(len(told) == 1 for told in w.jobs.values())
    _replays(w, first)


@pytest.mark.parametrize("phase", PHASES)
def test_every_phase_survives_every_event(world: Any, phase: str) -> None:
    """Each cell of the table can be called: nothing raises, even where an engine would never send it."""
    facts = ExitFacts(1 << 8, 1.0)
    one_of_each: list[ev.Event] = [
        *(ev.Ask(verb, f"j-{verb}", "ann") for verb in ("start", "stop", "restart", "reset")),
        ev.Permit(), ev.Spawned("p.web.7", 3), ev.SpawnFailed("p.web.7", "E", "fork", "no", False),
        ev.Probed("p.web.7", "ready", False, "x"), ev.Probed("p.web.7", "health", True), ev.Exited("p.web.7", facts),
        ev.TreeGone("p.web.7", "tree"), ev.Prechecked("f"), ev.NewRules(world().rules, True),
        ev.Resumed(True), ev.Tick(), ev.Probed("p.web.7", "deep", False), ev.PortBusy("p.web.7", 80, "ours", "x"),
        ev.Wedged("p.web.7", "backlog", "x"), ev.Due(1.0), ev.Changed(("/x",), 1), ev.Woke(1.0, 1.0),
        ev.Tripped("p.web.7", "memory", "hard", 2, 1), ev.Eased("p.web.7", "memory"),
    ]  # fmt: skip
    assert {key_of(e) for e in one_of_each} == set(KEYS)
    for pid in (None, 7):
        for event in one_of_each:
            w = world(health=Probe(tcp="x:1"), ready=Probe(tcp="x:1"))
            state = replace(w.state, phase=phase, run="p.web.7", pid=pid, want="up", wake_at=w.t)
            step(state, event, w.now)


def test_a_step_returns_its_actions_in_order(world: Any) -> None:
    """An exit inside the budget: recorded, explained, then the next intent and its spawn."""
    w = world().come_up()
    kinds = [a.event if isinstance(a, Note) else type(a) for a in w.exit(0)]
    assert kinds == [Watch, "run.exited", "backoff", "run.spawning", Spawn]
    assert not {Kill, Precheck} & {type(a) for a in w.actions}
