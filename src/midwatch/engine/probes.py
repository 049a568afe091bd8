"""Probes: asks a run whether it is ready or well, at its own rhythm, never twice at once.

A probe that hangs longer than its timeout is ended and counts as one failure (G8). The answer has to come from
the run's own tree (HLT-2). The deep probe asks beside the shallow one, in its own rhythm (HLT-4); what needs no
question is in liveness.py. What a number of failures means is the policy's business.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, Protocol

from midwatch.engine.asking import Answer, Question, ask
from midwatch.engine.notify import microseconds
from midwatch.engine.run import ANSWERS
from midwatch.model.event import Probed
from midwatch.model.service import Probe

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.run import Run

Kind = Literal["ready", "health", "deep"]


class Watching(Protocol):
    """Something that looks at a run until it is stopped."""

    def stop(self) -> None:
        """Look no more."""


class Watched:
    """Everything that looks at one run."""

    def __init__(self, parts: list[Watching]) -> None:
        self.parts = parts

    def stop(self) -> None:
        """Look no more."""
        for part in self.parts:
            part.stop()


class Prober:
    """One per engine; at most one run a service is watched."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def watch(self, service: Service, kind: Literal["ready", "health"] | None) -> None:
        """Watch the run this way from now on, or no longer."""
        if service.probe is not None:
            service.probe.stop()
            service.probe = None
        run = service.run
        if kind is None or run is None:
            return
        rules = service.spec.rules
        wanted: list[tuple[Kind, Probe | None]] = [("ready", rules.ready)]
        if kind == "health":
            wanted = [("health", rules.health), ("deep", rules.deep)]
        parts: list[Watching] = [
            Watcher(self._engine, service, run, name, probe) for name, probe in wanted if probe is not None
        ]
        if kind == "health":
            parts += self._engine.liveness.watch(service, run)
        if parts:
            service.probe = Watched(parts)


class Watcher:
    """Repeats one question until it is stopped."""

    def __init__(self, engine: Engine, service: Service, run: Run, kind: Kind, probe: Probe) -> None:
        self._engine = engine
        self._service = service
        self._run = run
        self._kind = kind
        self._probe = probe
        self._question: Question | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        if probe.notify:
            engine.notify.listen(run.id, kind, self._notified)
        else:
            # A health probe starts one period after the run is up; a ready probe at once.
            self._schedule(0.0 if kind == "ready" else probe.every)

    def stop(self) -> None:
        """Ask no more; an open question is dropped."""
        self._stopped = True
        if self._probe.notify:
            self._engine.notify.unlisten(self._run.id, self._kind)
        if self._timer is not None:
            self._timer.cancel()
        if self._question is not None:
            self._question.cancel()

    def _schedule(self, delay: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, self._ask)

    def _ask(self) -> None:
        try:
            self._question = ask(self._engine, self._service, self._run, self._probe, self._kind, self._answered)
        except Exception as error:  # noqa: BLE001  a bug of ours is no failure of the service (G11)
            self._answered(error)

    def _answered(self, answer: Answer | Exception) -> None:
        self._question = None
        if self._stopped:
            return
        if isinstance(answer, Exception):
            self._failed(answer)
            return
        # The next one is planned first: the event may stop us.
        self._schedule(self._probe.every)
        self._post(answer.ok, answer.detail)

    def _failed(self, error: Exception) -> None:
        """We could not ask: nothing is counted, and no start is late for it. We go on asking."""
        self._schedule(max(self._probe.every, 1.0))
        self._engine.faults.caught(f"{self._kind} probe", error, self._service.spec.id, self._run.id)
        if self._kind == "ready":
            more = self._probe.within
            self._engine.post(self._service, Probed(run=self._run.id, kind="ready", ok=False, extend=more))

    def _notified(self, said: dict[str, str]) -> None:
        if self._stopped:
            return
        more = microseconds(said.get("EXTEND_TIMEOUT_USEC", ""))
        if said.get("READY") == "1":
            self._post(True, said.get("STATUS", "READY=1"))
        elif more is not None:
            self._engine.post(self._service, Probed(run=self._run.id, kind=self._kind, ok=False, extend=more))

    def _post(self, ok: bool, detail: str) -> None:
        wall = self._engine.machine.now().wall
        self._run.answers.append({"at": wall, "probe": self._kind, "ok": ok, "detail": detail})
        del self._run.answers[:-ANSWERS]
        self._engine.post(self._service, Probed(run=self._run.id, kind=self._kind, ok=ok, detail=detail))
