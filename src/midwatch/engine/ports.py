"""Whose port is it: before each start of a service with a `port`, and after a stop or a failed start (ORP-1, 2, 8).

The free port is the fast path, one trial bind. A taken one is looked at in a worker thread: which sockets listen, who
holds them, whose they are; the one that would be in the way is named with what frees it. Nobody is ever ended here, and
what a conflict means is the policy's business. Tests: tests/engine/test_ports.py, tests/system/test_ports.py.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from midwatch.engine.managers import BOOTED, SHARED, Facts, restarting, unit_for
from midwatch.engine.portsight import (
    Klass,
    Owner,
    Seen,
    Sight,
    answer_of,
    describe,
    end_of,
    find_out,
    in_the_way,
    passed_on,
    probed_hosts,
    survey,
    user_of,
)
from midwatch.machine.ports import Holder, Listener
from midwatch.model.event import PortBusy

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service

ASKED = (None, "requested", "port-conflict")  # a start after any other cause is a restart: the port was ours just now


class Ports:
    """One per engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._told: dict[str, frozenset[int]] = {}  # service -> sockets beside which it was started with a warning
        self._units: tuple[float, asyncio.Task[list[tuple[Facts, bool]]]] | None = None  # asked when
        self._answers: dict[str, tuple[int, str]] = {}  # service -> the socket last asked, and what it did

    def free(self, service: Service) -> bool:
        """The fast path: may it start as far as its port goes? One that the keeper holds for it is its own."""
        launch = service.spec.launch
        return launch.port is None or self._engine.machine.bindable(launch.port) or passed_on(launch, launch.port)

    def before(self, service: Service, run_id: str, start: Callable[[], None]) -> None:
        """Everything that has to be known about its port before a start. Ends in `start` or in `PortBusy`."""
        if not self.free(service):
            self.look(service, run_id, start)
        elif service.spec.launch.port is not None and service.state.last_cause in ASKED and os.path.isdir(BOOTED):
            self._returning().add_done_callback(lambda done: self._told_units(service, run_id, start, done))
        else:
            start()

    def _returning(self) -> asyncio.Task[list[tuple[Facts, bool]]]:
        """One question to systemd for all services that start now."""
        now = self._engine.machine.now().awake
        if self._units is None or now - self._units[0] > SHARED:
            self._units = (now, asyncio.ensure_future(restarting()))
        return self._units[1]

    def _told_units(
        self,
        service: Service,
        run_id: str,
        start: Callable[[], None],
        done: asyncio.Task[list[tuple[Facts, bool]]],
    ) -> None:
        port = service.spec.launch.port or 0
        unit = unit_for(port, done.result()) if done.exception() is None else None
        if unit is None:
            start()
        else:
            self._busy(service, run_id, port, Owner("manager", unit.words, None, unit.do))

    def look(self, service: Service, run_id: str, start: Callable[[], None], port: int = 0) -> None:
        """The port is taken: end in `start` (it is not in the way after all) or in `PortBusy`."""
        port = port or service.spec.launch.port or 0

        def seen(found: Seen) -> None:
            owner = self._in_the_way(service, found)
            if owner is None:
                start()
                return
            task = asyncio.ensure_future(self._asked(service, owner))
            task.add_done_callback(lambda done: self._busy(service, run_id, port, done.result()))

        self._survey(port, seen)

    def owner(self, service: Service, told: Callable[[Owner | None], None]) -> None:
        """Who else holds the service's port now? None: nobody, or its own processes."""
        port = service.spec.launch.port
        if port is None or self.free(service):
            told(None)
            return

        def seen(found: Seen) -> None:
            owner = self._in_the_way(service, found)
            told(None if owner is None or owner.service == service.spec.id else owner)

        self._survey(port, seen)

    def settle(self, service: Service, job: str, ok: bool, message: str) -> None:
        """ORP-8: a stop does not claim that all is quiet while somebody else answers on the service's port."""
        jobs, state = self._engine.jobs, service.state
        if not ok or state.phase != "stopped" or service.spec.launch.port is None:
            jobs.settle(job, service.spec.id, ok, message)
            return

        def told(owner: Owner | None) -> None:
            if owner is None or owner.listener is None:
                words = ""
            else:
                by = "" if owner.klass in ("ours", "manager") else ", not managed by midwatch"
                words = f"; port {service.spec.launch.port} is still served, by {owner.words}{by}"
            jobs.settle(job, service.spec.id, ok, message + words)

        self.owner(service, told)

    # -- looking -----------------------------------------------------------------------------------------------

    def _survey(self, port: int, seen: Callable[[Seen], None]) -> None:
        runs = self._engine.runs.values()
        trees = tuple(run.tree for run in runs if run.tree is not None and run.containment.kill)
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, survey, self._engine.machine, port, trees)
        future.add_done_callback(lambda done: seen(self._result(done)))

    def _result(self, done: asyncio.Future[Seen]) -> Seen:
        """A look that failed must not keep a service from its start."""
        problem = done.exception()
        if problem is not None:
            self._engine.complain(f"cannot look at who holds a port: {problem!r}")
            return Seen((), None)
        return done.result()

    def _in_the_way(self, service: Service, found: Seen) -> Owner | None:
        """The first of the sockets that would make the service's own bind fail."""
        if not found.sights:
            if found.blocked is None:
                return None
            words = found.blocked or "a socket that does not listen, of a process that cannot be found"
            return Owner("unknown", words, None, find_out(service.spec.launch.port or 0))
        hosts = probed_hosts(service.spec.rules)
        beside = [sight for sight in found.sights if not in_the_way(sight.listener, hosts)]
        for sight in found.sights:
            owner = None if sight in beside else self._whose(service, sight)
            if owner is not None:
                return owner
        self._warn(service, beside)
        return None

    def _warn(self, service: Service, beside: list[Sight]) -> None:
        """Scenario 17: another family or address; it starts, and whoever asks `localhost` may get the other one."""
        inodes = frozenset(sight.listener.inode for sight in beside)
        if not inodes or self._told.get(service.spec.id) == inodes:
            return
        self._told[service.spec.id] = inodes
        for sight in beside:
            owner = self._whose(service, sight)
            if owner is not None:
                place = f"[{sight.listener.address}]" if ":" in sight.listener.address else sight.listener.address
                words = f"port {sight.listener.port} is also served on {place}, by {owner.words}"
                self._engine.write("limit.warning", service=service.spec.id, fields={"message": words})

    def _whose(self, service: Service, sight: Sight) -> Owner | None:
        """ORP-1: the class of who holds a socket. None: it shares the port with the service on purpose."""
        port = sight.listener.port
        if not sight.holders:
            words = f"a process of {user_of(sight.listener.uid)} that this user may not look at"
            return Owner("unknown", words, None, find_out(port), listener=sight.listener)
        first = sight.holders[0]
        words, pid = describe(first), first.proc.pid
        if len(sight.holders) > 1:
            words += f" and {len(sight.holders) - 1} more"
        if first.proc.pid == self._engine.keeper_pid:
            return self._kept(service, words, sight.listener)
        inside = self._engine.runs.get(sight.run)
        name, run = (inside.service, inside.id) if inside is not None else self._of_ours(first)
        other = self._engine.services.get(name)
        if run and other is not None:
            if other is not service and other.spec.source and other.spec.source == service.spec.source:
                return None  # instances of one table: SO_REUSEPORT
            end = f"kill {pid}" if other is service else f"midwatch stop {name}"
            return Owner("ours", f"{words}, run {run}", pid, end, name, sight.listener)
        klass, kind, end = self._foreign(first, name)
        return Owner(klass, f"{words}, {kind}", pid, end, listener=sight.listener)

    def _kept(self, service: Service, words: str, listener: Listener) -> Owner | None:
        """A socket that the keeper holds for a service (LISTEN_FDS)."""
        known = self._engine.services.items()
        name = next((name for name, other in known if passed_on(other.spec.launch, listener.port)), "")
        if name == service.spec.id:
            return None
        words = f"{words}, which holds it for {name or 'a service that is gone'}"
        return Owner("ours", words, None, f"midwatch stop {name}" if name else "", name, listener)

    def _foreign(self, holder: Holder, orphaned: str) -> tuple[Klass, str, str]:
        kill = f"kill {holder.proc.pid}"
        if orphaned:
            return "orphan", f"left over from {orphaned}: no run of midwatch any more", kill
        if holder.manager:
            return "manager", f"managed by {holder.manager}", end_of(holder) or kill
        return "stranger", "a stranger", kill

    def _of_ours(self, holder: Holder) -> tuple[str, str]:
        """(service, living run) of a process of ours: no run when that is over, neither when it is not ours."""
        engine = self._engine
        for run in list(engine.runs.values()):
            if run.proc == holder.proc:
                return run.service, run.id
        mine = f"{engine.layout.instance}:"
        for part in holder.marker.split("/"):
            if part.startswith(mine):
                known = engine.runs.get(part.removeprefix(mine))
                service = "/".join(part.removeprefix(mine).split(".")[:2])
                return service, known.id if known is not None else ""
        return "", ""

    # -- telling -----------------------------------------------------------------------------------------------

    async def _asked(self, service: Service, owner: Owner) -> Owner:
        """ORP-2: does it still answer? Each socket is asked once."""
        listener = owner.listener
        if listener is None or owner.klass == "ours":
            return owner
        known, what = self._answers.get(service.spec.id, (0, ""))
        if known != listener.inode:
            what = await answer_of(listener)
            self._answers[service.spec.id] = (listener.inode, what)
        return owner._replace(klass="wedged", words=f"{owner.words}; {what}") if what else owner

    def _busy(self, service: Service, run_id: str, port: int, owner: Owner) -> None:
        self._engine.post(
            service,
            PortBusy(run=run_id, port=port, klass=owner.klass, owner=owner.words, pid=owner.pid, do=owner.do),
        )
