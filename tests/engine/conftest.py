"""The whole engine without the world: the fake machine, a keeper that plays against it, and a loop whose time is the
fake clock. Nothing sleeps; `Stagehand.pass_time` jumps from timer to timer. Must not know a scenario.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.plain import default_logs, default_rules

from midwatch.engine.apply import Applied, Applier
from midwatch.engine.core import Engine, Service
from midwatch.engine.layout import Layout
from midwatch.engine.restore import restore
from midwatch.machine.fake import FakeMachine
from midwatch.model.event import Verb
from midwatch.model.service import Launch, Rules, ServiceSpec, Stop

OPEN, CLOSED, SHUT = "open", "closed", "shut"


class FakeLoop(asyncio.SelectorEventLoop):
    """asyncio, but time() is the machine's awake clock and waiting is moving it."""

    def __init__(self, machine: FakeMachine) -> None:
        super().__init__(selectors.SelectSelector())
        self._machine = machine

    def time(self) -> float:
        return self._machine.awake

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Blocking work is done at once: on the fake machine it only moves the clock."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  handed on like a thread's
            future.set_exception(error)
        return future

    def turn(self) -> None:
        """One round of everything that is due now."""
        self.call_soon(self.stop)
        self.run_forever()

    def next_timer(self) -> float | None:
        live = [handle.when() for handle in self._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        return min(live, default=None)


class FakeKeeper:
    """The keeper's side of the link, on the fake machine. Outlives every engine, as the real one does."""

    def __init__(self, machine: FakeMachine) -> None:
        self.machine = machine
        self.table: dict[str, dict[str, Any]] = {}
        self.frames: list[dict[str, Any]] = []
        self.engine: Engine | None = None
        self.deaf = False  # the next frames never arrive: the engine dies while they are under way
        self.refuse: list[dict[str, Any]] = []  # answers of the next spawns
        self.restarts = 0
        self.lost: dict[str, str] = {}  # streams that the next attach cannot open
        self.sockets: dict[str, str] = {}  # name -> address
        self.slow_gates = False  # a dropped gate takes its time to leave
        self.taken: set[str] = set()  # addresses that others listen on
        machine.on_exit = self._exited

    # -- the engine's link ---------------------------------------------------------------------------------------

    def send(self, **frame: Any) -> None:
        self._take(frame)

    def ask(self, answer: Callable[[dict[str, Any]], None], **frame: Any) -> None:
        found = self._take(frame)
        if found is not None:
            asyncio.get_running_loop().call_soon(answer, found)

    def _take(self, frame: dict[str, Any]) -> dict[str, Any] | None:
        if self.deaf:
            return None
        self.frames.append(frame)
        return getattr(self, f"_{frame['op']}")(frame)  # type: ignore[no-any-return]

    def _spawn(self, frame: dict[str, Any]) -> dict[str, Any]:
        assert frame["run"] not in self.table, "EEXIST: the run is in the table already"
        if self.refuse:
            return self.refuse.pop(0)
        proc = self.machine.spawn(tuple(frame["argv"]), frame["env"])
        self.table[frame["run"]] = {
            "run": frame["run"], "pid": proc.pid, "start": proc.start, "status": None, "ended_at": None,
            "gate": CLOSED if frame["gate"] else None, "streams": frame["streams"],
        }  # fmt: skip
        return {"pid": proc.pid, "start": proc.start}

    def _release(self, frame: dict[str, Any]) -> dict[str, Any]:
        assert self.table[frame["run"]]["gate"] == CLOSED
        self.table[frame["run"]]["gate"] = OPEN
        return {"ok": True}

    def _drop(self, frame: dict[str, Any]) -> dict[str, Any]:
        entry = self.table[frame["run"]]
        assert entry["gate"] == CLOSED
        entry["gate"] = SHUT
        if not self.slow_gates:
            self.machine.exit(entry["pid"], 125)
        return {"ok": True}

    def _taken(self, frame: dict[str, Any]) -> None:
        entry = self.table.pop(frame["run"], None)  # None: a run that never got a process
        assert entry is None or entry["status"] is not None, "taken, but it still runs"

    def _pump(self, frame: dict[str, Any]) -> None:
        assert frame["run"] in self.table

    def _follow(self, frame: dict[str, Any]) -> dict[str, Any]:
        proc = self.machine.procs.get(frame["pid"])
        if proc is None or proc.start != frame["start"] or proc.status is not None:
            return {"errno": "ESRCH", "error": "no such process"}
        self.table[frame["run"]].update(pid=frame["pid"], start=frame["start"], status=None, ended_at=None)
        return {"ok": True}

    def _alive(self, frame: dict[str, Any]) -> None:
        pass

    def _listen(self, frame: dict[str, Any]) -> dict[str, Any]:
        if frame["address"] in self.taken:
            return {"errno": "EADDRINUSE", "error": "Address already in use"}
        self.sockets[frame["name"]] = frame["address"]
        return {"ok": True, "address": frame["address"]}

    def _unlisten(self, frame: dict[str, Any]) -> None:
        del self.sockets[frame["name"]]

    def _notify(self, frame: dict[str, Any]) -> None:
        pass

    def _attach(self, frame: dict[str, Any]) -> dict[str, Any]:
        proc = self.machine.procs.get(frame["pid"])
        if proc is None or proc.start != frame["start"] or proc.status is not None:
            return {"errno": "ESRCH", "error": "no such process"}
        self.table[frame["run"]] = {
            "run": frame["run"], "pid": frame["pid"], "start": frame["start"], "status": None, "ended_at": None,
            "gate": None, "streams": frame["streams"], "adopted": True,
        }  # fmt: skip
        return {"ok": True, "lost": dict(self.lost)}

    # -- the world's side ----------------------------------------------------------------------------------------

    def _exited(self, pid: int, status: int, at: float) -> None:
        for entry in self.table.values():
            if entry["pid"] == pid and entry["status"] is None:
                self.machine.reap(pid)
                entry.update(status=status, ended_at=at, gate=SHUT if entry["gate"] == CLOSED else entry["gate"])
                if self.engine is not None:
                    strays = [p.pid for p in self.machine.procs.values() if p.ppid == self.machine.keeper and not p.main
                              and p.pid != self.machine.engine]  # fmt: skip
                    frame = {**entry, "at": at, "strays": strays}
                    asyncio.get_running_loop().call_soon(self.engine.ender.exited, frame)

    def hello(self) -> dict[str, Any]:
        runs = [dict(entry) for entry in self.table.values()]
        held = dict(self.sockets)
        return {"pid": self.machine.keeper, "engine_restarts": self.restarts, "runs": runs, "sockets": held}

    def ops(self, op: str) -> list[str]:
        """The runs for which the engine sent this, in order."""
        return [frame["run"] for frame in self.frames if frame["op"] == op]


class Stagehand:
    """One instance: drives the loop, restarts the engine, reads the journal."""

    def __init__(self, home: Path, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.machine = machine
        self.loop = FakeLoop(machine)
        self.layout = Layout.for_home(home)
        self.layout.ensure()
        self.keeper = FakeKeeper(machine)
        self.engine: Engine = None  # type: ignore[assignment]
        self.faults_expected = False  # G11: exceptions of ours end nothing, so they have to be looked for

    def boot(self) -> Engine:
        """A new engine takes over."""
        self.keeper.deaf = False
        self.engine = Engine(self.layout, self.machine, self.keeper, self.machine.keeper)  # type: ignore[arg-type]
        self.keeper.engine = self.engine
        self.loop.run_until_complete(restore(self.engine, self.keeper.hello()))
        self.settle()
        return self.engine

    def engine_dies(self) -> None:
        """kill -9: no frame, timer or callback of it happens any more."""
        self.keeper.engine = None
        self.keeper.restarts += 1
        engine, self.engine = self.engine, None  # type: ignore[assignment]
        engine.journal.close()
        for ear in engine.notify._ears.values():  # the kernel closes them; their paths stay
            if ear.sock is not None:
                self.loop.remove_reader(ear.sock)
                ear.sock.close()
        if engine.history is not None:
            engine.history.close()
        old, self.loop = self.loop, FakeLoop(self.machine)
        old.close()

    def keeper_dies(self) -> None:
        """Both are gone, their services are not."""
        self.engine_dies()
        self.keeper.restarts = 0
        self.keeper.table.clear()
        self.keeper.sockets.clear()

    def settle(self) -> None:
        """Everything that is due now, and what it causes."""
        for _ in range(50):
            self.loop.turn()

    def pass_time(self, seconds: float) -> None:
        """Move the clock; timers and exits happen at their own times."""
        until = self.machine.awake + seconds
        for _ in range(10_000):
            self.settle()
            due = self.loop.next_timer()
            exits = [p.exit_at for p in self.machine.procs.values() if p.exit_at is not None and p.status is None]
            step = min([until, *([due] if due is not None else []), *exits])
            if self.machine.awake >= until:
                return
            self.do(partial(self.machine.advance, max(0.0, step - self.machine.awake) + 1e-6))
        raise AssertionError("too many timers")

    def do(self, what: Callable[[], Any]) -> Any:
        """Do something to the world or the engine inside the loop."""

        async def inside() -> Any:
            return what()

        found = self.loop.run_until_complete(inside())
        self.settle()
        return found

    # -- short words for scenarios -----------------------------------------------------------------------------------

    def apply(self, *specs: ServiceSpec, dry_run: bool = False, prune: bool = True) -> Applied:
        found: Applied = self.do(
            lambda: Applier(self.engine).apply("p", "f", list(specs), dry_run=dry_run, prune=prune, by="test")
        )
        return found

    def ask(self, verb: Verb, *names: str, now: bool = False) -> str:
        ids = [f"p/{name}" for name in names]
        found: str = self.do(lambda: self.engine.jobs.ask(verb, ids, "test", now=now).id)
        return found

    def job(self, job: str) -> dict[str, Any]:
        found = self.engine.jobs.get(job)
        assert found is not None
        return found.report()

    def service(self, name: str = "a") -> Service:
        return self.engine.services[f"p/{name}"]

    def phase(self, name: str = "a") -> str:
        return self.service(name).state.phase

    def pid(self, name: str = "a") -> int:
        found = self.service(name).state.pid
        assert found is not None, f"{name} does not run: {self.service(name).state}"
        return found

    def dead(self, pid: int) -> bool:
        """Gone, or a zombie that nobody has reaped."""
        process = self.machine.procs.get(pid)
        return process is None or process.status is not None

    def exits(self, name: str = "a", code: int = 0, signum: int = 0) -> None:
        pid = self.pid(name)
        self.do(lambda: self.machine.exit(pid, code, signum))

    def events(self, *names: str) -> list[dict[str, Any]]:
        lines = [json.loads(raw) for path in sorted(self.layout.journal.glob("*.jsonl"))
                 for raw in path.read_text().splitlines()]  # fmt: skip
        return [line for line in lines if line["event"] in names]

    def close(self) -> None:
        if self.engine is not None:
            self.engine_dies()
        self.loop.close()
        assert self.faults_expected or self.events("engine.fault") == []


def a_spec(name: str = "a", *, launch: dict[str, Any] | None = None, **rules: Any) -> ServiceSpec:
    """A service `p/NAME` whose program is called like it."""
    base: Rules = msgspec.structs.replace(default_rules(), **rules)
    made = Launch(argv=(f"/bin/{name}",), cwd="/", **(launch or {}))
    return ServiceSpec("p", name, made, base, default_logs())


def stop_rules(grace: float) -> Stop:
    return Stop(signal.SIGTERM, grace, 5.0)


@pytest.fixture
def bare(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stagehand]:
    """A machine without cgroups: no gates. The engine is booted."""
    monkeypatch.delenv("MIDWATCH_RUN", raising=False)
    made = Stagehand(home, FakeMachine(cgroups=False, memory_cgroups=False), monkeypatch)
    made.boot()
    yield made
    made.close()


@pytest.fixture
def stage(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stagehand]:
    """A machine with cgroups: every run waits in its gate. The engine is booted."""
    monkeypatch.delenv("MIDWATCH_RUN", raising=False)
    made = Stagehand(home, FakeMachine(), monkeypatch)
    made.boot()
    yield made
    made.close()
