"""The lines of every service in bytes, and what all of them may hold together.

The basis (a container's limit, else the machine's memory) is asked for now and then, because a container's limit can be
changed; the lines follow the configuration. Must not read a run. Tests: tests/engine/test_guard_budget.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from midwatch.policy import defaults
from midwatch.policy.guard import lines as policy
from midwatch.policy.guard.lines import Lines

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service


class Budget:
    """One per engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lines: dict[str, Lines] = {}
        self._asked = float("-inf")
        self.basis = 0  # bytes
        self.source = ""  # of the basis, in words
        self.whole = 0  # what all services may hold together
        self.reserve = 0  # what has to stay available
        self.error = 0  # of the kernel's counters

    def stale(self) -> None:
        """Services or settings have changed: the lines are computed again when they are needed."""
        self._lines.clear()

    def look(self, now: float) -> None:
        """Ask for the basis again, when it is time."""
        if now - self._asked < defaults.BASIS_EVERY:
            return
        machine = self._engine.machine
        if self._asked == float("-inf"):
            self.error = machine.counter_error()
        self._asked = now
        basis, source = machine.memory_basis()
        if (basis, source) != (self.basis, self.source):
            self.basis, self.source = basis, source
            self.stale()

    def of(self, service: Service) -> Lines:
        """A service's lines."""
        if service.spec.id not in self._lines:
            self._compute()
        return self._lines[service.spec.id]

    def _compute(self) -> None:
        services = self._engine.services
        limits = self._engine.limits
        self.whole = limits.memory_budget or policy.budget(self.basis)
        self.reserve = policy.reserve(self.basis) if limits.reserve is None else limits.reserve
        rules = {name: service.spec.rules.memory for name, service in services.items()}
        hards = [None if m is None or m.hard in (None, "auto") else int(m.hard) for m in rules.values()]
        part = policy.share(self.basis, self.whole, hards)
        self._lines = {name: policy.lines(memory, part, self.whole) for name, memory in rules.items()}
