"""Who may start when: dependencies between services, decided on what each one is right now.

The engine keeps one `Fleet` and tells it every new state; it answers with the services that get `Permit`. A need is
`started` (it lives), `ready` (it is up) or `completed` (it is done). This is the only mutable thing in the policy: a
change costs O(its dependents), also with 500 services. Nothing is stopped because a need went away. Must not
know rules beyond `needs`. Tests: tests/policy/test_fleet.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from midwatch.model.service import Need
from midwatch.model.state import ServiceState

Needs = Mapping[str, Mapping[str, Need]]


class FleetError(ValueError):
    """The needs cannot be met by any order: an unknown service, or a cycle (with its path in `path`)."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


def needs_problem(needs: Needs) -> FleetError | None:
    """The first thing that is wrong with these needs, or None."""
    for service, wanted in needs.items():
        for other in wanted:
            if other not in needs:
                near = get_close_matches(other, needs, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                return FleetError(f"{service} needs {other}, which does not exist{hint}", (service, other))
    cycle = _cycle(needs)
    if cycle:
        return FleetError("these services wait for each other: " + " -> ".join(cycle), cycle)
    return None


def _cycle(needs: Needs) -> tuple[str, ...]:
    """A cycle as a path that ends where it began, or (). Depth first with a stack of our own: no recursion limit."""
    done: set[str] = set()
    for root in needs:
        path: list[str] = []
        stack: list[tuple[str, bool]] = [(root, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                done.add(path.pop())
            elif name in path:
                return (*path[path.index(name) :], name)
            elif name not in done:
                path.append(name)
                stack.append((name, True))
                stack += [(other, False) for other in needs[name]]
    return ()


def _met(need: Need, state: ServiceState | None) -> bool:
    if state is None:
        return False
    if need == "completed":
        return state.phase == "done"
    if need == "ready":
        return state.phase == "up"
    return state.phase == "up" or (state.phase == "starting" and state.pid is not None)


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
        words = []
        for other, need in self._needs.get(service, {}).items():
            state = self._states.get(other)
            if not _met(need, state):
                words.append(f"{other} has to be {need} (it is {state.phase if state else 'unknown'})")
        return tuple(words)

    def closure(self, services: Iterable[str]) -> tuple[str, ...]:
        """These services and everything they need, in start order."""
        wanted: set[str] = set()
        todo = [name for name in services if name in self._needs]
        while todo:
            name = todo.pop()
            if name not in wanted:
                wanted.add(name)
                todo += self._needs[name]
        return tuple(name for wave in self.start_waves(wanted) for name in wave)

    def start_waves(self, services: Iterable[str] | None = None) -> list[tuple[str, ...]]:
        """Groups in start order: each needs only earlier ones. Needs outside `services` are looked through."""
        return self._waves(self._needs, services)

    def stop_waves(self, services: Iterable[str] | None = None) -> list[tuple[str, ...]]:
        """Groups in stop order: dependents first. Stop a group when the one before it is settled."""
        return self._waves(self._dependents, services)

    def _waves(self, after: Mapping[str, Iterable[str]], services: Iterable[str] | None) -> list[tuple[str, ...]]:
        depth: dict[str, int] = {}
        for name in self._sorted(after):
            depth[name] = 1 + max((depth[other] for other in after[name]), default=-1)
        chosen = set(self._needs) if services is None else set(services) & set(self._needs)
        waves: dict[int, list[str]] = {}
        for name in self._needs:
            if name in chosen:
                waves.setdefault(depth[name], []).append(name)
        return [tuple(waves[d]) for d in sorted(waves)]

    def _sorted(self, after: Mapping[str, Iterable[str]]) -> list[str]:
        """Each name behind everything it comes after (there is no cycle: `replace` refused it)."""
        order: dict[str, None] = {}
        for root in after:
            stack = [(root, False)]
            while stack:
                name, ready = stack.pop()
                if ready:
                    order[name] = None
                elif name not in order:
                    stack.append((name, True))
                    stack += [(other, False) for other in after[name]]
        return list(order)
