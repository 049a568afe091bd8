"""Hands events to the host's callbacks, which may be slow, raise, or block for ever: supervision never waits for them.

A bounded queue between the engine's thread and whoever calls: a thread of its own (a sync host) or the host's event
loop (an async one). What does not fit is counted and told. `on_exhausted` calls are never dropped: they are few, once
an episode. Must not know what an event means. Tests: tests/engine/test_embed_delivery.py.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from midwatch.policy import defaults

Callback = Callable[..., Any]


class Delivery:
    """The queue, and how one item of it is handed over."""

    def __init__(self) -> None:
        self._items: deque[tuple[Callback, tuple[Any, ...]]] = deque()
        self._lock = threading.Lock()
        self._dropped = 0
        self._dropped_for: Callback | None = None
        self._said: set[Callback] = set()

    def put(self, callback: Callback, *arguments: Any, keep: bool = False) -> None:
        """From the engine's thread. `keep`: this one may not be dropped."""
        with self._lock:
            if len(self._items) >= defaults.EVENT_QUEUE and not keep:
                self._dropped += 1
                self._dropped_for = callback
                return
            if self._dropped and self._dropped_for is not None:
                told = {"event": "events.dropped", "count": self._dropped}
                self._items.append((self._dropped_for, (told,)))
                self._dropped = 0
            self._items.append((callback, arguments))
        self._kick()

    def _kick(self) -> None:
        raise NotImplementedError

    def _take(self) -> tuple[Callback, tuple[Any, ...]] | None:
        with self._lock:
            if not self._items and self._dropped and self._dropped_for is not None:
                told, self._dropped = {"event": "events.dropped", "count": self._dropped}, 0
                return self._dropped_for, (told,)
            if not self._items:
                return None
            return self._items.popleft()

    def _failed(self, callback: Callback, error: BaseException) -> None:
        """Said once for each callback: a broken one would say it at every event."""
        if callback in self._said:
            return
        self._said.add(callback)
        name = getattr(callback, "__qualname__", repr(callback))
        words = f"midwatch: {name} raised {type(error).__name__}: {error}; supervision goes on, it is not said again"
        try:
            print(words, file=sys.stderr, flush=True)
        except (OSError, ValueError):
            pass  # nobody can be told


class ThreadDelivery(Delivery):
    """A thread of its own calls."""

    def __init__(self) -> None:
        super().__init__()
        self._wake = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="midwatch-events", daemon=True)
        self._thread.start()

    def _kick(self) -> None:
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while (item := self._take()) is not None:
                try:
                    item[0](*item[1])
                except BaseException as error:  # noqa: BLE001  somebody else's code; an exit is the main thread's to ask
                    self._failed(item[0], error)
            if self._over:
                return

    def finish(self) -> None:
        """Deliver what is left, bounded: a callback that hangs, or that is the one who closes, is not waited for."""
        self._over = True
        self._wake.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(defaults.EVENT_PATIENCE)


class LoopDelivery(Delivery):
    """The host's event loop calls; a coroutine function is awaited."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._wake = asyncio.Event()
        self._over = False
        self._task = loop.create_task(self._run())

    def _kick(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            pass  # the host's loop is closed: nobody listens any more

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (item := self._take()) is not None:
                try:
                    waits = item[0](*item[1])
                    if asyncio.iscoroutine(waits):
                        await waits
                except Exception as error:  # noqa: BLE001  somebody else's code
                    self._failed(item[0], error)
            if self._over:
                return

    async def finish(self) -> None:
        """See ThreadDelivery.finish."""
        self._over = True
        self._wake.set()
        if asyncio.current_task() is not self._task:
            await asyncio.wait([self._task], timeout=defaults.EVENT_PATIENCE)
            self._task.cancel()

    def cut(self) -> None:
        """The host is being cancelled: it waits for nothing more."""
        self._task.cancel()
