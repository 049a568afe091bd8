"""Takes the picture of one engine over its API: who it is, its containers, what they hold, what lies about.

Memory is read from the cgroups where the engine runs under our kernel (a millisecond), else asked from the engine,
which takes docker a second a container. What comes too late is missing, and that is said. Must not judge. Tests:
tests/inspect/containers/test_client.py, tests/real/engines.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from midwatch.inspect.containers import cgroups, parse
from midwatch.inspect.containers.client import Client, Refused
from midwatch.inspect.containers.together import Late, together, within
from midwatch.inspect.containers.values import Container, Engine, Picture, Usage, Volumes
from midwatch.inspect.sources import Sources
from midwatch.policy import defaults_inspect as figures

_LIST = "/containers/json"


class Look:
    """One look at one engine, until a deadline."""

    def __init__(self, sources: Sources, client: Client, seconds: float) -> None:
        self._sources = sources
        self._client = client
        self._until = time.monotonic() + seconds
        self._missing: list[str] = []

    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self._until - time.monotonic())

    def whole(self) -> Picture:
        """Everything. Raises Late, Refused, OSError when the engine does not even say who it is."""
        engine = self._engine()
        containers = self._containers(everything=True)
        usage = self._usage(engine, containers, ask=True)
        return Picture(engine, containers, usage, self._volumes(), tuple(self._missing))

    def short(self) -> Picture:
        """Running containers and their limits; what they hold only where that costs nothing."""
        containers = self._containers(everything=False)
        engine = Engine("podman" if "podman" in self._client.address else "docker", self._client.address)
        return Picture(
            engine, containers, self._usage(engine, containers, ask=False), None, tuple(self._missing)
        )

    def _engine(self) -> Engine:
        first = min(self.left(), figures.CONTAINERS_FIRST)
        told, version = (
            _dict(_raised(one))
            for one in together([partial(self._client.get, p) for p in ("/info", "/version")], first)
        )
        names = [str(_dict(one).get("Name")) for one in _list(version.get("Components"))]
        podman = any("podman" in name.lower() for name in names)
        same = told.get("KernelVersion") == os.uname().release and self._sources.platform == "linux"
        return Engine(
            kind="podman" if podman else "docker",
            endpoint=self._client.address,
            version=str(version.get("Version") or told.get("ServerVersion") or ""),
            memory=parse.memory_total(told),
            system=str(told.get("OperatingSystem") or ""),
            here=same,
            root=str(told.get("DockerRootDir") or ""),
        )

    def _containers(self, *, everything: bool) -> tuple[Container, ...]:
        """Raises Late, Refused, OSError: without the list nothing is known."""
        params = {"all": "1"} if everything else {}
        rows = within(lambda: self._client.get(_LIST, **params), self.left())
        ids = [row["Id"] for row in _list(rows) if isinstance(row, dict) and isinstance(row.get("Id"), str)]
        if len(ids) > figures.CONTAINERS_MOST:
            self._missing.append(f"{len(ids) - figures.CONTAINERS_MOST} more containers were not looked at")
        told = self._each(ids[: figures.CONTAINERS_MOST], "/containers/{}/json", "inspected")
        return tuple(parse.container(_dict(one)) for one in told.values())

    def _usage(self, engine: Engine, containers: tuple[Container, ...], *, ask: bool) -> dict[str, Usage]:
        found: dict[str, Usage] = {}
        for one in containers:
            seen = cgroups.usage(self._sources, one) if one.running and not self._sources.recorded else None
            if seen is not None:
                found[one.id] = seen
        rest = [one.id for one in containers if one.running and one.id not in found]
        told = self._each(rest, "/containers/{}/stats", "measured", stream="false") if ask else {}
        for name, one in told.items():
            usage = parse.stats(_dict(one), engine.memory)
            if usage is not None:
                found[name] = usage
        return found

    def _volumes(self) -> Volumes | None:
        """Unused volumes; their size only when the engine says so within what time is left."""
        asked: list[Callable[[], Any]] = [
            lambda: self._client.get("/volumes", filters='{"dangling":["true"]}'),
            lambda: self._client.get("/system/df", type="volume"),
        ]
        told, room = together(asked, min(self.left(), figures.CONTAINERS_FIRST))
        if isinstance(told, Exception):
            self._missing.append(
                "volumes: no answer in time" if isinstance(told, Late) else f"volumes: {told}"
            )
            return None
        names = [str(_dict(row).get("Name")) for row in _list(_dict(told).get("Volumes"))]
        sizes = {}
        for row in _list(_dict(None if isinstance(room, Exception) else room).get("Volumes")):
            held = _dict(_dict(row).get("UsageData")).get("Size")
            if isinstance(held, int) and held >= 0:
                sizes[_dict(row).get("Name")] = held
        known = [sizes[name] for name in names if name in sizes]
        return Volumes(tuple(sorted(names)), sum(known) if known or not names else None)

    def _each(self, ids: list[str], path: str, done: str, **params: str) -> dict[str, Any]:
        """One question about each; what vanished meanwhile is nobody's loss."""
        jobs = [partial(self._client.get, path.format(one), **params) for one in ids]
        told = dict(zip(ids, together(jobs, self.left()), strict=True))
        failed = [e for e in told.values() if isinstance(e, Exception) and getattr(e, "status", 0) != 404]
        if failed:
            why = (
                "no answer in time" if any(isinstance(one, Late) for one in failed) else str(failed[0])[:120]
            )
            self._missing.append(f"{len(failed)} of {len(ids)} containers could not be {done}: {why}")
        return {name: one for name, one in told.items() if not isinstance(one, Exception)}


def _raised(one: Any) -> Any:
    if isinstance(one, Refused | Late | OSError):
        raise one
    if isinstance(one, Exception):
        raise OSError(str(one)) from one
    return one


def _dict(told: Any) -> dict[str, Any]:
    return told if isinstance(told, dict) else {}


def _list(told: Any) -> list[Any]:
    return told if isinstance(told, list) else []
