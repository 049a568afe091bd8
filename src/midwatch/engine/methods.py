"""What the control socket can be asked: one table of methods, from which the reference page is generated.

Each method checks its parameters by type before it does anything. Must not know sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from midwatch.config.problems import Settings
from midwatch.engine.apply import Applied
from midwatch.engine.guard.report import of_process, of_service
from midwatch.engine.jobs import Job
from midwatch.engine.status import status_of, status_report
from midwatch.engine.upgrade import upgrade
from midwatch.model.event import Verb
from midwatch.model.service import ServiceSpec
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine


class RpcError(Exception):
    """An answer that says what was wrong and what to do."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class Chosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`services`: ids "project/name"; `now`: skip the grace; `by`: who asks, for the journal."""

    services: list[str]
    now: bool = False
    by: str = "control"


class ApplyParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`specs` become the project's services; `prune` stops those that are no longer among them.

    `start`: known services that are at rest are wanted again (`up`); without it they stay as they are (`reload`).
    """

    project: str
    source: str
    specs: list[ServiceSpec]
    dry_run: bool = False
    prune: bool = True
    by: str = "control"
    settings: Settings | None = None
    start: bool = True


class UpgradeParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`keeper`: the new program without its plan; `engine`: the new program without home, runtime and mode; `env`: of
    both. They come from the command line of the version that is to take over."""

    keeper: list[str]
    engine: list[str]
    env: dict[str, str]
    by: str = "control"


class DownParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stop a project, or everything and the daemon with it (`all`)."""

    project: str | None = None
    all: bool = False
    now: bool = False
    by: str = "control"


class JobParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`wait`: seconds to hold the answer back while the job runs."""

    id: str
    wait: float = 0.0


class LeaksParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One service ("project/name"), or any process by its `pid`."""

    service: str | None = None
    pid: int | None = None


class WaitParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`until`: ready, stopped, exited (the run that is current now has ended) or done."""

    services: list[str]
    until: str = "ready"
    wait: float = 0.0


Handler = Callable[[Any], Awaitable[dict[str, Any]]]


class Methods:
    """The table and its handlers. Bound to one engine."""

    TABLE: ClassVar[dict[str, tuple[type[Any], str]]] = {
        "ping": (Nothing, "who is there: pid, keeper_pid, version"),
        "ps": (Nothing, "every service as it stands; never waits"),
        "start": (Chosen, "wanted from now on; a job"),
        "stop": (Chosen, "not wanted from now on; the job ends when nothing of the tree is left"),
        "restart": (Chosen, "stop, then start at once; the job ends when the new run is up"),
        "reset": (Chosen, "forget crashes and windows; a held or given-up service starts again"),
        "apply": (ApplyParams, "put a project's configuration into force; only the difference restarts"),
        "down": (DownParams, "stop a project, or everything and the daemon"),
        "upgrade": (UpgradeParams, "keeper and engine are replaced in place by another version; nothing stops"),
        "job": (JobParams, "how a job stands, optionally waiting for its end"),
        "leaks": (LeaksParams, "what of a service grows, and why nothing is said; of any other process one look"),
        "wait": (WaitParams, "wait until services are ready, stopped, exited or done"),
    }

    def __init__(self, engine: Engine, quit_daemon: Callable[[int], None]) -> None:
        self._engine = engine
        self._quit = quit_daemon
        engine.jobs.finish["down_all"] = self._all_down

    async def call(self, method: str, params: Any) -> dict[str, Any]:
        """Answer one request. Raises RpcError."""
        entry = self.TABLE.get(method)
        if entry is None:
            raise RpcError(-32601, f"no method {method!r}; there are: {', '.join(self.TABLE)}")
        try:
            checked = msgspec.convert(params, entry[0])
        except msgspec.ValidationError as error:
            raise RpcError(-32602, f"{method}: {error}") from None
        handler: Handler = getattr(self, f"_{method}")
        return await handler(checked)

    async def _ping(self, _: Nothing) -> dict[str, Any]:
        return status_report(self._engine)["daemon"]  # type: ignore[no-any-return]

    async def _ps(self, _: Nothing) -> dict[str, Any]:
        return status_report(self._engine)

    async def _start(self, asked: Chosen) -> dict[str, Any]:
        return self._command("start", asked)

    async def _stop(self, asked: Chosen) -> dict[str, Any]:
        return self._command("stop", asked)

    async def _restart(self, asked: Chosen) -> dict[str, Any]:
        return self._command("restart", asked)

    async def _reset(self, asked: Chosen) -> dict[str, Any]:
        return self._command("reset", asked)

    def _command(self, verb: Verb, asked: Chosen) -> dict[str, Any]:
        self._known(asked.services)
        names = asked.services
        if verb == "start":
            names = self._engine.with_needs(names)
        return {"job": self._engine.jobs.ask(verb, names, asked.by, now=asked.now).id}

    async def _apply(self, asked: ApplyParams) -> dict[str, Any]:
        applied: Applied = self._engine.applier.apply(
            asked.project, asked.source, asked.specs, dry_run=asked.dry_run, prune=asked.prune, by=asked.by,
            settings=asked.settings, rest="start" if asked.start else "leave",
        )
        if applied.problem:
            raise RpcError(-32002, applied.problem)
        return applied.report()

    async def _down(self, asked: DownParams) -> dict[str, Any]:
        names = [
            name
            for name, service in self._engine.services.items()
            if asked.all or service.spec.project == asked.project
        ]
        if not names and not asked.all:
            projects = sorted({s.spec.project for s in self._engine.services.values()})
            raise RpcError(-32001, f"no project {asked.project!r}; there are: {', '.join(projects) or 'none'}")

        return {"job": self._engine.applier.down(names, asked.by, now=asked.now, everything=asked.all).id}

    async def _upgrade(self, asked: UpgradeParams) -> dict[str, Any]:
        if self._engine.jobs.unfinished:
            raise RpcError(-32002, "a command is under way (midwatch ps shows it); upgrade when it is finished")
        problem = await upgrade(self._engine, asked.keeper, asked.engine, asked.env, asked.by)
        if problem:
            raise RpcError(-32002, f"{problem}; nothing was changed, the daemon goes on as it is")
        return {}

    def _all_down(self, job: Job, names: list[str]) -> None:
        self._engine.applier.are_down(job, names)
        # A moment later, so that the client that waits for the job gets its answer.
        self._engine.later(defaults.GOODBYE, lambda: self._quit(0))

    async def _job(self, asked: JobParams) -> dict[str, Any]:
        job = self._engine.jobs.get(asked.id)
        if job is None:
            raise RpcError(-32001, f"no job {asked.id!r}; only the last {defaults.JOB_HISTORY} are remembered")
        if not job.done and asked.wait > 0:
            woken = asyncio.Event()
            job.waiters.append(woken.set)
            try:
                await asyncio.wait_for(woken.wait(), min(asked.wait, defaults.LONG_POLL))
            except TimeoutError:
                if woken.set in job.waiters:
                    job.waiters.remove(woken.set)
        return job.report()

    async def _leaks(self, asked: LeaksParams) -> dict[str, Any]:
        if asked.service is not None:
            self._known([asked.service])
            return await of_service(self._engine, asked.service)
        mine = [n for n, service in self._engine.services.items() if asked.pid and service.state.pid == asked.pid]
        found = await (of_service(self._engine, mine[0]) if mine else of_process(self._engine, asked.pid or 0))
        if found is None:
            raise RpcError(-32001, f"there is no process {asked.pid}")
        return found

    async def _wait(self, asked: WaitParams) -> dict[str, Any]:
        if asked.until not in ("ready", "stopped", "exited", "done"):
            raise RpcError(-32602, f"wait: until is ready, stopped, exited or done, not {asked.until!r}")
        self._known(asked.services)
        engine = self._engine
        first = {name: engine.services[name].state.run for name in asked.services}

        def met() -> bool:
            return all(
                name not in engine.services or _reached(engine.services[name].state, asked.until, first[name])
                for name in asked.services
            )

        woken = asyncio.Event()
        watcher = lambda _: woken.set() if met() else None  # noqa: E731
        if not met() and asked.wait > 0:
            engine.on_change.append(watcher)
            try:
                await asyncio.wait_for(woken.wait(), min(asked.wait, defaults.LONG_POLL))
            except TimeoutError:
                pass
            finally:
                engine.on_change.remove(watcher)
        now = engine.machine.now()
        here = [engine.services[name] for name in asked.services if name in engine.services]
        return {"met": met(), "services": {service.spec.id: status_of(engine, service, now) for service in here}}

    def _known(self, names: list[str]) -> None:
        for name in names:
            if name not in self._engine.services:
                import difflib

                near = difflib.get_close_matches(name, self._engine.services, 1, 0.4)
                hint = f"; did you mean {near[0]!r}?" if near else "; `midwatch ps -a` lists them"
                raise RpcError(-32001, f"no service {name!r}{hint}")


def _reached(state: Any, until: str, first_run: str | None) -> bool:
    if until == "ready":
        return bool(state.phase == "up")
    if until == "stopped":
        return state.phase in ("stopped", "done", "gave_up", "held")
    if until == "done":
        return state.phase in ("done", "stopped")
    return bool(state.pid is None or state.run != first_run)
