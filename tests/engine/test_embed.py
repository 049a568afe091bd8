"""The embedded supervisor on the fake machine: the engine shares the test's loop, whose time jumps; no process at all.

A played keeper stands for the real one, as in conftest.py. What needs real processes is in tests/system/test_embed.py.
"""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.engine.conftest import FakeKeeper, FakeLoop

import midwatch
from midwatch.machine.fake import FakeMachine
from midwatch.model.identity import Now

FOREVER = 100_000  # turns of the loop that one test may take


class Jump(selectors.SelectSelector):
    """Waiting is moving the fake clock."""

    def __init__(self, machine: FakeMachine) -> None:
        super().__init__()
        self.machine = machine
        self.turns = 0

    def select(self, timeout: float | None = None) -> Any:
        self.turns += 1
        assert self.turns < FOREVER, "the loop turns for ever"
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("nothing will ever happen again")
        if not ready and timeout:
            self.machine.advance(timeout + 1e-6)
        return ready


class JumpLoop(FakeLoop):
    def __init__(self, machine: FakeMachine) -> None:
        asyncio.SelectorEventLoop.__init__(self, Jump(machine))
        self._machine = machine


class Played(FakeKeeper):
    """The fake keeper as a Supervisor gets it."""

    def __init__(self, machine: FakeMachine) -> None:
        super().__init__(machine)
        self.closed = False
        self.gone: Callable[[], None] = lambda: None

    async def open(self, layout: Any, lock: int, frame: Any, gone: Any) -> Played:
        assert lock >= 0, "the lock comes first"
        self.gone = gone
        exited = lambda entry: frame({"ev": "exited", **entry})  # noqa: E731
        self.engine = SimpleNamespace(ender=SimpleNamespace(exited=exited))  # type: ignore[assignment]
        asyncio.get_running_loop().call_soon(frame, {"ev": "hello", **self.hello()})
        return self

    async def ended(self) -> None:
        assert self.closed

    def close(self) -> None:
        self.closed = True

    def _exit(self, frame: dict[str, Any]) -> dict[str, Any]:
        alive = [entry for entry in self.table.values() if entry["status"] is None]
        return {"error": "still running"} if alive and not frame["force"] else {"ok": True}

    def _alive(self, frame: dict[str, Any]) -> None:
        pass


class Stage:
    """A machine, its keeper, and what the callbacks heard."""

    def __init__(self, home: Path, *, cgroups: bool = False) -> None:
        self.home = home
        self.machine = FakeMachine(cgroups=cgroups, memory_cgroups=cgroups)
        self.keeper = Played(self.machine)
        self.events: list[dict[str, Any]] = []
        self.exhausted: list[tuple[str, str]] = []

    def supervisor(self, services: dict[str, Any] | None = None, **more: Any) -> midwatch.AsyncSupervisor:
        arguments: dict[str, Any] = {
            "home": self.home, "services": services or {"w": {"command": ["/bin/w"]}}, "project": "p",
            "on_event": self.events.append, "on_exhausted": lambda *what: self.exhausted.append(what),
            "machine": self.machine, "keeper": self.keeper, "control": False, "inline": True,
        }  # fmt: skip
        return midwatch.AsyncSupervisor(**{**arguments, **more})

    def run(self, scenario: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=lambda: JumpLoop(self.machine)) as runner:
            return runner.run(scenario)

    def exits(self, code: int, pid: int | None = None) -> None:
        """The worker leaves, the way the kernel would have it."""
        [main] = [p for p in self.machine.procs.values() if p.main and p.status is None and pid in (None, p.pid)]
        self.machine.exit(main.pid, code)

    def heard(self, *names: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] in names]


@pytest.fixture(params=[False, True], ids=["bare", "cgroups"])
def stage(home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Stage:
    monkeypatch.delenv("MIDWATCH_RUN", raising=False)
    return Stage(home, cgroups=request.param)


def test_it_keeps_a_service_alive_and_ends_it_with_the_context(stage: Stage) -> None:
    """A crash is restarted by the same policy; leaving the context stops the service and lets the lock go (D3, D5)."""

    async def scenario() -> None:
        async with stage.supervisor() as sup:
            assert await sup.wait("w", timeout=5)
            stage.exits(1)
            await asyncio.sleep(2)
            [row] = await sup.status()
            assert (row["state"], row["crash_count"], row["run_id"]) == ("up", 1, "p.w.2")
            assert (stage.home / "lock").exists()
        assert not sup.running
        with pytest.raises(midwatch.SupervisorError):
            await sup.status()

    stage.run(scenario())
    assert stage.keeper.closed
    assert not [p for p in stage.machine.procs.values() if p.main and p.status is None]
    assert stage.events[0]["event"] == "daemon.started"
    assert stage.events[-1]["event"] == "daemon.stopped"
    [exited, requested] = stage.heard("run.exited")
    assert (exited["service"], exited["code"], requested["cause"]) == ("p/w", 1, "requested")
    written = [json.loads(x)["event"] for f in (stage.home / "journal").iterdir() for x in f.read_text().splitlines()]
    assert [e["event"] for e in stage.events] == [name for name in written if name != "journal.opened"]


def test_two_supervisors_on_one_home_the_second_is_told_who_has_it(stage: Stage) -> None:
    """E1: the loser changes nothing and names the holder."""

    async def scenario() -> None:
        async with stage.supervisor():
            before = (stage.home / "lock").read_bytes()
            second = stage.supervisor(keeper=Played(stage.machine))
            words = r"already running: pid \d+ \(embedded in .*holds"
            with pytest.raises(midwatch.AlreadyRunning, match=words) as told:
                await second.start()
            assert told.value.pid == json.loads(before)["pid"]
            assert (stage.home / "lock").read_bytes() == before
            assert len(stage.heard("daemon.started")) == 1  # E13: no line of the loser
        async with stage.supervisor(keeper=Played(stage.machine)) as third:
            assert await third.wait(timeout=5)

    stage.run(scenario())


def test_exhausted_is_told_once_an_episode(stage: Stage) -> None:
    """A13: five crashes in a row spend a budget of five; `on_exhausted` hears it once, with the decision in words."""

    async def scenario() -> None:
        services = {"w": {"command": ["/bin/w"], "restart": {"crash": 5}}}
        async with stage.supervisor(services) as sup:
            for _ in range(7):
                assert await sup.wait("w", timeout=400)
                stage.exits(1)
                await asyncio.sleep(0.01)

    stage.run(scenario())
    [(name, decision)] = stage.exhausted
    assert name == "w"
    assert "crash 5" in decision
    assert len(stage.heard("budget.exhausted")) == 1


@pytest.mark.parametrize(
    ("code", "restart", "event"),
    [(78, {}, "service.held"), (1, {"crash": 1, "crash_hard": 1}, "supervision.gave_up")],
)
def test_held_and_given_up_are_told_too(stage: Stage, code: int, restart: dict[str, Any], event: str) -> None:
    """An exit that trying again cannot cure, and the hard ceiling (A2, A13), reach `on_exhausted`."""

    async def scenario() -> None:
        async with stage.supervisor({"w": {"command": ["/bin/w"], "restart": restart}}) as sup:
            await sup.wait(timeout=5)
            stage.exits(code)
            assert await sup.wait(until="stopped", timeout=5)

    stage.run(scenario())
    assert len(stage.heard(event)) == 1
    assert "w" in {name for name, _ in stage.exhausted}


def test_a_callback_that_raises_never_breaks_supervision(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """G11: said once on stderr, and everything goes on."""

    def broken(_: dict[str, Any]) -> None:
        raise ZeroDivisionError("oh")

    async def scenario() -> None:
        async with stage.supervisor(on_event=broken) as sup:
            await sup.wait(timeout=5)
            stage.exits(0)
            await asyncio.sleep(1)
            assert (await sup.status())[0]["run_id"] == "p.w.2"

    stage.run(scenario())
    assert capsys.readouterr().err.count("ZeroDivisionError: oh") == 1


def test_coroutine_callbacks_are_awaited_in_order(stage: Stage) -> None:
    """An async host may await in its callback; the next event waits for it, supervision does not."""
    heard: list[str] = []

    async def slow(event: dict[str, Any]) -> None:
        await asyncio.sleep(0.3)
        heard.append(event["event"])

    async def scenario() -> None:
        async with stage.supervisor(on_event=slow) as sup:
            await sup.wait(timeout=0.1)
            await asyncio.sleep(10)

    stage.run(scenario())
    assert heard[:3] == ["daemon.started", "config.applied", "service.asked"]


def test_commands_settle_in_words_and_unknown_names_are_explained(stage: Stage) -> None:
    """stop, start, restart and reset are the daemon's own jobs; a wrong name gets the nearest one."""

    async def scenario() -> None:
        services = {"web": {"command": ["/bin/web"]}, "db": {"command": ["/bin/db"]}}
        async with stage.supervisor(services) as sup:
            await sup.wait(timeout=5)
            stopped = await sup.stop("web")
            assert stopped["web"].ok
            assert "stopped" in stopped["web"].message
            assert {row["name"]: row["state"] for row in await sup.status()} == {"web": "stopped", "db": "up"}
            assert (await sup.start("web"))["web"].ok
            both = await sup.restart(["web", "p/db"])
            assert both["web"].ok
            assert both["db"].ok
            assert (await sup.reset())["db"].ok
            with pytest.raises(midwatch.UnknownService, match="no service 'wep'; did you mean 'web'"):
                await sup.stop("wep")
            with pytest.raises(ValueError, match="until is one of"):
                await sup.wait("web", until="tired")  # type: ignore[arg-type]

    stage.run(scenario())


def test_a_command_that_takes_too_long_raises_timeout_and_goes_on(stage: Stage) -> None:
    """The caller's patience is his own; the intent stands."""

    async def scenario() -> None:
        async with stage.supervisor({"w": {"command": ["/bin/w"], "stop": {"grace": "8s"}}}) as sup:
            await sup.wait(timeout=5)
            [main] = [p for p in stage.machine.procs.values() if p.main]
            main.ignores.add(15)
            with pytest.raises(TimeoutError, match="stop of w is not finished after 1 s"):
                await sup.stop("w", timeout=1)
            assert await sup.wait("w", until="stopped", timeout=20)

    stage.run(scenario())


def test_a_lock_that_is_removed_ends_supervision(stage: Stage) -> None:
    """E12: without its lock another one may start, so everything is stopped, and calls say why."""

    async def scenario() -> None:
        sup = stage.supervisor()
        await sup.start()
        await sup.wait(timeout=5)
        (stage.home / "lock").unlink()
        await asyncio.sleep(10)
        assert not sup.running
        with pytest.raises(midwatch.SupervisorError, match="was removed or replaced"):
            await sup.status()
        await sup.stop()  # nothing is left to do, and it was told

    stage.run(scenario())
    assert stage.heard("daemon.stopped")[0]["code"] == 75
    assert not [p for p in stage.machine.procs.values() if p.main and p.status is None]


def test_the_keeper_killed_ends_what_it_had(stage: Stage) -> None:
    """Without a keeper nobody reaps: the trees are ended by identity, and the host is told."""

    async def scenario() -> None:
        sup = stage.supervisor()
        await sup.start()
        await sup.wait(timeout=5)
        stage.keeper.engine, stage.keeper.deaf = None, True  # no frame reaches anybody any more
        stage.keeper.gone()
        await asyncio.sleep(30)
        with pytest.raises(midwatch.SupervisorError, match="killed the keeper"):
            await sup.status()

    stage.run(scenario())
    assert stage.heard("daemon.stopped")[0]["code"] == 75
    assert not [p for p in stage.machine.procs.values() if p.main and p.status is None]


def test_cancelled_in_the_middle_of_a_stop_it_hurries(stage: Stage) -> None:
    """A host that is cancelled while it leaves skips the grace, still ends everything, then is cancelled."""

    async def scenario() -> float:
        services = {"w": {"command": ["/bin/w"], "stop": {"grace": "1h"}}}
        sup = stage.supervisor(services)
        await sup.start()
        await sup.wait(timeout=5)
        [main] = [p for p in stage.machine.procs.values() if p.main]
        main.ignores.add(15)
        leaving = asyncio.ensure_future(sup.stop())
        await asyncio.sleep(1)
        began = stage.machine.awake
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert not sup.running
        return stage.machine.awake - began

    assert stage.run(scenario()) < 60
    assert not [p for p in stage.machine.procs.values() if p.main and p.status is None]


def test_what_cannot_be_ended_is_said(stage: Stage) -> None:
    """3.2: a process that not even KILL ends is named, not hidden; the lock is released all the same."""

    async def scenario() -> None:
        sup = stage.supervisor()
        await sup.start()
        await sup.wait(timeout=5)
        [main] = [p for p in stage.machine.procs.values() if p.main and "/bin/w" in p.argv]
        main.kernel_stuck, main.ignores = True, {15}
        with pytest.raises(midwatch.SupervisorError, match="not everything could be"):
            await sup.stop()
        assert not sup.running
        async with stage.supervisor({"v": {"command": ["/bin/v"]}}, keeper=Played(stage.machine)):
            pass

    stage.run(scenario())


def test_an_injected_clock_is_what_the_record_takes_for_the_time(stage: Stage) -> None:
    """B6: `clock` gives awake seconds and wall time; the events bear it."""

    def clock() -> Now:
        return Now(stage.machine.awake, stage.machine.awake + 86_400.0, "boot-1")

    async def scenario() -> None:
        async with stage.supervisor(clock=clock) as sup:
            await sup.wait(timeout=5)

    stage.run(scenario())
    assert stage.events[0]["ts"].startswith("1970-01-02T00:16:40")


def test_a_loop_with_another_clock_is_refused(stage: Stage) -> None:
    """Timers of a loop whose time() is not the awake clock would all be wrong: said, and nothing is left."""

    async def scenario() -> None:
        with pytest.raises(midwatch.SupervisorError, match="is not the machine's awake clock"):
            await stage.supervisor(clock=lambda: Now(5.0, 5.0, "boot-1")).start()

    stage.run(scenario())
    assert stage.keeper.closed


def test_what_an_earlier_project_had_is_forgotten(stage: Stage) -> None:
    """A home that another program used before: its services are not started, nor shown."""

    async def scenario() -> None:
        async with stage.supervisor(project="old"):
            pass
        async with stage.supervisor(keeper=Played(stage.machine)) as sup:
            assert [row["project"] for row in await sup.status()] == ["p"]

    stage.run(scenario())
