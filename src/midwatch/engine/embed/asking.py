"""What a host asks of its running engine: commands, status, waiting. Coroutines of the engine's loop.

The same jobs and rows as behind the control socket. Must not decide, nor know which thread asks.
"""

# ruff: noqa: ASYNC109  asked for from other threads, where no asyncio.timeout reaches

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from midwatch.engine.core import Service
from midwatch.engine.embed.errors import SupervisorError, UnknownService
from midwatch.engine.embed.host import Host
from midwatch.engine.methods import _reached
from midwatch.engine.status import status_report
from midwatch.model.event import Verb

Names = str | Sequence[str] | None
Until = Literal["ready", "stopped", "exited", "done"]
UNTIL = ("ready", "stopped", "exited", "done")


class Settled(msgspec.Struct, frozen=True):
    """How a command ended for one service, in words."""

    ok: bool
    message: str


async def ask(host: Host, verb: Verb, names: Names, now: bool, timeout: float | None) -> dict[str, Settled]:
    """Put a command and wait until every service has settled. Raises TimeoutError; the command goes on."""
    ids = chosen(host, names)
    if verb == "start":
        ids = host.engine.with_needs(ids)
    job = host.engine.jobs.ask(verb, ids, host.by, now=now)
    if not job.done:
        settled = asyncio.Event()
        job.waiters.append(settled.set)
        try:
            if not await _until(host, settled, timeout):
                raise TimeoutError(f"{verb} of {', '.join(map(_short, ids))} is not finished after {timeout:g} s")
        finally:
            if settled.set in job.waiters:
                job.waiters.remove(settled.set)
    return {_short(name): Settled(outcome.ok, outcome.message) for name, outcome in job.results.items()}


async def wait_until(host: Host, names: Names, until: Until, timeout: float | None) -> bool:
    """Until each of them is so; False when it is not within `timeout`."""
    if until not in UNTIL:
        raise ValueError(f"until is one of {', '.join(UNTIL)}, not {until!r}")
    engine = host.engine
    ids = chosen(host, names)
    first = {name: engine.services[name].state.run for name in ids}

    def met() -> bool:
        services = engine.services
        if all(name not in services or _reached(services[name].state, until, first[name]) for name in ids):
            reached.set()
        return reached.is_set()

    reached = asyncio.Event()
    if met():
        return True

    def watcher(_: Service) -> None:
        met()

    engine.on_change.append(watcher)
    try:
        return await _until(host, reached, timeout)
    finally:
        engine.on_change.remove(watcher)


async def status(host: Host) -> list[dict[str, Any]]:
    """The rows of `midwatch ps --json`."""
    rows: list[dict[str, Any]] = status_report(host.engine)["services"]
    return rows


def chosen(host: Host, names: Names) -> list[str]:
    """Service ids of what was named, by its name or its whole id; None: all. Raises UnknownService."""
    known = host.engine.services
    if names is None:
        return list(known)
    ids = []
    for name in [names] if isinstance(names, str) else names:
        found = name if name in known else f"{host.loaded.project}/{name}"
        if found not in known:
            import difflib

            here = [_short(service) for service in known]
            near = difflib.get_close_matches(str(name), here, 1, 0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(here[:10])}"
            raise UnknownService(f"no service {name!r}; {hint}")
        ids.append(found)
    return ids


async def _until(host: Host, event: asyncio.Event, timeout: float | None) -> bool:
    """Wait for it or for the end of supervision, which raises."""
    waiting = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(host.over.wait())]
    try:
        await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    if event.is_set():
        return True
    if host.over.is_set():
        raise host.failure or SupervisorError("supervision has ended meanwhile")
    return False


def _short(name: str) -> str:
    return name.rpartition("/")[2]
