"""Puts a project's configuration into force: only the difference restarts, a refusal changes nothing.

The accepted specs are on disk before anything acts on them, so a new engine finds the same services. Must not parse
configuration (config/).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from midwatch.config.digest import difference
from midwatch.config.problems import Settings
from midwatch.engine.pending import After, Step
from midwatch.engine.specs import save_specs, share
from midwatch.model.service import ServiceSpec
from midwatch.policy.fleet import needs_problem
from midwatch.policy.step import initial

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.jobs import Job


_UNLIMITED = 1 << 60  # bytes: more than any machine has
Rest = Literal["start", "leave", "again"]  # "again": also what has ended, is held or gave up (`run`)


class Applied(msgspec.Struct):
    """What `apply` did, or with `dry_run` would do."""

    job: str | None = None
    added: list[str] = []
    removed: list[str] = []
    restarted: list[str] = []
    changed: list[str] = []
    unchanged: list[str] = []
    started: list[str] = []  # known ones that were at rest and are wanted again
    problem: str = ""

    def report(self) -> dict[str, Any]:
        """The method's answer."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name != "problem"}


def move_limit(engine: Engine, service: Service) -> None:
    """The kernel's memory limit of a living run follows its line; where it cannot, the guard polls and it is said."""
    run, hard = service.run, service.spec.launch.memory_hard
    if run is None or run.exited or run.containment.memory is None or run.launch.memory_hard == hard:
        return
    before, run.launch = run.launch, msgspec.structs.replace(run.launch, memory_hard=hard)
    asked = msgspec.structs.replace(run.launch, memory_hard=_UNLIMITED if hard is None else hard)

    def done(answer: asyncio.Future[str]) -> None:
        if words := answer.result():
            run.launch = before
            engine.write("limit.warning", service=service.spec.id, run=run.id, fields={"message": words})

    work = engine.machine.limit
    asyncio.get_running_loop().run_in_executor(None, work, run.containment, asked).add_done_callback(done)


class Applier:
    """Bound to one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        engine.jobs.finish["remove"] = lambda _, names: engine.remove_services(names)
        engine.jobs.finish["down"] = self.are_down

    def apply(
        self, project: str, source: str, specs: list[ServiceSpec], *, dry_run: bool, prune: bool, by: str,
        settings: Settings | None = None, rest: Rest = "start",
    ) -> Applied:  # fmt: skip
        """Compare, check the whole, store, then act. `rest`: what happens to known services that are at rest."""
        engine = self._engine
        wanted = {spec.id: spec for spec in share(specs)}
        if strangers := [spec.id for spec in specs if spec.project != project]:
            return Applied(problem=f"{strangers[0]} is not of project {project!r}; nothing was changed")
        old = {name: s.spec for name, s in engine.services.items() if s.spec.project == project}
        found = self._compare(old, wanted, prune)
        found.started = self._at_rest(found, wanted, rest)
        union = {name: s.spec for name, s in engine.services.items() if name not in found.removed} | wanted
        error = needs_problem({name: spec.rules.needs for name, spec in union.items()})
        if error is not None:
            engine.write("config.refused", fields={"project": project, "reason": str(error)})
            found.problem = f"{error}; nothing was changed"
            return found
        if dry_run:
            return found
        tables = engine.settings | ({project: settings} if settings is not None else {})
        try:
            save_specs(engine.layout.specs, union.values(), tables)
        except OSError as failure:
            found.problem = f"cannot store {engine.layout.specs}: {failure.strerror}; nothing was changed"
            return found
        engine.settings = tables
        engine.journal.bound(weeks=engine.limits.journal_weeks, max_bytes=engine.limits.journal_bytes)
        self._act(found, wanted, source, by)
        return found

    def _compare(self, old: dict[str, ServiceSpec], new: dict[str, ServiceSpec], prune: bool) -> Applied:
        between = difference(old.values(), new.values())
        return Applied(
            added=list(between.added),
            removed=list(between.removed) if prune else [],
            restarted=list(between.restarted),
            changed=list(between.changed),
            unchanged=list(between.unchanged),
        )

    def _act(self, found: Applied, wanted: dict[str, ServiceSpec], source: str, by: str) -> None:
        engine = self._engine
        now = engine.machine.now()
        for name in found.added:
            engine.add_service(wanted[name], initial(name, wanted[name].rules, now))
        requests = []
        for name in found.restarted + found.changed:
            service = engine.services[name]
            service.spec = wanted[name]
            engine.gates.drop(service)
            if name in found.changed:
                move_limit(engine, service)
            requests.append(Step(name, "respawn" if name in found.restarted else "rules", by))
        for name in found.unchanged:
            engine.services[name].spec = wanted[name]
            held = engine.services[name].state.phase == "held"
            if held and name not in found.started:  # whoever reloads may just have cured it
                requests.append(Step(name, "rules", by))
        engine.needs_changed()
        wanting = [*(name for name in found.added if wanted[name].autostart), *found.started]
        stopping = [[Step(n, "stop", by) for n in layer] for layer in engine.fleet.stop_waves(found.removed)]
        fields = {
            "source": source, "added": found.added, "removed": found.removed, "restarted": found.restarted,
            "changed": found.changed,
        }  # fmt: skip
        engine.write("config.applied", fields=fields)
        engine.journal.checkpoint()  # a replay and a new engine start from states that know the new services
        layers = [*stopping, requests, [Step(name, "start", by) for name in wanting]]
        found.job = engine.jobs.run("apply", layers, After("remove", found.removed)).id

    def _at_rest(self, found: Applied, wanted: dict[str, ServiceSpec], rest: Rest) -> list[str]:
        """Known services to start; a one-shot that is done stays done."""
        if rest == "leave":
            return []
        over = ("stopped", "done", "gave_up", "held") if rest == "again" else ("stopped",)
        known = [*found.unchanged, *found.changed, *found.restarted]
        return [n for n in known if wanted[n].autostart and self._engine.services[n].state.phase in over]

    def down(self, names: list[str], by: str, *, now: bool, everything: bool) -> Job:
        """Stop these for good: they leave the accepted specs too, once they are down."""
        after = After("down_all" if everything else "down", names)
        return self._engine.jobs.ask("stop", names, by, now=now, after=after)

    def are_down(self, job: Job, names: list[str]) -> None:
        """Such a job is finished: forget the services, except one that could not be ended."""
        engine = self._engine
        engine.remove_services(name for name in names if name not in job.failed)
        left = {service.spec.project for service in engine.services.values()}
        engine.settings = {project: table for project, table in engine.settings.items() if project in left}
        try:
            save_specs(engine.layout.specs, [s.spec for s in engine.services.values()], engine.settings)
        except OSError as error:
            engine.write("state.damaged", fields={"path": str(engine.layout.specs), "problem": str(error)})
