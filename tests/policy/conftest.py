"""Histories on a fake clock: a service, its rules, and the world that answers its actions.

`World` feeds events to `step` and keeps every action. On each step it checks what must hold always: documented events
only, one run at a time, each job settled once, no change without a line, and a phase that the table allows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.plain import default_rules

from midwatch.model.action import Capture, Note, Settle, Signal, Spawn
from midwatch.model.event import Ask, Exited, NewRules, Permit, PortBusy, Spawned, SpawnFailed, Tick, TreeGone
from midwatch.model.exit import ExitFacts
from midwatch.model.identity import Now
from midwatch.policy.events import EVENTS
from midwatch.policy.state import cells
from midwatch.policy.step import initial, key_of, step

CELLS = cells()


class World:
    """One service and everything that has happened to it."""

    def __init__(self, name: str = "p/web", **changes: Any) -> None:
        rules = default_rules()
        for part in ("budgets", "backoff", "stop"):
            rules = replace(rules, **{part: replace(getattr(rules, part), **changes.pop(part, {}))})
        self.t = 1000.0
        self.wall = 1.7e9
        self.boot = "boot-1"
        self.rules = replace(rules, **changes)
        self.state = initial(name, self.rules, self.now)
        self.actions: list[Any] = []
        self.inputs: list[tuple[Any, float, list[Note]]] = []
        self.jobs: dict[str, list[bool]] = {}
        self.alive: str | None = None
        self.born: set[str] = set()  # every run that really existed
        self.pids = 100

    @property
    def now(self) -> Now:
        return Now(self.t, self.wall + self.t, self.boot)

    def feed(self, event: Any, after: float = 0.0) -> list[Any]:
        """The actions that this event causes, `after` seconds later."""
        self.t += after
        before = self.state
        stepped = step(before, event, self.now)
        self.state = stepped.state
        self.actions += stepped.actions
        self._check(event, before, list(stepped.actions))
        return list(stepped.actions)

    def _check(self, event: Any, before: Any, actions: list[Any]) -> None:
        notes = [a for a in actions if isinstance(a, Note)]
        if notes:
            self.inputs.append((event, self.t, notes))
        for note in notes:
            extra = set(note.fields) - set(EVENTS[note.event].fields)
            assert not extra, f"{note.event} carries undocumented {extra}"
            assert EVENTS[note.event].source == "policy"
        if isinstance(event, Ask | NewRules) and event.job:
            self.jobs.setdefault(event.job, [])
        if isinstance(event, Spawned | SpawnFailed) and before.phase in ("starting", "stopping"):
            self.born.add(event.run)
        self._check_actions(event, actions)
        row = CELLS[before.phase, key_of(event)]
        assert self.state.phase == before.phase or self.state.phase in row.leads_to, (before.phase, event, row)
        quiet = replace(self.state, wake_at=before.wake_at)
        assert notes or quiet == before, f"{event} changed the state without a line"
        assert self.state.want == before.want or isinstance(event, Ask), "only a person changes `want`"
        assert self.state.crash_count >= 0
        assert msgspec.convert(msgspec.to_builtins(self.state), type(self.state)) == self.state

    def _check_actions(self, event: Any, actions: list[Any]) -> None:
        if isinstance(event, Exited | SpawnFailed | PortBusy) and event.run == self.alive:
            self.alive = None
        kinds = [type(a) for a in actions]
        ours = ("unhealthy", "memory_guard", "fd_guard")
        if Signal in kinds and any(isinstance(a, Note) and a.fields.get("reason") in ours for a in actions):
            assert Capture in kinds[: kinds.index(Signal)], "HLT-7: evidence comes before the signal"
        for action in actions:
            if isinstance(action, Note) and action.event == "run.exited":
                self.alive = None  # also one that nobody reported, after its tree was verified gone
            if isinstance(action, Spawn):
                assert action.run not in self.born, "a run id is never used for two processes"
                assert self.alive is None, f"{action.run} was spawned while {self.alive} had not ended"
                self.alive = action.run
            if isinstance(action, Settle):
                told = self.jobs.setdefault(action.job, [])
                told.append(action.ok)
                assert len(told) == 1, f"{action.job} was settled twice"

    # -- what the world does

    def ask(self, verb: str, job: str = "", by: str = "ann", after: float = 0.0, **more: Any) -> list[Any]:
        return self.feed(Ask(verb, job or f"j{len(self.jobs)}", by, **more), after)  # type: ignore[arg-type]

    def spawned(self, after: float = 0.0) -> list[Any]:
        self.pids += 1
        return self.feed(Spawned(str(self.state.run), self.pids), after)

    def tick(self) -> list[Any]:
        """Time goes on to the timer."""
        assert self.state.wake_at is not None
        self.t = max(self.t, self.state.wake_at)
        return self.feed(Tick())

    def come_up(self) -> World:
        """Whatever has to happen until a process exists."""
        for _ in range(6):
            if self.state.pid is not None and self.state.phase in ("starting", "up"):
                return self
            if self.state.phase in ("stopped", "scheduled", "done", "gave_up"):
                self.ask("start")
            elif self.state.phase == "pending":
                self.feed(Permit())
            elif self.state.phase == "starting":
                self.spawned()
            else:
                self.tick()
        raise AssertionError(f"stuck in {self.state.phase}")

    def exit(self, code: int = 0, after: float = 1.0, signal: int = 0, **facts: Any) -> list[Any]:
        """The main process ends with a code or a signal."""
        born = self.state.spawned_at
        lived = after if born is None else self.t + after - born
        status = signal or code << 8
        return self.feed(Exited(str(self.state.run), ExitFacts(facts.pop("status", status), lived, **facts)), after)

    def lives(self, *lives: tuple[int, float]) -> World:
        """A history: each (code, seconds of life) is one run, with the waits between."""
        for code, seconds in lives:
            self.come_up()
            self.exit(code, seconds)
        return self

    def tree_gone(self, after: float = 0.1, verified_by: Any = "cgroup", **more: Any) -> list[Any]:
        return self.feed(TreeGone(str(self.state.run), verified_by, **more), after)

    # -- what was said

    def named(self, event: str) -> list[dict[str, Any]]:
        """The fields of every such event so far."""
        return [a.fields for a in self.actions if isinstance(a, Note) and a.event == event]

    def field(self, event: str, name: str) -> list[Any]:
        return [fields.get(name) for fields in self.named(event)]

    def events(self) -> list[str]:
        return [a.event for a in self.actions if isinstance(a, Note)]

    def done(self, kind: type[Any]) -> list[Any]:
        """Every action of this kind so far."""
        return [a for a in self.actions if isinstance(a, kind)]


@pytest.fixture
def world() -> Callable[..., World]:
    """Makes a world: `world(budgets={"crash": 3}, oneshot=True)`."""
    return World
