"""Who may start when: dependencies between services, decided on what each one is right now.

The engine tells its one `Fleet` every new state and is told who gets `Permit`. A need is `started` (it lives), `ready`
(it is up) or `completed` (it is done). The only mutable thing in the policy: a change costs O(its dependents). Nothing
is stopped because a need went away. Must not know rules beyond `needs`. Tests: tests/policy/test_fleet.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from midwatch.model.service import Need
from midwatch.model.state import ServiceState

Needs = Mapping[str, Mapping[str, Need]]


class FleetError(ValueError):
    """The needs cannot be met by any order: an unknown service, or a cycle (with its path in `path`)."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


def needs_problem(needs: Needs) -> FleetError | None:
    """The first thing that is wrong with these needs, or None. A cycle's path ends where it began."""
    for service, wanted in needs.items():
        for other in wanted:
            if other not in needs:
                from difflib import get_close_matches  # only for this message: it costs the engine memory

                near = get_close_matches(other, needs, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                return FleetError(f"{service} needs {other}, which does not exist{hint}", (service, other))
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        path = tuple(reversed(error.args[1]))
        return FleetError("these services wait for each other: " + " -> ".join(path), path)
    return None


def _met(need: Need, state: ServiceState | None) -> bool:
    if state is None:
        return False
    if need == "completed":  # of one with a schedule: its last run
        return state.phase == "done" or (state.phase == "scheduled" and state.last_cause == "clean")
    return state.phase == "up" or (need == "started" and state.phase == "starting" and state.pid is not None)


class Fleet:
    """The needs of all services and where each one stands."""

    def __init__(self, needs: Needs) -> None:
        self._states: dict[str, ServiceState] = {}
        self._permitted: set[str] = set()
        self.replace(needs)

    def replace(self, needs: Needs) -> None:
        """Other services or other needs (up, reload, down). Raises FleetError and then keeps the old ones."""
        problem = needs_problem(needs)
        if problem is not None:
            raise problem
        self._needs: dict[str, dict[str, Need]] = {name: dict(wanted) for name, wanted in needs.items()}
        self._dependents: dict[str, list[str]] = {name: [] for name in needs}
        for name, wanted in needs.items():
            for other in wanted:
                self._dependents[other].append(name)
        self._states = {name: state for name, state in self._states.items() if name in needs}
        self._permitted &= set(needs)

    def observe(self, state: ServiceState) -> tuple[str, ...]:
        """A service's new state; returns the services that get `Permit` now, each once for each time it is pending."""
        before = self._states.get(state.id)
        self._states[state.id] = state
        if state.phase != "pending":
            self._permitted.discard(state.id)
        if before is not None and before.phase == state.phase and before.pid == state.pid:
            return ()
        return self._permits((state.id, *self._dependents.get(state.id, ())))

    def review(self) -> tuple[str, ...]:
        """Everything that may start now: after `replace`, which can take a need away."""
        return self._permits(self._needs)

    def _permits(self, names: Iterable[str]) -> tuple[str, ...]:
        found = []
        for name in names:
            state = self._states.get(name)
            if state and state.phase == "pending" and name not in self._permitted and not self.missing(name):
                self._permitted.add(name)
                found.append(name)
        return tuple(found)

    def missing(self, service: str) -> tuple[str, ...]:
        """What a service still waits for, in words: "db has to be ready (it is starting)"."""
        return tuple(
            f"{other} has to be {need} (it is {state.phase if state else 'unknown'})"
            for other, need in self._needs.get(service, {}).items()
            if not _met(need, state := self._states.get(other))
        )

    def closure(self, services: Iterable[str]) -> tuple[str, ...]:
        """These services and everything they need, in start order."""
        wanted = {name for name in services if name in self._needs}
        for wave in self.stop_waves():  # dependents first, so one pass finds everything
            wanted.update(other for name in wave if name in wanted for other in self._needs[name])
        return tuple(name for wave in self.start_waves(wanted) for name in wave)

    def start_waves(self, services: Iterable[str] | None = None) -> list[tuple[str, ...]]:
        """Groups in start order: each needs only earlier ones. Needs outside `services` are looked through."""
        return self._waves(self._needs, services)

    def stop_waves(self, services: Iterable[str] | None = None) -> list[tuple[str, ...]]:
        """Groups in stop order: dependents first. Stop a group when the one before it is settled."""
        return self._waves(self._dependents, services)

    def _waves(self, after: Mapping[str, Iterable[str]], services: Iterable[str] | None) -> list[tuple[str, ...]]:
        chosen = set(self._needs) if services is None else set(services)
        depth: dict[str, int] = {}
        for name in TopologicalSorter(after).static_order():
            depth[name] = 1 + max((depth[other] for other in after[name]), default=-1)
        waves: dict[int, tuple[str, ...]] = {}
        for name in self._needs:
            if name in chosen:
                waves[depth[name]] = (*waves.get(depth[name], ()), name)
        return [waves[number] for number in sorted(waves)]
