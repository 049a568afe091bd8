"""What `leaks` is told: of a service everything the leak watch knows, of any other process what one look shows.

Must not decide and must not act: a foreign process is only read. Tests: tests/engine/test_guard_leaks.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from midwatch.machine.ports import Containment, Tree
from midwatch.policy.leaks import shape, signs

if TYPE_CHECKING:
    from midwatch.engine.core import Engine


async def of_service(engine: Engine, name: str) -> dict[str, Any]:
    """A service: growth by kind, signs, the shape of its descriptors; `watched` False while it does not run. Who asks
    gets a look of now, unless there was one a moment ago."""
    watch = engine.guards.watches.get(name)
    if watch is not None and engine.guards.leaks.stale(watch):
        snapshot = await asyncio.get_running_loop().run_in_executor(None, engine.machine.fd_snapshot, watch.tree)
        engine.guards.leaks.looked(watch, snapshot)
    service, watch = engine.services[name], engine.guards.watches.get(name)
    head: dict[str, Any] = {"service": name, "run_id": service.state.run, "pid": service.state.pid}
    if watch is None or watch.sample is None:
        return {**head, "watched": False, "kinds": [], "signs": [], "fds": None, "shape": None}
    found = engine.guards.leaks.report(watch)
    counts = engine.guards.leaks.totals(name)
    shown = shape.describe(counts) if len(counts) > 1 else None
    lines = engine.guards.lines(service)
    held = {"held_bytes": watch.value, "quality": watch.sample.held.quality, **lines}
    wal = engine.guards.wal.report(name)
    return {**head, "watched": True, "memory": held, **found, "wal": wal, "shape": msgspec.to_builtins(shown)}


async def of_process(engine: Engine, pid: int) -> dict[str, Any] | None:
    """Any process of this machine, by one look; None: there is none."""
    machine = engine.machine
    holder = machine.holder(pid)
    if holder is None:
        return None
    tree = Tree(run="", main=holder.proc, marker="", containment=Containment(), keeper=0)
    reading = machine.held_one(pid)
    used, limit = machine.open_fds(pid)
    snapshot = await asyncio.get_running_loop().run_in_executor(None, machine.fd_snapshot, tree)
    found = [] if snapshot is None else signs.signs(snapshot, {})
    found += [sign for sign in (signs.headroom([used or 0], limit), signs.low_limit(limit)) if sign is not None]
    return {
        "service": None, "run_id": None, "pid": pid, "watched": False, "command": holder.command,
        "memory": {"held_bytes": reading.value, "quality": reading.quality, "why": reading.why}, "kinds": [],
        "signs": [msgspec.to_builtins(sign) for sign in found], "shape": None,
        "fds": {
            "total": used, "soft": limit, "by_kind": snapshot.kinds() if snapshot is not None else {},
            "top": [list(row) for row in snapshot.targets[:20]] if snapshot is not None else [],
        },
    }  # fmt: skip
