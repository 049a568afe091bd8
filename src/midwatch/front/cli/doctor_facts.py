"""What the checks of `doctor` are given: this machine or a recorded one, our services, where the caller works.

A daemon that does not answer is no reason to stop: its record tells the rest. Must not judge.
Tests: tests/front/test_doctor.py.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from midwatch.engine.client import ClientError
from midwatch.front.cli import instances, names, project
from midwatch.front.cli.declare import Failure, Usage
from midwatch.front.cli.owning import gather
from midwatch.inspect.doctor.check import Context, Watched
from midwatch.inspect.doctor.parts import trees
from midwatch.inspect.sources.live import Live
from midwatch.inspect.sources.recorded import Recorded
from midwatch.model.service import ServiceSpec


def context(name: str | None, recorded: str | None, expect_heavy: int, window: float) -> Context:
    """Raises Usage for an unknown name, Failure for a folder that is no recording."""
    if recorded is not None:
        try:
            return Context(Recorded(recorded), expect_heavy=expect_heavy, window=window)
        except (OSError, ValueError) as error:
            raise Failure(f"{recorded} is no recorded machine: {error}; nothing was looked at", 2) from None
    try:
        picture = instances.look()
    except ClientError:
        picture = instances.look(record_only=True)
    services = tuple(watched(known) for known in picture.services if not known.past)
    live = Live()
    services = tuple(_whole(one, live) for one in services)
    meant = names.resolve([name], [one.id for one in services], project.current()) if name else []
    if len(meant) > 1:
        raise Usage(f"{name!r} means {', '.join(meant)}; nothing was looked at; say which")
    rungs = (picture.daemon or {}).get("rungs")
    return Context(
        live,
        ours=gather(picture),
        paths=_paths(picture, services),
        services=services,
        name=meant[0] if meant else "",
        rungs=dict(rungs) if isinstance(rungs, dict) else None,
        expect_heavy=expect_heavy,
        window=window,
    )


def fresh(old: Context) -> Context:
    """The same questions to the machine as it is now."""
    return Context(
        Live(), ours=old.ours, paths=old.paths, services=old.services, name=old.name, rungs=old.rungs, window=old.window
    )


def heavy(text: str | None) -> int:
    """Bytes of --expect-heavy. Raises Usage."""
    if text is None:
        return 0
    from midwatch.model.units import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise Usage(f"--expect-heavy {text!r}: {error}; nothing was looked at") from None


def watched(known: instances.Known) -> Watched:
    """A service by the daemon's row and the accepted rules."""
    row: dict[str, Any] = known.row or {}
    spec = _spec(known)
    fds = row.get("fds") or {}
    hard = (row.get("memory") or {}).get("hard_bytes")
    return Watched(
        id=known.id,
        row=row,
        pid=row.get("pid"),
        command=spec.launch.argv if spec else (),
        cwd=spec.launch.cwd if spec else "",
        port=spec.launch.port if spec else None,
        drain=_stop(spec) if spec else None,
        memory_hard=hard,
        fds_open=fds.get("open"),
        fds_limit=fds.get("soft_limit"),
    )


def _whole(one: Watched, live: Live) -> Watched:
    """With everybody that its main process has started, and their children."""
    procs = live.table().procs
    if one.pid is None or one.pid not in procs:
        return one
    below = tuple(proc.pid for proc in trees.below(procs[one.pid], trees.children(procs)))
    return msgspec.structs.replace(one, pids=below)


def _spec(known: instances.Known) -> ServiceSpec | None:
    for raw in instances.accepted(known.layout.specs):
        if f"{raw.get('project')}/{raw.get('name')}" == known.id:
            try:
                return msgspec.convert(raw, ServiceSpec, strict=False)
            except msgspec.ValidationError:
                return None  # written by another version: its row has to do
    return None


def _stop(spec: ServiceSpec) -> float:
    """Seconds that our own stop may take, with the drain before it."""
    from midwatch.host.units.common import ladder

    return ladder(spec) + (spec.rules.drain.within if spec.rules.drain else 0.0)


def _paths(picture: instances.Picture, services: tuple[Watched, ...]) -> tuple[str, ...]:
    try:
        here = [os.getcwd()]
    except FileNotFoundError:
        here = []
    found = [*here, *(one.cwd for one in services if one.cwd), str(picture.home.home)]
    return tuple(dict.fromkeys(found))
