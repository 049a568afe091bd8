"""Commands as jobs: each has an id, touches services, and is finished when every service has settled.

Stops go in layers (dependents first); everything else goes at once and the fleet's permits make the order. The newest
intent wins: the policy settles the older job as superseded. What is not finished is on disk (pending.py), so that a new
engine ends a half-finished `down` and still knows the id that a client waits for. Must not know how a command arrived.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from midwatch.engine.pending import After, Outcome, PendingJob, Step, load_jobs, save_jobs
from midwatch.model.event import Ask, NewRules, Verb
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service


class Job:
    """One command under way or finished."""

    __slots__ = ("after", "asked", "done", "id", "layers", "open", "results", "verb", "waiters")

    def __init__(self, job_id: str, verb: str) -> None:
        self.id = job_id
        self.verb = verb
        self.layers: list[list[Step]] = []  # not yet asked
        self.asked: dict[str, Step] = {}  # the layer that is under way
        self.open: set[str] = set()  # those of it that have not settled
        self.results: dict[str, Outcome] = {}
        self.after: After | None = None
        self.done = False
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

    def pending(self) -> PendingJob:
        """What a successor needs to go on with it."""
        return PendingJob(
            id=self.id, verb=self.verb, asked=[self.asked[name] for name in self.open if name in self.asked],
            layers=self.layers, results=self.results, after=self.after,
        )  # fmt: skip


class Jobs:
    """The register; keeps the last `defaults.JOB_HISTORY` finished jobs. `finish`: what follows a job, by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._count = 0
        self._restored: list[Job] = []
        self.finish: dict[str, Callable[[Job, list[str]], None]] = {}

    def ask(
        self, verb: Verb, services: list[str], by: str, *, now: bool = False, signalled: bool = False,
        after: After | None = None,
    ) -> Job:  # fmt: skip
        """Start a command on these services."""
        layers = self._engine.fleet.stop_waves(services) if verb == "stop" else [services]
        steps = [[Step(name, verb, by, now, signalled) for name in layer] for layer in layers]
        return self.run(verb, steps, after)

    def run(self, verb: str, layers: list[list[Step]], after: After | None = None) -> Job:
        """A command that is made of several kinds of request (reload)."""
        job = self._new(verb)
        job.layers = layers
        job.after = after
        self._advance(job)
        return job

    def get(self, job_id: str) -> Job | None:
        """A job by its id, None when it is unknown or forgotten."""
        return self._jobs.get(job_id)

    @property
    def unfinished(self) -> bool:
        """Is anything under way?"""
        return any(not job.done for job in self._jobs.values())

    def settle(self, job_id: str, service: str, ok: bool, message: str) -> None:
        """The policy says: done with this service."""
        job = self._jobs.get(job_id)
        if job is None or service not in job.open:
            return
        job.open.discard(service)
        job.results[service] = Outcome(ok, message)
        if not job.open and job not in self._restored:
            self._advance(job)

    # -- over the death of an engine -------------------------------------------------------------------------------

    def restore(self, *, same_daemon: bool) -> None:
        """Know the unfinished jobs of the last engine again. A new daemon does not end because the last one was to."""
        for saved in load_jobs(self._engine.layout.jobs, self._engine.machine.now().boot):
            job = Job(saved.id, saved.verb)
            job.layers = saved.layers
            job.asked = {step.service: step for step in saved.asked}
            job.open = set(job.asked)
            job.results = dict(saved.results)
            job.after = saved.after if same_daemon or saved.after is None else saved.after.without_end()
            self._jobs[job.id] = job
            self._restored.append(job)

    def resume(self) -> None:
        """The services are taken over: what of their requests is still under way, and what has been answered?"""
        restored, self._restored = self._restored, []
        for job in restored:
            for name in list(job.open):
                service = self._engine.services.get(name)
                if service is None or service.state.job != job.id:
                    job.open.discard(name)
                    job.results[name] = _outcome(job.asked[name], service)
            self._engine.write("job.resumed", fields={"job": job.id, "verb": job.verb, "open": len(job.open)})
            self._advance(job)

    def _save(self) -> None:
        jobs = [job.pending() for job in self._jobs.values() if not job.done]
        save_jobs(self._engine.layout.jobs, self._engine.machine.now().boot, jobs)

    # -- one job ---------------------------------------------------------------------------------------------------

    def _new(self, verb: str) -> Job:
        self._count += 1
        job = Job(f"{verb}-{int(self._engine.machine.now().wall * 1000)}-{self._count}", verb)
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
            found: list[tuple[Service, Step]] = []
            job.asked = {}
            for step in layer:
                service = self._engine.services.get(step.service)
                if service is None:
                    job.results[step.service] = Outcome(True, "no longer there")
                else:
                    job.open.add(step.service)
                    job.asked[step.service] = step
                    found.append((service, step))
            self._save()
            for service, step in found:
                self._engine.post(service, _request(step, service, job.id))
        if not job.open and not job.layers and not job.done:
            job.done = True
            self._save()
            self._engine.write("job.done", fields={"job": job.id, "verb": job.verb, "failed": job.failed})
            if job.after is not None:
                self.finish[job.after.kind](job, job.after.names)
            for waiter in job.waiters:
                waiter()
            job.waiters.clear()


def _request(step: Step, service: Service, job: str) -> Ask | NewRules:
    if step.verb == "rules" or step.verb == "respawn":  # noqa: PLR1714  what is left is an Ask's verb
        return NewRules(rules=service.spec.rules, respawn=step.verb == "respawn", job=job)
    return Ask(verb=step.verb, job=job, by=step.by, now=step.now, signalled=step.signalled)


def _outcome(step: Step, service: Service | None) -> Outcome:
    """A request whose answer died with the engine: what the service is now tells how it went."""
    if service is None:
        return Outcome(True, "no longer there")
    phase = service.state.phase
    if step.verb == "stop":
        wanted = phase == "stopped"
    else:
        wanted = phase in ("up", "done", "scheduled") or step.verb in ("rules", "reset")
    return Outcome(wanted, f"{phase}; the engine was restarted meanwhile")
