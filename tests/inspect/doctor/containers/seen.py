"""Containers made of values, for the checks: what an engine would have told."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.inspect.doctor.machines import NOW, Machine

from midwatch.inspect.containers.values import Container, Engine, Picture, Seen, Usage, Volumes
from midwatch.inspect.doctor.check import Check, Context
from midwatch.model.look import Checked

GIB = 1 << 30
MACHINE = int(15.6 * GIB)


class Box:
    """One container and what it uses."""

    def __init__(self, name: str, used: int | None, limit: int | None = None, **facts: Any) -> None:
        measured = {key: facts.pop(key) for key in ("ooms", "exact", "peak", "place") if key in facts}
        told: dict[str, Any] = {
            "id": (name * 64)[:64],
            "name": name,
            "status": "running",
            "memory": limit,
            "started": NOW - 9000,
        }
        self.container = Container(**(told | facts))
        self.usage = (
            None if used is None else Usage(used, limit, measured.pop("place", "cgroup"), **measured)
        )


def seen(
    *boxes: Box, engine: Engine | None = None, volumes: Volumes | None = None, missing: tuple[str, ...] = ()
) -> Seen:
    """One engine with these."""
    of = engine or Engine("docker", "unix:///x", memory=MACHINE, system="Docker Desktop")
    usage = {box.container.id: box.usage for box in boxes if box.usage is not None}
    return Seen((Picture(of, tuple(box.container for box in boxes), usage, volumes),), missing)


def run(check: Check, told: Seen, machine: Machine | None = None, **changes: Any) -> list[Checked]:
    """What a check says of them. Everything it says survives JSON."""
    ctx = Context(machine or Machine(), docker=lambda: told, **changes)
    results = list(check.run(ctx))
    msgspec.json.encode(results)
    assert all(one.hint for one in results if one.status in ("warn", "fail"))
    return results
