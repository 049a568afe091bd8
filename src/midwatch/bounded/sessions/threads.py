"""The store for asyncio agents: the same calls in threads, so that the loop never waits for a disk.

One thread at a time for a store, in the order of the calls; cancelling a call stops the waiting, not the write.
Must add nothing else. Tests: tests/bounded/sessions/test_threads.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from midwatch.bounded.sessions.assemble import Assembly
from midwatch.bounded.sessions.session import Session
from midwatch.bounded.sessions.store import Store
from midwatch.bounded.sessions.store import open as open_store
from midwatch.bounded.sessions.values import Item, Listing, Page
from midwatch.policy import defaults_sessions as d

T = TypeVar("T")


class AsyncStore:
    """`async with await AsyncStore.open(path) as store:` and then as `Store`, each call awaited."""

    def __init__(self, store: Store, pool: ThreadPoolExecutor) -> None:
        self.store = store
        self._pool = pool

    @classmethod
    async def open(cls, path: str, **options: Any) -> AsyncStore:
        """As `sessions.open`."""
        pool = ThreadPoolExecutor(1, "midwatch-store")
        try:
            store = await asyncio.get_running_loop().run_in_executor(pool, lambda: open_store(path, **options))
        except BaseException:
            pool.shutdown(wait=False)
            raise
        return cls(store, pool)

    async def run(self, call: Callable[..., T], *values: Any, **words: Any) -> T:
        """Any call of the store or of a session in its thread: `await store.run(store.store.stats)`."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*values, **words))

    async def create(self, **words: Any) -> AsyncSession:
        return AsyncSession(self, await self.run(self.store.create, **words))

    async def session(self, id: str) -> AsyncSession:  # noqa: A002
        return AsyncSession(self, await self.run(self.store.session, id))

    async def list(self, **words: Any) -> Listing:
        return await self.run(self.store.list, **words)

    async def read(self, ref: str, offset: int = 0, length: int = d.LEVELS[0], *, raw: bool = False) -> Page:
        return await self.run(self.store.read, ref, offset, length, raw=raw)

    async def close(self) -> None:
        await self.run(self.store.close)
        self._pool.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncSession:
    """As `Session`; `session` is the handle behind it for what is not here (`store.run(one.session.export, ...)`)."""

    def __init__(self, store: AsyncStore, session: Session) -> None:
        self.id = session.id
        self.session = session
        self._store = store

    async def append(self, kind: str, body: Any, **words: Any) -> Item:
        return await self._store.run(self.session.append, kind, body, **words)

    async def items(self, after: int = 0, limit: int = d.BATCH_ROWS) -> list[Item]:
        return await self._store.run(self.session.items, after, limit)

    async def assemble(self, **words: Any) -> Context:
        """The context as an asynchronous iterator of fragments; it may be gone through again for a retry."""
        return Context(self._store, await self._store.run(self.session.assemble, **words))


class Context:
    """`async for fragment in context:`"""

    def __init__(self, store: AsyncStore, assembly: Assembly) -> None:
        self._store = store
        self.assembly = assembly

    async def __aiter__(self) -> AsyncIterator[bytes]:
        fragments = iter(self.assembly)
        while part := await self._store.run(_some, fragments):
            yield part


def _some(fragments: Any) -> bytes:
    """At least 64 KiB together: a hop between threads costs more than a short fragment."""
    found = bytearray()
    for fragment in fragments:
        found += fragment
        if len(found) >= d.PIECE:
            break
    return bytes(found)
