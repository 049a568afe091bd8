"""Probes: asks a run whether it is ready or well, at its own rhythm, never twice at once.

A probe that hangs longer than its timeout is ended and counts as one failure (G8). The answer has to come from
the run's own tree (HLT-2). What a number of failures means is the policy's business.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from midwatch.engine.asking import Answer, Question, ask
from midwatch.model.event import Probed
from midwatch.model.service import Probe

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.run import Run

Kind = Literal["ready", "health"]


class Prober:
    """One per engine; a `Watcher` a service at most."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def watch(self, service: Service, kind: Kind | None) -> None:
        """Probe this way from now on, or no longer."""
        if service.probe is not None:
            service.probe.stop()
            service.probe = None
        rules = service.spec.rules
        probe = rules.ready if kind == "ready" else rules.health if kind == "health" else None
        if probe is not None and kind is not None and service.run is not None:
            service.probe = Watcher(self._engine, service, service.run, kind, probe)


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
            engine.notify.listen(run.id, self._notified)
        else:
            # A health probe starts one period after the run is up; a ready probe at once.
            self._schedule(0.0 if kind == "ready" else probe.every)

    def stop(self) -> None:
        """Ask no more; an open question is dropped."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._question is not None:
            self._question.cancel()

    def _schedule(self, delay: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, self._ask)

    def _ask(self) -> None:
        self._question = ask(self._engine, self._service, self._run, self._probe, self._kind, self._answered)

    def _answered(self, answer: Answer) -> None:
        self._question = None
        if self._stopped:
            return
        # The next one is planned first: the event may stop us.
        self._schedule(self._probe.every)
        self._post(answer.ok, answer.detail)

    def _notified(self, said: dict[str, str]) -> None:
        if not self._stopped and said.get("READY") == "1":
            self._post(True, said.get("STATUS", "READY=1"))

    def _post(self, ok: bool, detail: str) -> None:
        self._engine.post(self._service, Probed(run=self._run.id, kind=self._kind, ok=ok, detail=detail))
