"""`midwatch.Supervisor`: the whole supervisor as a library, in another program.

    with Supervisor(name="crawler", services={"worker": {"command": ["python", "worker.py"]}}) as sup:
        sup.restart("worker")

`async with` gives an `AsyncSupervisor`, whose methods are awaited. Either way the engine runs in a thread of its own
(thread.py), the services below a keeper of their own: they end with the program, however it ends. No signal
handler, no environment variable and no working folder of the host is touched. Must not decide anything about services.
"""

# ruff: noqa: ASYNC109  `timeout=` is what one expects beside the blocking methods; asyncio.timeout works as well

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from midwatch.config.kinds import NAME
from midwatch.engine.embed.asking import Names, Settled, Until, ask, status, wait_until
from midwatch.engine.embed.config import from_file, from_tables
from midwatch.engine.embed.delivery import Delivery, LoopDelivery, ThreadDelivery
from midwatch.engine.embed.errors import SupervisorError
from midwatch.engine.embed.host import Host, by_name
from midwatch.engine.embed.keeper import KeeperPort
from midwatch.engine.embed.thread import EngineThread, InlineEngine
from midwatch.engine.layout import Layout
from midwatch.machine.ports import Machine
from midwatch.model.event import Verb
from midwatch.model.identity import Now
from midwatch.record.lines import Clock
from midwatch.record.redact import redact_value

Answer = TypeVar("Answer")
Call = concurrent.futures.Future
AnyEngine = EngineThread | InlineEngine
Services = Mapping[str, Any]  # name -> a dict of its keys
EXHAUSTED = ("budget.exhausted", "supervision.gave_up", "service.held")


class _Shared:
    """What both faces are made of."""

    def __init__(
        self, *, name: str | None = None, home: str | os.PathLike[str] | None = None,
        services: Services | None = None, config: str | os.PathLike[str] | None = None, project: str | None = None,
        folder: str | os.PathLike[str] | None = None,
        on_event: Callable[[dict[str, Any]], Any] | None = None,
        on_exhausted: Callable[[str, str], Any] | None = None,
        control: bool = True, machine: Machine | None = None, clock: Callable[[], Now] | None = None,
        keeper: KeeperPort | None = None,
    ) -> None:  # fmt: skip
        if (name is None) == (home is None):
            raise TypeError('pass either name="..." (a place below the user\'s instance) or home="FOLDER"')
        if name is not None and not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name: letters, digits, _ and -, at most 64")
        if (services is None) == (config is None):
            raise TypeError('pass either services={"name": {...}} or config="midwatch.toml"')
        if config is not None:
            self._loaded = from_file(config)
        else:
            assert services is not None
            self._loaded = from_tables(services, project=project or name or "embedded", folder=folder)
        self.layout = Layout.default().foreground(name) if name else Layout.for_home(Path(home or "").absolute())
        self._on_event, self._on_exhausted = on_event, on_exhausted
        self._parts: dict[str, Any] = {"machine": machine, "clock": clock, "keeper": keeper, "control": control}
        self._stamper = Clock()
        self._engine: AnyEngine | None = None
        self._said = False  # has the host been told why supervision ended by itself?
        self._delivery: Delivery = None  # type: ignore[assignment]  # set by _begin

    @property
    def home(self) -> Path:
        """Where journal, logs and lock are: `MIDWATCH_HOME` for `midwatch ps`, `logs`, `why`."""
        return self.layout.home

    @property
    def project(self) -> str:
        """The first half of the services' ids."""
        return self._loaded.project

    @property
    def running(self) -> bool:
        """Is anything supervised now?"""
        engine = self._engine
        return engine is not None and engine.begun.done() and not engine.begun.exception() and not engine.ended.done()

    def _begin(self, delivery: Delivery, *, inline: bool = False) -> concurrent.futures.Future[None]:
        if self._engine is not None and not self._engine.ended.done() and not _failed(self._engine.begun):
            raise SupervisorError("this Supervisor is running already")
        self._delivery, self._said = delivery, False
        made = InlineEngine if inline else EngineThread
        self._engine = made(lambda: Host(self.layout, self._loaded, by=by_name(), told=self._told, **self._parts))
        return self._engine.begin()

    def _end_soon(self) -> None:
        """Once it has begun, if it does."""
        engine = self._engine
        if engine is not None:

            def begun(done: concurrent.futures.Future[None]) -> None:
                if not _failed(done):
                    engine.end(True)

            engine.begun.add_done_callback(begun)

    def _call(self, what: Callable[[Host], Coroutine[Any, Any, Answer]]) -> Call[Answer]:
        engine = self._engine
        if engine is None or not engine.begun.done() or _failed(engine.begun):
            raise SupervisorError("this Supervisor is not started; use it in a `with` or call start()")
        try:
            return engine.call(lambda: what(engine.host))
        except SupervisorError:
            self._said = True
            raise

    def _say(self) -> None:
        """After the end: raise why it ended by itself, unless some call has said so before."""
        if self._engine is not None and not self._said:
            self._said = True
            self._engine.ended.result()

    def _told(self, wall: float, event: str, service: str | None, fields: dict[str, Any]) -> None:
        """In the engine's loop: hand it on, never wait."""
        if self._on_event is not None:
            line = {"ts": self._stamper.stamp(wall), "event": event, **({"service": service} if service else {})}
            self._delivery.put(self._on_event, {**line, **redact_value(fields)})
        if self._on_exhausted is not None and event in EXHAUSTED:
            name = (service or "").rpartition("/")[2]
            self._delivery.put(self._on_exhausted, name, str(fields.get("decision") or event), keep=True)

    def _put(self, verb: Verb, names: Names, now: bool, timeout: float | None) -> Call[dict[str, Settled]]:
        return self._call(lambda host: ask(host, verb, names, now, timeout))

    def _waited(self, names: Names, until: Until, timeout: float | None) -> Call[bool]:
        return self._call(lambda host: wait_until(host, names, until, timeout))

    def _rows(self) -> Call[list[dict[str, Any]]]:
        return self._call(status)


class Supervisor(_Shared):
    """For a program without an event loop, callable from any thread. See the arguments on docs/embedding.md."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._engine is None or self._engine.pid != os.getpid():
            return  # a fork of the host leaves its copy of the `with`
        try:
            self.stop()
        except SupervisorError:
            if error is None:
                raise

    async def __aenter__(self) -> AsyncSupervisor:
        self._async = AsyncSupervisor.of(self)
        return await self._async.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        await self._async.__aexit__(kind, error, trace)

    def start(
        self, names: Names = None, *, timeout: float | None = None
    ) -> dict[str, Settled]:
        """Begin to supervise. Once that has begun: want these services (all) again, and wait until they are up."""
        if self._engine is not None and self.running:
            return _result(self._put("start", names, False, timeout))
        delivery = ThreadDelivery()
        try:
            _result(self._begin(delivery))
        except BaseException:  # it refused, or a signal handler raised: end what may have begun
            self._end_soon()
            _outlast(self._engine)
            delivery.finish()
            raise
        return {} if names is None else _result(self._put("start", names, False, timeout))

    def stop(self, names: Names = None, *, now: bool = False, timeout: float | None = None) -> dict[str, Settled]:
        """Stop these services, verified. Without names: everything, and with it the supervision; no error when it has
        ended already. A Ctrl-C meanwhile skips the rest of the grace and is raised afterwards."""
        if names is not None:
            return _result(self._put("stop", names, now, timeout))
        engine = self._engine
        if engine is None or _failed(engine.begun):
            return {}
        engine.end(now)
        interrupted = _outlast(engine)
        assert isinstance(self._delivery, ThreadDelivery)
        self._delivery.finish()
        if interrupted is not None:
            raise interrupted
        self._say()
        return {}

    def restart(self, names: Names = None, *, now: bool = False, timeout: float | None = None) -> dict[str, Settled]:
        """Stop, then start at once; waits until the new runs are up."""
        return _result(self._put("restart", names, now, timeout))

    def reset(self, names: Names = None, *, timeout: float | None = None) -> dict[str, Settled]:
        """Forget crashes and windows; what was held or given up starts again."""
        return _result(self._put("reset", names, False, timeout))

    def wait(self, names: Names = None, *, until: Until = "ready", timeout: float | None = None) -> bool:
        """Until they are ready, stopped, exited (the present run has) or done; False when that takes longer."""
        return _result(self._waited(names, until, timeout))

    def status(self) -> list[dict[str, Any]]:
        """Every service as it stands: the rows of `midwatch ps --json`."""
        return _result(self._rows())


class AsyncSupervisor(_Shared):
    """What `async with Supervisor(...)` gives: the same methods, awaited. Callbacks run in the host's loop and may be
    coroutine functions. `inline`: the engine shares the host's loop (tests on a fake machine)."""

    def __init__(self, *, inline: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._inline = inline

    @classmethod
    def of(cls, other: _Shared) -> AsyncSupervisor:
        """The same supervisor with the other face."""
        made = cls.__new__(cls)
        made.__dict__.update(other.__dict__, _inline=False)
        return made

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            await self.stop()
        except SupervisorError:
            if error is None:
                raise

    async def start(self, names: Names = None, *, timeout: float | None = None) -> dict[str, Settled]:
        """See Supervisor.start."""
        if self._engine is not None and self.running:
            return await _awaited(self._put("start", names, False, timeout))
        delivery = LoopDelivery(asyncio.get_running_loop())
        begun = self._begin(delivery, inline=self._inline)
        try:
            await _awaited(begun, shielded=True)
        except BaseException:  # it refused, or we were cancelled: end what may have begun
            self._end_soon()
            await _outlasted(self._engine)
            delivery.cut()
            raise
        return {} if names is None else await _awaited(self._put("start", names, False, timeout))

    async def stop(self, names: Names = None, *, now: bool = False, timeout: float | None = None) -> dict[str, Settled]:
        """See Supervisor.stop. Cancelled meanwhile, it skips the rest of the grace, ends, and is cancelled then."""
        if names is not None:
            return await _awaited(self._put("stop", names, now, timeout))
        engine = self._engine
        if engine is None or _failed(engine.begun):
            return {}
        engine.end(now)
        cancelled = await _outlasted(engine)
        assert isinstance(self._delivery, LoopDelivery)
        if cancelled is not None:
            self._delivery.cut()
            raise cancelled
        await self._delivery.finish()
        self._say()
        return {}

    async def restart(
        self, names: Names = None, *, now: bool = False, timeout: float | None = None
    ) -> dict[str, Settled]:
        """See Supervisor.restart."""
        return await _awaited(self._put("restart", names, now, timeout))

    async def reset(self, names: Names = None, *, timeout: float | None = None) -> dict[str, Settled]:
        """See Supervisor.reset."""
        return await _awaited(self._put("reset", names, False, timeout))

    async def wait(self, names: Names = None, *, until: Until = "ready", timeout: float | None = None) -> bool:
        """See Supervisor.wait."""
        return await _awaited(self._waited(names, until, timeout))

    async def status(self) -> list[dict[str, Any]]:
        """See Supervisor.status."""
        return await _awaited(self._rows())


def _outlast(engine: AnyEngine | None) -> BaseException | None:
    """Wait for the end, whatever a signal handler raises meanwhile; that makes it quick and is returned."""
    interrupted = None
    while engine is not None and not engine.ended.done():
        try:
            concurrent.futures.wait([engine.ended])
        except BaseException as error:  # noqa: BLE001  KeyboardInterrupt, SystemExit, a host's own
            interrupted = error
            engine.end(True)
    if engine is not None:
        engine.join()
    return interrupted


async def _outlasted(engine: AnyEngine | None) -> BaseException | None:
    """The same without blocking the host's loop."""
    cancelled = None
    waiting = asyncio.wrap_future(engine.ended) if engine is not None else None
    while engine is not None and waiting is not None and not waiting.done():
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError as error:
            cancelled = error
            engine.end(True)
    if engine is not None and waiting is not None:
        waiting.exception()  # taken: the caller asks `ended`
        engine.join()
    return cancelled


def _failed(begun: concurrent.futures.Future[None]) -> bool:
    return begun.done() and begun.exception() is not None


def _result(call: concurrent.futures.Future[Answer]) -> Answer:
    try:
        return call.result()
    except concurrent.futures.CancelledError:
        raise SupervisorError("supervision has ended meanwhile") from None


async def _awaited(call: concurrent.futures.Future[Answer], *, shielded: bool = False) -> Answer:
    waiting = asyncio.wrap_future(call)
    try:
        return await (asyncio.shield(waiting) if shielded else waiting)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if call.cancelled() and not (task and task.cancelling()):
            raise SupervisorError("supervision has ended meanwhile") from None
        raise
