"""One step in the making: the state so far and the actions so far.

Handlers get a `Draft`, change it and return nothing; `step` turns it into a `Stepped`. It lives for one step
only. Must not decide anything. Tests: every test of tests/policy.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from midwatch.model.action import Action, Note, Settle
from midwatch.model.service import Rules
from midwatch.model.state import Phase, ServiceState


class Draft:
    """The unfinished result of one step at awake time `now`."""

    __slots__ = ("actions", "now", "s")

    def __init__(self, state: ServiceState, now: float) -> None:
        self.s = state
        self.now = now
        self.actions: list[Action] = []

    @property
    def rules(self) -> Rules:
        return self.s.rules

    @property
    def run(self) -> str:
        return self.s.run or ""

    @property
    def age(self) -> float:
        """Seconds the current run has lived, without those it stood still; 0 when nobody saw it begin."""
        return 0.0 if self.s.spawned_at is None else self.now - self.s.spawned_at - self.s.forgiven

    def set(self, **changes: Any) -> None:
        self.s = replace(self.s, **changes)

    def enter(self, phase: Phase, wake_at: float | None = None, **changes: Any) -> None:
        """Go to a phase; `wake_at` belongs to it and is cleared otherwise."""
        self.s = replace(self.s, phase=phase, since=self.now, wake_at=wake_at, **changes)

    def do(self, action: Action) -> None:
        self.actions.append(action)

    def note(self, event: str, **fields: Any) -> None:
        """One line for the journal. None and "" are left out: absent is not empty."""
        self.actions.append(Note(event, {k: v for k, v in fields.items() if v is not None and v != ""}))

    def answer(self, job: str | None, ok: bool, message: str) -> None:
        """Settle a job that the state does not hold."""
        if job:
            self.actions.append(Settle(job, ok, message))

    def settle(self, ok: bool, message: str) -> None:
        """Settle the job of the current intent, if there is one."""
        self.answer(self.s.job, ok, message)
        self.set(job=None)

    def take(self, job: str) -> None:
        """A newer intent: the older job ends as replaced, the new one is settled later."""
        if job != self.s.job:
            self.settle(False, f"superseded by {job or 'a newer intent'}")
            self.set(job=job or None)
