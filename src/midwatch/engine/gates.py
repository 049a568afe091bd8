"""Warm gates: for a service that has a cgroup, the gate of its next run waits inside it already, so that a restart does
not pay 11-21 ms for the move (spawner.py).

A gate bears the id of the run it is for. One that is dropped keeps that id until keeper, cgroup and FIFO have let go of
it, and a start of that number waits so long. Must not decide when to start.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from midwatch.engine.run import Run
from midwatch.model.event import SpawnFailed
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service


class Gates:
    """All warm gates of an engine; at most `defaults.WARM_GATES` wait."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._leaving: dict[str, Callable[[], None] | None] = {}  # dropped gates by run id: who waits for the id
        self._draining: dict[str, Run] = {}
        self.count = 0

    def prepare(self, service: Service) -> None:
        """Make the gate of the next run, if that saves the next restart something."""
        engine = self._engine
        run = service.run
        if (
            service.warm is not None
            or run is None
            or run.exited
            or not run.containment.dirs
            or service.spec.rules.oneshot
            or run.launch.listen  # it would hold a socket that may have to be opened anew
            or self.count >= defaults.WARM_GATES
        ):
            return
        run_id = f"{service.spec.project}.{service.spec.name}.{service.state.run_no + 1}"
        gate = engine.spawner.make(service, run_id)
        gate.warm = True
        service.warm = gate
        self.count += 1
        engine.runs[run_id] = gate
        engine.spawner.begin(service, gate, lambda failed: self._failed(service, gate, failed))

    def take(self, service: Service, run_id: str) -> Run | None:
        """The gate that was made for exactly this run, or None; any other is dropped."""
        gate = service.warm
        if gate is not None and gate.id == run_id and gate.launch is service.spec.launch and gate.gate == "closed":
            self.left(service, gate)
            gate.warm = False
            return gate
        self.drop(service)
        return None

    def drop(self, service: Service) -> None:
        """A gate that is not needed leaves by itself when its pipe is closed; one that is being made, once it is."""
        gate = service.warm
        if gate is None:
            return
        self.left(service, gate)
        gate.dropped = True
        self._leaving[gate.id] = None
        if gate.proc is not None:
            self._engine.link.ask(lambda _: None, op="drop", run=gate.id)

    def abandoned(self, service: Service, entry: dict[str, Any], over: bool) -> None:
        """The last engine's gate, in the keeper's table: it leaves, or has left, and is no run of the service."""
        engine = self._engine
        gate = engine.spawner.make(service, entry["run"])
        gate.streams = {name: {"fifo": at["fifo"], "log": at["log"]} for name, at in entry["streams"].items()}
        gate.containment = engine.machine.leftover(gate.id)
        gate.warm = gate.dropped = True
        engine.runs[gate.id] = gate
        self._leaving[gate.id] = None
        if over:
            self.gone(gate, engine.end_run(gate))
        elif entry["gate"] == "closed":
            engine.link.ask(lambda _: None, op="drop", run=gate.id)

    def left(self, service: Service, gate: Run) -> None:
        """It is the service's warm gate no longer."""
        if service.warm is gate:
            service.warm = None
            self.count -= 1

    def when_free(self, run_id: str, start: Callable[[], None]) -> None:
        """Now, or when the dropped gate of that number is gone: keeper, cgroup and FIFO know it by the same id."""
        if run_id in self._leaving:
            self._leaving[run_id] = start
        else:
            start()

    def gone(self, gate: Run, released: asyncio.Future[None] | None) -> None:
        """Nothing is left of a gate, or will be once its cgroups are `released`: a run that waits for its id starts."""
        if not gate.dropped:
            return
        if released is not None and not released.done():
            released.add_done_callback(lambda _: self.gone(gate, None))
            return
        if any(os.path.lexists(stream["fifo"]) for stream in gate.streams.values()):
            self._draining[gate.id] = gate  # the pump removes it and says so
            return
        waiting = self._leaving.pop(gate.id, None)
        if waiting is not None:
            waiting()

    def drained(self, run_id: str) -> None:
        """The pump has let go of a stream."""
        gate = self._draining.pop(run_id, None)
        if gate is not None:
            self.gone(gate, None)

    def _failed(self, service: Service, gate: Run, failed: SpawnFailed) -> None:
        if not gate.warm:  # the next run has come meanwhile, and this was it
            self._engine.spawner.failed(service, gate, failed)
            return
        if service.warm is gate:
            self.drop(service)
        if gate.proc is None:  # there is no process whose exit would tell
            self.gone(gate, self._engine.forget(gate))
