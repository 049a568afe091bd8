"""Takes the picture from what the docker command prints: of a recording, and of a machine without the docker SDK.

A recording has `docker_info`, `docker_inspect`, `docker_stats` and `docker_volumes` under `run/`, in any of the forms
of F-09 to F-11. Must not judge. Tests: tests/inspect/containers/test_client.py.
"""

from __future__ import annotations

import os

from midwatch.inspect.containers import cgroups, parse
from midwatch.inspect.containers.values import Container, Engine, NoEngine, Picture, Usage, Volumes
from midwatch.inspect.sources import Sources

_JSON = ("--format", "{{json .}}")
_LIVE = {
    "info": ("docker", "info", *_JSON),
    "stats": ("docker", "stats", "--no-stream", "--no-trunc", *_JSON),
    "volumes": ("docker", "volume", "ls", "-q", "--filter", "dangling=true"),
}


def picture(sources: Sources, how: str) -> Picture:
    """Raises NoEngine with `how` to get a better answer."""
    info = parse.decode(_said(sources, "info", how)) or {}
    told = info if isinstance(info, dict) else {}
    machine = parse.memory_total(told)
    containers = parse.containers(_inspect(sources, how))
    missing = []
    try:
        stats = parse.stats_lines(_said(sources, "stats", how), machine)
    except NoEngine as error:
        stats = {}
        missing.append(f"what containers hold is not known: {error.why}")
    engine = Engine(
        kind="podman"
        if "podman" in str(told.get("ServerVersion", "")).lower() or "host" in told
        else "docker",
        endpoint="",
        version=str(told.get("ServerVersion") or ""),
        memory=machine,
        system=str(told.get("OperatingSystem") or ""),
        here=not sources.recorded and told.get("KernelVersion") == os.uname().release,
        root=str(told.get("DockerRootDir") or ""),
    )
    known = containers or [_bare(name, one) for name, one in stats.items()]
    usage = {one.id: found for one in known if (found := _of(sources, one, stats)) is not None}
    return Picture(engine, tuple(known), usage, _volumes(sources, how), tuple(missing))


def _of(sources: Sources, container: Container, stats: dict[str, Usage]) -> Usage | None:
    """The cgroup's own figures, where they are at hand: they count the kills too."""
    seen = cgroups.usage(sources, container)
    if seen is not None:
        return seen
    names = (container.id, container.name, container.id[:12])
    return next((stats[name] for name in names if name in stats), None)


def _bare(name: str, usage: Usage) -> Container:
    """Of a recording without inspect: a limit below the machine's memory is a limit."""
    return Container(id=name, name=name, status="running", memory=usage.limit)


def _inspect(sources: Sources, how: str) -> str:
    if sources.recorded:
        return _optional(sources, ("docker", "inspect"))
    ids = _ran(sources, ("docker", "container", "ls", "-aq", "--no-trunc"), how).split()
    return _ran(sources, ("docker", "inspect", *ids), how) if ids else ""


def _volumes(sources: Sources, how: str) -> Volumes | None:
    try:
        return Volumes(tuple(sorted(_said(sources, "volumes", how).split())))
    except NoEngine:
        return None


def _said(sources: Sources, what: str, how: str) -> str:
    if not sources.recorded:
        return _ran(sources, _LIVE[what], how)
    if what == "info":
        return _optional(sources, ("docker", "info"))
    return _ran(sources, ("docker", what), how)


def _optional(sources: Sources, argv: tuple[str, ...]) -> str:
    try:
        return sources.run(argv).out
    except OSError:
        return ""


def _ran(sources: Sources, argv: tuple[str, ...], how: str) -> str:
    try:
        ran = sources.run(argv)
    except OSError:
        raise NoEngine(f"{' '.join(argv[:2])}: not here", how) from None
    if ran.late:
        raise NoEngine(f"{' '.join(argv[:2])} gave no answer in time", how)
    if ran.code:
        last = (ran.err or ran.out).strip().splitlines()[-1:] or ["no words"]
        raise NoEngine(f"{' '.join(argv[:2])} ended with {ran.code}: {last[0][:200]}", how)
    return ran.out
