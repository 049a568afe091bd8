"""Commands as jobs: each has an id, touches services, and is finished when every service has settled.

Stops go in layers (dependents first); everything else goes at once and the fleet's permits make the order. The newest
intent wins: the policy settles the older job as superseded. Must not know how a command arrived.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from midwatch.model.event import Ask, NewRules, Verb
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service


class Outcome(msgspec.Struct, frozen=True):
    """How one service settled."""

    ok: bool
    message: str


class Job:
    """One command under way or finished."""

    __slots__ = ("done", "id", "layers", "open", "results", "then", "verb", "waiters")

    def __init__(self, job_id: str, verb: str) -> None:
        self.id = job_id
        self.verb = verb
        self.open: set[str] = set()
        self.layers: list[list[tuple[str, Ask | NewRules]]] = []
        self.results: dict[str, Outcome] = {}
        self.done = False
        self.then: Callable[[Job], None] | None = None
        self.waiters: list[Callable[[], None]] = []

    @property
    def failed(self) -> list[str]:
        """The services that did not end as wanted."""
        return [name for name, outcome in self.results.items() if not outcome.ok]

    def report(self) -> dict[str, Any]:
        """What `job` answers."""
        failed = self.failed
        state = "running" if not self.done else "failed" if failed else "done"
        words = f"{self.verb}: {len(self.results) - len(failed)} of {len(self.results) + len(self.open)} services done"
        return {
            "id": self.id,
            "state": state,
            "message": words,
            "services": {name: {"ok": o.ok, "message": o.message} for name, o in self.results.items()},
        }


class Jobs:
    """The register; keeps the last `defaults.JOB_HISTORY` finished jobs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._count = 0

    def ask(
        self, verb: Verb, services: list[str], by: str, *, now: bool = False, signalled: bool = False,
        then: Callable[[Job], None] | None = None,
    ) -> Job:  # fmt: skip
        """Start a command on these services."""
        job = self._new(verb)
        job.then = then
        request = Ask(verb=verb, job=job.id, by=by, now=now, signalled=signalled)
        if verb == "stop":
            order = self._engine.fleet.stop_waves(services)
            job.layers = [[(name, request) for name in layer] for layer in order]
        else:
            job.layers = [[(name, request) for name in services]]
        self._advance(job)
        return job

    def run(
        self, verb: str, layers: list[list[tuple[str, Ask | NewRules]]], then: Callable[[Job], None] | None = None
    ) -> Job:
        """A command that is made of several kinds of request (reload). Each request's `job` is filled in here."""
        job = self._new(verb)
        job.then = then
        job.layers = [
            [(name, msgspec.structs.replace(request, job=job.id)) for name, request in layer] for layer in layers
        ]
        self._advance(job)
        return job

    def get(self, job_id: str) -> Job | None:
        """A job by its id, None when it is unknown or forgotten."""
        return self._jobs.get(job_id)

    def settle(self, job_id: str, service: str, ok: bool, message: str) -> None:
        """The policy says: done with this service."""
        job = self._jobs.get(job_id)
        if job is None or service not in job.open:
            return
        job.open.discard(service)
        job.results[service] = Outcome(ok, message)
        if not job.open:
            self._advance(job)

    def _new(self, verb: str) -> Job:
        self._count += 1
        job = Job(f"{verb}-{int(self._engine.machine.now().wall)}-{self._count}", verb)
        self._jobs[job.id] = job
        while len(self._jobs) > defaults.JOB_HISTORY:
            oldest = next(iter(self._jobs.values()))
            if not oldest.done:
                break
            del self._jobs[oldest.id]
        return job

    def _advance(self, job: Job) -> None:
        """Put the next layer's requests, or finish."""
        while not job.open and job.layers:
            layer = job.layers.pop(0)
            found: list[tuple[Service, Ask | NewRules]] = []
            for name, request in layer:
                service = self._engine.services.get(name)
                if service is None:
                    job.results[name] = Outcome(True, "no longer there")
                else:
                    job.open.add(name)
                    found.append((service, request))
            for service, request in found:
                self._engine.post(service, request)
        if not job.open and not job.layers and not job.done:
            job.done = True
            self._engine.write("job.done", fields={"job": job.id, "verb": job.verb, "failed": job.failed})
            if job.then is not None:
                job.then(job)
            for waiter in job.waiters:
                waiter()
            job.waiters.clear()
