"""The thread in which an embedded engine lives, with an event loop of its own.

A host whose own loop is busy, or that has none, does not keep its services waiting, and at the end every timer and
task of the engine goes with the loop. A fork of the host that does not exec would hold the keeper's socket and the
lock open behind its back: its child lets go of both. Must not know what runs in the loop. Tests:
tests/system/test_embed.py, test_embed_endings.py.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from midwatch.engine.batch import Workers
from midwatch.engine.embed.errors import SupervisorError
from midwatch.engine.embed.host import Host

Answer = TypeVar("Answer")
_open: weakref.WeakSet[EngineThread] = weakref.WeakSet()
_hooked = False


class EngineThread:
    """One host's engine. `begin` once; the thread ends with the supervision."""

    def __init__(self, make: Callable[[], Host]) -> None:
        self._make = make
        self.host: Host = None  # type: ignore[assignment]
        self._loop: asyncio.AbstractEventLoop | None = None
        self.pid = os.getpid()
        self.begun: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._lock = threading.Lock()
        self._refusing = False
        self._thread = threading.Thread(target=self._run, name="midwatch-engine", daemon=True)

    def begin(self) -> concurrent.futures.Future[None]:
        """Start it; the future is done when the services are asked for, or says why not."""
        _hook_forks()
        _open.add(self)
        try:
            self._thread.start()
        except RuntimeError as error:  # a pids limit
            self.begun.set_exception(SupervisorError(f"cannot start a thread: {error}"))
            self.ended.set_result(None)
        return self.begun

    def call(self, what: Callable[[], Coroutine[Any, Any, Answer]]) -> concurrent.futures.Future[Answer]:
        """Run a coroutine in the engine's loop. Raises SupervisorError when there is none any more."""
        if self.pid != os.getpid():
            raise SupervisorError(f"this Supervisor belongs to process {self.pid}, of which this one is a fork")
        with self._lock:
            if self._loop is None or self._refusing:
                raise _why(self.host)
            return asyncio.run_coroutine_threadsafe(what(), self._loop)

    def end(self, now: bool) -> concurrent.futures.Future[None]:
        """Ask for the end (again, with `now`, for a quick one); the future is done when nothing is left."""
        if self.pid == os.getpid() and self._loop is not None and not self.ended.done():
            try:
                self._loop.call_soon_threadsafe(self._end, now)
            except RuntimeError:
                pass  # its loop is closed: it is just ending
        return self.ended

    def join(self) -> None:
        """After `ended`: the thread itself."""
        if threading.current_thread() is not self._thread:
            self._thread.join(1.0)

    def _end(self, now: bool) -> None:
        if self.host is not None:
            self.host.end(now)

    def _run(self) -> None:
        try:
            # Not asyncio.run: a host may have set another kind of loop for itself (uvloop), with a clock of its own.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._live())
        except BaseException as error:  # noqa: BLE001  whoever waits is told
            if not self.begun.done():
                self.begun.set_exception(error)
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)
            return
        finally:
            _open.discard(self)
            self._refuse()
        _finish(self.ended, self.host)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(Workers())
        self.host = self._make()
        await self.host.open()
        self.begun.set_result(None)
        await self.host.over.wait()
        self._refuse()
        await asyncio.sleep(0)  # what was asked for until now has begun, and is cancelled with the loop at the latest

    def _refuse(self) -> None:
        """From now on: a call that came in while the loop closes would never be answered."""
        with self._lock:
            self._refusing = True

    def let_go(self) -> None:
        """In a fork's child: the numbers stay taken, what they meant is closed."""
        null = os.open(os.devnull, os.O_RDWR)
        for fd in self.host.descriptors() if self.host is not None else ():
            os.dup2(null, fd, inheritable=False)
        os.close(null)


class InlineEngine:
    """The same interface, but the engine runs in the loop that asks: for tests on a fake machine, whose time is the
    loop's. A real host has an `EngineThread`."""

    def __init__(self, make: Callable[[], Host]) -> None:
        self._make = make
        self.host: Host = None  # type: ignore[assignment]
        self.pid = os.getpid()
        self.begun: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> concurrent.futures.Future[None]:
        """See EngineThread."""
        self._task = asyncio.get_running_loop().create_task(self._live())
        return self.begun

    async def _live(self) -> None:
        try:
            self.host = self._make()
            await self.host.open()
        except BaseException as error:  # noqa: BLE001  whoever waits is told
            self.begun.set_exception(error)
            self.ended.set_result(None)
            return
        self.begun.set_result(None)
        await self.host.over.wait()
        _finish(self.ended, self.host)

    def call(self, what: Callable[[], Coroutine[Any, Any, Answer]]) -> concurrent.futures.Future[Answer]:
        """See EngineThread."""
        if self.ended.done() or self.host is None:
            raise _why(self.host)
        return asyncio.run_coroutine_threadsafe(what(), asyncio.get_running_loop())

    def end(self, now: bool) -> concurrent.futures.Future[None]:
        """See EngineThread."""
        if not self.ended.done():
            self.host.end(now)
        return self.ended

    def join(self) -> None:
        """There is no thread."""


def _why(host: Host | None) -> SupervisorError:
    failure = host.failure if host is not None else None
    return failure or SupervisorError("supervision has ended")


def _finish(ended: concurrent.futures.Future[None], host: Host) -> None:
    if host.failure is not None:
        ended.set_exception(host.failure)
    else:
        ended.set_result(None)


def _hook_forks() -> None:
    global _hooked  # noqa: PLW0603  the interpreter has one list of these for the whole process
    if not _hooked:
        _hooked = True
        os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    for thread in list(_open):
        thread.let_go()
