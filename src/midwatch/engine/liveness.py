"""Is it wedged? Seen without asking the run: its watchdog (WATCHDOG=1 that stays away) and its accept queue (HLT-6).

One timer looks at the accept queues of all services together; a watchdog has a timer of its own, from the moment the
run is up. While it lasts `Wedged` is told again, and once more when it is over. What follows is the policy's business.
Tests: tests/engine/test_liveness.py, tests/system/test_liveness.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from midwatch.engine.notify import microseconds
from midwatch.machine.ports import Listener, Machine, Tree
from midwatch.model.event import Wedged
from midwatch.model.units import format_seconds
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.probes import Watching
    from midwatch.engine.run import Run


class Liveness:
    """One per engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._backlogs: dict[str, Backlog] = {}  # by run id
        self._timer: asyncio.TimerHandle | None = None
        self._looking = False

    def watch(self, service: Service, run: Run) -> list[Watching]:
        """What looks at a run that is up."""
        rules = service.spec.rules
        parts: list[Watching] = []
        if rules.watchdog is not None:
            parts.append(Watchdog(self._engine, service, run, rules.watchdog))
        ports = ports_of(service)
        if rules.backlog != "off" and ports and run.tree is not None:
            made = Backlog(self, service, run, ports)
            self._backlogs[run.id] = made
            parts.append(made)
            self._arm()
        return parts

    def unwatch(self, run_id: str) -> None:
        """A run whose queue is not looked at any more."""
        self._backlogs.pop(run_id, None)
        if not self._backlogs and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None and not self._looking:
            self._timer = asyncio.get_running_loop().call_later(defaults.BACKLOG_EVERY, self._look)

    def _look(self) -> None:
        self._timer = None
        self._looking = True
        wanted = {run_id: (watch.tree, watch.ports) for run_id, watch in self._backlogs.items()}
        future = asyncio.get_running_loop().run_in_executor(None, queues, self._engine.machine, wanted)
        future.add_done_callback(self._looked)

    def _looked(self, done: asyncio.Future[dict[str, list[Listener]]]) -> None:
        self._looking = False
        if self._backlogs:
            self._arm()
        if (error := done.exception()) is not None:  # a bug of ours: nobody is wedged for that (G11)
            self._engine.faults.caught("backlog watch", error)
            return
        for run_id, found in done.result().items():
            watch = self._backlogs.get(run_id)
            if watch is not None:
                watch.sample(found)

    def post(self, service: Service, event: Wedged) -> None:
        """Hand it to the policy."""
        self._engine.post(service, event)


class Backlog:
    """The accept queue of one run: connections that wait in several looks in a row, or a queue that is full."""

    def __init__(self, owner: Liveness, service: Service, run: Run, ports: tuple[int, ...]) -> None:
        self._owner = owner
        self._service = service
        self._run = run
        self._count = 0
        # What an earlier engine has said and nobody has taken back: the policy waits for the end of it.
        self._wedged = "backlog" in (service.state.failing, *service.state.episodes)
        self.ports = ports

    @property
    def tree(self) -> Tree | None:
        """Of the run, as it is now (a launcher may have left it)."""
        return self._run.tree

    def stop(self) -> None:
        """Look no more."""
        self._owner.unwatch(self._run.id)

    def sample(self, waiting: list[Listener]) -> None:
        """One look: its own sockets at which connections wait."""
        full = next((listener for listener in waiting if listener.full), None)
        self._count = self._count + 1 if waiting else 0
        if full is not None:
            self._tell(f"the accept queue of {_place(full)} is full: {full.waiting} connection(s) wait")
        elif self._count >= defaults.BACKLOG_SAMPLES:
            most = max(waiting, key=lambda listener: listener.waiting)
            span = format_seconds((self._count - 1) * defaults.BACKLOG_EVERY)
            words = f"{most.waiting} connection(s) wait at {_place(most)}, {self._count} looks in a row over {span}"
            self._tell(words)
        elif self._wedged and not waiting:
            self._wedged = False
            over = "nothing waits at its port any more"
            self._owner.post(self._service, Wedged(run=self._run.id, reason="backlog", detail=over, over=True))

    def _tell(self, words: str) -> None:
        self._wedged = True
        self._owner.post(self._service, Wedged(run=self._run.id, reason="backlog", detail=words))


class Watchdog:
    """Silence on NOTIFY_SOCKET for longer than the service itself has promised."""

    def __init__(self, engine: Engine, service: Service, run: Run, seconds: float) -> None:
        self._engine = engine
        self._service = service
        self._run = run
        self._seconds = seconds
        self._silent = service.state.failing == "watchdog"  # an earlier engine has said so
        self._timer: asyncio.TimerHandle | None = None
        engine.notify.listen(run.id, "watchdog", self._heard)
        self._wind()

    def stop(self) -> None:
        """Listen no more."""
        self._engine.notify.unlisten(self._run.id, "watchdog")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._due)

    def _due(self) -> None:
        """Time is up, unless we come late ourselves: paused with everything else, it has to get its time again."""
        late = 0.0 if self._timer is None else asyncio.get_running_loop().time() - self._timer.when()
        if late > defaults.WATCHDOG_LATE:
            self._wind()
        else:
            self._bark()

    def _heard(self, said: dict[str, str]) -> None:
        asked = microseconds(said.get("WATCHDOG_USEC", ""))
        if asked is not None:
            self._seconds = asked
            self._wind()
        if said.get("STOPPING") == "1":
            self.stop()  # it has begun to leave, and has no reason to ping any more
        elif said.get("WATCHDOG") == "trigger":
            self._post("it says itself that it does not work (WATCHDOG=trigger)")
        elif said.get("WATCHDOG") == "1" and self._timer is not None:
            self._wind()
            if self._silent:
                self._silent = False
                self._post("WATCHDOG=1 again", over=True)

    def _bark(self) -> None:
        self._wind()
        self._post(f"no WATCHDOG=1 within {format_seconds(self._seconds)}")

    def _post(self, words: str, *, over: bool = False) -> None:
        if not over:
            self._silent = True
        self._engine.post(self._service, Wedged(run=self._run.id, reason="watchdog", detail=words, over=over))


def ports_of(service: Service) -> tuple[int, ...]:
    """The ports at which the service accepts: its own, and those that are passed on to it."""
    launch = service.spec.launch
    tails = [address.rpartition(":")[2] for address in launch.listen if ":" in address and "/" not in address]
    found = [launch.port, *(int(tail) for tail in tails if tail.isdigit())]
    return tuple(dict.fromkeys(port for port in found if port))


def queues(
    machine: Machine, wanted: dict[str, tuple[Tree | None, tuple[int, ...]]]
) -> dict[str, list[Listener]]:
    """In a worker thread: the run's own sockets at which connections wait now."""
    found: dict[str, list[Listener]] = {}
    for run_id, (tree, ports) in wanted.items():
        try:
            waiting = [row for port in ports for row in machine.listeners(port, owners=False) if row.waiting]
        except OSError:
            continue
        # Whose it is costs a look at every descriptor of the tree: only where somebody waits.
        found[run_id] = [row for row in waiting if tree is None or _own(machine, tree, row)]
    return found


def _own(machine: Machine, tree: Tree, row: Listener) -> bool:
    return machine.listener_in_tree(tree, row.address, row.port) is not False


def _place(listener: Listener) -> str:
    host = f"[{listener.address}]" if ":" in listener.address else listener.address
    return f"{host}:{listener.port}"
