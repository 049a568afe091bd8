"""The store for asyncio: the same, awaited; the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from midwatch import sessions


def test_an_asyncio_agent(path: Path) -> None:
    """Append, page, read, assemble twice; another task runs while a large body is stored."""

    async def agent() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        async with await sessions.AsyncStore.open(str(path)) as store:
            other = asyncio.create_task(tick())
            talk = await store.create(title="t")
            await talk.append("user", "x" * 20_000_000)
            await talk.append("assistant", "done")
            other.cancel()
            assert ticks > 0
            assert [item.kind for item in await talk.items()] == ["user", "assistant"]
            assert (await store.read(f"{talk.id}/1", 5, 3)).text == "xxx"
            assert [info.id for info in (await store.list()).sessions] == [talk.id]
            context = await talk.assemble()
            first = b"".join([part async for part in context])
            assert len(json.loads(first)) == 2
            assert b"".join([part async for part in context]) == first
            assert (await store.session(talk.id)).id == talk.id
            assert (await store.run(store.store.stats)).items == 2

    asyncio.run(agent())
