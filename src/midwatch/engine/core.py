"""The engine's loop: event -> step -> journal -> actions, for every service of the instance.

The only place where policy, machine, keeper and record meet. One event is handled at a time; what an action causes at
once is queued, never nested. Must not contain a decision: those are in policy/.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from midwatch.config.problems import Settings
from midwatch.engine.apply import Applier
from midwatch.engine.capture import Captures
from midwatch.engine.ender import Ender
from midwatch.engine.faults import Faults
from midwatch.engine.filewatch import FileWatching
from midwatch.engine.gates import Gates
from midwatch.engine.guard.sampler import Sampler
from midwatch.engine.heirs import Heirs
from midwatch.engine.jobs import Jobs
from midwatch.engine.keeperlink import KeeperLink
from midwatch.engine.layout import Layout
from midwatch.engine.liveness import Liveness
from midwatch.engine.notify import NotifySockets
from midwatch.engine.output import Output
from midwatch.engine.ports import Ports
from midwatch.engine.probes import Prober, Watched
from midwatch.engine.pulse import Pulse
from midwatch.engine.run import Run
from midwatch.engine.schedule import Schedules
from midwatch.engine.sockets import Sockets
from midwatch.engine.spawner import Spawner
from midwatch.engine.specs import strictest
from midwatch.machine.ports import Machine, Target
from midwatch.model.action import Capture, Drain, Follow, Kill, Note, Precheck, Settle, Signal, Spawn, Watch
from midwatch.model.event import Ask, Event, Permit, Prechecked, Probed, Tick, Wedged
from midwatch.model.service import Launch, ServiceSpec
from midwatch.model.state import ServiceState
from midwatch.policy import defaults
from midwatch.policy.fleet import Fleet
from midwatch.policy.step import step
from midwatch.record.history import SqliteHistory
from midwatch.record.journal import Journal
from midwatch.record.runs import RunRecords


class Service:
    """One service as the engine holds it: its spec, the policy's state, and the handles."""

    __slots__ = ("probe", "run", "spec", "state", "target", "timer", "warm")

    def __init__(self, spec: ServiceSpec, state: ServiceState) -> None:
        self.spec = spec
        self.state = state
        self.run: Run | None = None
        self.warm: Run | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.probe: Watched | None = None
        self.target: tuple[Launch, Target, tuple[int, ...]] | None = None  # the last look-up and what it rests on


class Engine:
    """One instance. `keep_group`: a foreground run that shares the terminal's process group."""

    def __init__(
        self, layout: Layout, machine: Machine, link: KeeperLink, keeper_pid: int, *, keep_group: bool = False
    ) -> None:
        self.layout = layout
        self.machine = machine
        self.link = link
        self.keeper_pid = keeper_pid
        self.keep_group = keep_group
        self.services: dict[str, Service] = {}
        self.runs: dict[str, Run] = {}
        self.fleet = Fleet({})
        self.settings: dict[str, Settings] = {}  # project -> its [midwatch] table
        self.records = RunRecords(layout.runs, on_trouble=self.complain)
        self.journal: Journal = None  # type: ignore[assignment]  # set by boot, needs the restored state first
        self.history: SqliteHistory | None = None
        self.jobs = Jobs(self)
        self.applier = Applier(self)
        self.faults = Faults(self)
        self.pulse = Pulse(self)
        self.spawner = Spawner(self)
        self.gates = Gates(self)
        self.ender = Ender(self)
        self.prober = Prober(self)
        self.liveness = Liveness(self)
        self.captures = Captures(self)
        self.heirs = Heirs(self)
        self.ports = Ports(self)
        self.output = Output(self)
        self.notify = NotifySockets(self)
        self.schedules = Schedules(self)
        self.files = FileWatching(self)
        self.sockets = Sockets(self)
        self.guards = Sampler(self)
        self.followers = (self.schedules, self.files, self.sockets, self.guards)  # of what services want and are
        self.can_contain = any(
            reason == "yes" for name, reason in machine.host().rungs.items() if name.startswith("cgroup")
        )
        self.rehearsed: dict[str, str] = {}  # rung -> "yes" or why not, once it has been tried (rehearsal.py)
        self.on_change: list[Callable[[Service], None]] = []
        self.on_line: list[Callable[[str, str | None, dict[str, Any]], None]] = []
        self._inbox: deque[tuple[Service, Event]] = deque()
        self._busy = False
        self._inputs = 0  # journalled since the last snapshot

    # -- events in ---------------------------------------------------------------------------------------------

    def post(self, service: Service, event: Event) -> None:
        """Hand an event to a service; handled before this returns unless one is being handled already."""
        if type(event) in (Tick, Probed, Wedged):
            self.pulse.look()  # nobody is blamed for a time in which nobody was awake
        self._inbox.append((service, event))
        self._drain()

    def _drain(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox:
                service, event = self._inbox.popleft()
                try:
                    self._handle(service, event)
                except Exception as error:  # noqa: BLE001  a bug of ours costs this event, not supervision (G11)
                    self.faults.caught("policy", error, service.spec.id, service.state.run)
        finally:
            self._busy = False

    def _handle(self, service: Service, event: Event) -> None:
        if service.spec.id not in self.services:
            return
        now = self.machine.now()
        before = service.state
        stepped = step(before, event, now)
        after = stepped.state
        if after is before and not stepped.actions:
            return
        service.state = after
        self._write_step(service, event, now.awake, now.wall, stepped.actions)
        run = service.run
        for action in stepped.actions:
            try:
                self._perform(service, action)
            except Exception as error:  # noqa: BLE001  the other actions are still carried out (G11)
                self.faults.caught(f"action {type(action).__name__}", error, service.spec.id, after.run)
        if type(event) is Ask:
            service.target = None  # a person may have installed another program meanwhile
        # After the actions: the successor's start does not wait for the removal of what is left of this run.
        if run is not None and run.exited and after.phase not in ("stopping", "killing"):
            self.end_run(run)
        if after.wake_at != before.wake_at or service.timer is None:
            self._set_timer(service)
        if (after.phase, after.want) != (before.phase, before.want) or after.rules is not before.rules:
            for follower in self.followers:
                follower.observe(service)
        if (after.phase, after.pid, after.ready) != (before.phase, before.pid, before.ready):
            self._permit(self.fleet.observe(after))
            for watcher in self.on_change:
                watcher(service)

    def _permit(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.services:
                self._inbox.append((self.services[name], Permit()))

    def with_needs(self, names: list[str]) -> list[str]:
        """These and what they need, in start order; a needed oneshot that is done stays done."""
        found = self.fleet.closure(names)
        return [name for name in found if name in names or self.services[name].state.phase != "done"]

    def needs_changed(self) -> None:
        """Services came, went or need other things."""
        # A need of a service that was taken down with its own project no longer holds anybody back.
        known = self.services
        self.fleet.replace(
            {name: {n: w for n, w in s.spec.rules.needs.items() if n in known} for name, s in known.items()}
        )
        for service in self.services.values():
            self._permit(self.fleet.observe(service.state))
        self._permit(self.fleet.review())
        self._drain()

    def _write_step(
        self, service: Service, event: Event, awake: float, wall: float, actions: tuple[Any, ...]
    ) -> None:
        """The journal gets the input with the first line it caused; replay feeds the inputs back."""
        cause: Any = msgspec.to_builtins(event)
        self._inputs += 1
        if self._inputs >= defaults.SNAPSHOT_EVERY:
            self._inputs = 0
            self.later(0.0, self.journal.checkpoint)
        for action in actions:
            if type(action) is Note:
                self.journal.write(
                    action.event, wall, service=service.spec.id, run=action.fields.get("run_id") or service.state.run,
                    fields=action.fields, input=cause, awake=awake if cause is not None else None,
                )  # fmt: skip
                if action.event in ("run.spawning", "stop.kill"):
                    # On disk before a power cut, but not in the way of the start: waking the fsync thread here costs
                    # the restart path 0.2-0.5 ms of hand-overs of the interpreter lock.
                    self.later(defaults.FSYNC_AFTER, self.journal.flush)
                cause = None
                self._tell(action.event, service.spec.id, action.fields)
        # A step without a note only moved a timer (policy/state.py): a replay does not need it.

    def write(
        self, event: str, *, service: str | None = None, run: str | None = None, fields: dict[str, Any] | None = None
    ) -> None:
        """A journal line of the engine's own, outside any step."""
        self.journal.write(event, self.machine.now().wall, service=service, run=run, fields=fields or {})
        self._tell(event, service, fields or {})

    def _tell(self, event: str, service: str | None, fields: dict[str, Any]) -> None:
        for listener in self.on_line:
            listener(event, service, fields)

    # -- actions out -------------------------------------------------------------------------------------------

    def _perform(self, service: Service, action: Any) -> None:
        match action:
            case Note():
                if action.event == "run.exited" and self.history is not None:
                    self.output.remember(service, action.fields)
            case Spawn():
                self.pulse.pace(lambda: self.spawner.spawn(service, action.run))
            case Signal():
                self.ender.signal(service, action)
            case Kill():
                self.ender.kill(service, action)
            case Capture():
                self.captures.take(service, action)
            case Drain():
                self.guards.drains.ask(service, action)
            case Follow():
                self.heirs.follow(service, action)
            case Watch():
                self.prober.watch(service, action.kind)
            case Precheck():
                self._precheck(service)
            case Settle():
                self.ports.settle(service, action.job, action.ok, action.message)

    def _precheck(self, service: Service) -> None:
        launch = service.spec.launch
        found = self.machine.lookup(launch)
        problem = getattr(found, "message", None)
        self.post(service, Prechecked(fingerprint=self.machine.fingerprint(launch), problem=problem))

    def _set_timer(self, service: Service) -> None:
        if service.timer is not None:
            service.timer.cancel()
            service.timer = None
        wake = service.state.wake_at
        if wake is not None:
            loop = asyncio.get_running_loop()
            service.timer = loop.call_at(wake, self._wake, service)

    def _wake(self, service: Service) -> None:
        service.timer = None
        self.post(service, Tick())
        if service.timer is None and service.state.wake_at is not None:
            self._set_timer(service)

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Call `what` in `seconds`."""
        asyncio.get_running_loop().call_later(seconds, what)

    # -- runs --------------------------------------------------------------------------------------------------

    def end_run(self, run: Run) -> asyncio.Future[None] | None:
        """Nothing of the run is left: its record, cgroups, socket and the keeper's memory of it go. Returns the
        cgroups' removal while that goes on."""
        service = self.services.get(run.service)
        if service is not None and service.run is run:
            service.run = None
        if self.runs.pop(run.id, None) is None:
            return None
        self.records.remove(run.id)
        self.notify.close(run.id)
        self.link.send(op="taken", run=run.id)
        return self.ender.release(run.containment) if run.containment.dirs else None

    def forget(self, run: Run) -> asyncio.Future[None] | None:
        """A run that never got a process. Returns the cgroups' removal while that goes on."""
        self.runs.pop(run.id, None)
        self.notify.close(run.id)
        return self.ender.release(run.containment) if run.containment.dirs else None

    def add_service(self, spec: ServiceSpec, state: ServiceState) -> None:
        """A service that is new here; the caller takes a checkpoint of the journal once all are there."""
        self.services[spec.id] = Service(spec, state)

    def remove_services(self, names: Iterable[str]) -> None:
        """Services that are gone from the configuration; one that still runs stays."""
        for name in names:
            service = self.services.get(name)
            if service is None or service.state.phase in ("starting", "up", "stopping", "killing"):
                continue
            self.gates.drop(service)
            if service.timer is not None:
                service.timer.cancel()
            del self.services[name]
            for follower in self.followers:
                follower.forget(name)
            self.write("service.removed", service=name)
        self.needs_changed()

    @property
    def limits(self) -> Settings:
        """The bounds that hold for the instance."""
        return strictest(self.settings.values())

    def rearm(self, service: Service) -> None:
        """Timer of a restored service, and whatever else follows it."""
        if service.timer is None:
            self._set_timer(service)
        for follower in self.followers:
            follower.observe(service)

    def complain(self, words: str) -> None:
        """The record is in trouble: the journal cannot say it, stderr can. Once an episode (the journal counts)."""
        print(f"midwatch: {words}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Everything is on disk."""
        self.files.close()
        self.guards.close()
        self.journal.close()
        if self.history is not None:
            self.history.close()

    @staticmethod
    def wants_notify(spec: ServiceSpec) -> bool:
        """Does one of its probes listen on NOTIFY_SOCKET?"""
        rules = spec.rules
        return bool((rules.ready and rules.ready.notify) or rules.watchdog is not None)

    def snapshot(self) -> dict[str, Any]:
        """What a journal file opens with: enough to go on from, and nothing secret."""
        rules: dict[int, Any] = {}  # equal rules are one object (specs.share): 500 services do not need 500 copies here
        states = []
        for service in self.services.values():
            state = service.state
            shown = rules.setdefault(id(state.rules), None) or msgspec.to_builtins(state.rules)
            rules[id(state.rules)] = shown
            plain = {name: getattr(state, name) for name in state.__struct_fields__ if name != "rules"}
            states.append({**msgspec.to_builtins(plain), "rules": shown})
        return {"now": msgspec.to_builtins(self.machine.now()), "states": states}
