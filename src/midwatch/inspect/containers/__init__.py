"""Container engines of this machine, or of a recording: what runs in them, with which limits, and what it holds.

`see` is one look at everything, taken once for a `sources` and shared; `quick` is what the first screen can afford.
An engine that hangs costs its deadline. Nothing is imported before it is needed. Must not judge: doctor's checks do.
Tests: tests/inspect/containers, tests/real/engines.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from functools import partial
from importlib.util import find_spec
from typing import Any

import msgspec

from midwatch.inspect.containers.stop import Stack, Target, stop
from midwatch.inspect.containers.values import Container, Engine, NoEngine, Picture, Seen, Usage, Volumes
from midwatch.inspect.sources import Sources
from midwatch.policy import defaults_inspect as figures

__all__ = ["Container", "Engine", "NoEngine", "Picture", "Quick", "Seen", "Stack", "Target", "Unlimited", "Usage",
           "Volumes", "idle_stacks", "quick", "see", "stop", "vm_app"]  # fmt: skip

_START = "start the engine, or name its socket in DOCKER_HOST"


class Unlimited(msgspec.Struct, frozen=True):
    """A running container without a memory limit."""

    name: str
    engine: str
    project: str = ""
    used: int | None = None


class Quick(msgspec.Struct, frozen=True):
    """What `look` shows. `words`: why nothing could be told, "" when it could or there is no engine at all."""

    containers: int = 0
    unlimited: tuple[Unlimited, ...] = ()
    words: str = ""


_PART = 0.8  # of the time, for one engine's questions: the rest is for coming back with what is known
_lock = threading.Lock()
_taken: weakref.WeakKeyDictionary[Any, tuple[threading.Lock, list[Seen | NoEngine]]] = (
    weakref.WeakKeyDictionary()
)


def see(sources: Sources) -> Seen:
    """Every engine; one look for all who ask about these sources. Raises NoEngine."""
    with _lock:
        mine, kept = _taken.setdefault(sources, (threading.Lock(), []))
    with mine:
        if not kept:
            try:
                kept.append(_look(sources, figures.CONTAINERS_SECONDS))
            except NoEngine as none:
                kept.append(none)
        found = kept[0]
    if isinstance(found, NoEngine):
        raise NoEngine(found.why, found.how)
    return found


def quick(sources: Sources, seconds: float = figures.CONTAINERS_QUICK) -> Quick:
    """Running containers and those without a limit. Never raises, never takes longer."""
    from midwatch.inspect.containers.together import within

    try:
        if sources.recorded:
            seen = see(sources)
        else:
            seen = within(lambda: _look(sources, seconds, short=True), seconds)
    except NoEngine as none:
        return Quick(words="" if none.how == _START else f"{none.why}: {none.how}")
    except Exception as error:  # noqa: BLE001 - the first screen has to come
        return Quick(words=f"container engine: {str(error) or 'no answer in time'}")
    free = [
        Unlimited(seen.label(picture, one), picture.engine.kind, one.project, usage.used if usage else None)
        for picture in seen.pictures
        for one in picture.running()
        for usage in [picture.usage.get(one.id)]
        if picture.limit(one) is None
    ]
    free.sort(key=lambda one: (-(one.used or 0), one.name))
    return Quick(
        sum(len(picture.running()) for picture in seen.pictures), tuple(free), "; ".join(seen.missing)
    )


def idle_stacks(sources: Sources, seconds: float = 1.0) -> list[Stack]:
    """Running compose stacks that did nothing while we watched, those with data last. Raises NoEngine."""
    from midwatch.inspect.containers.idle import stacks

    if sources.recorded:
        return []  # nothing moves in a recording
    began = time.monotonic()
    before = _look(sources, figures.CONTAINERS_SECONDS)
    time.sleep(max(0.0, seconds - (time.monotonic() - began)))
    after = _look(sources, figures.CONTAINERS_SECONDS)
    return stacks(before, after, sources.now(), time.monotonic() - began)


def vm_app(sources: Sources) -> str:
    """The app whose virtual machine holds most, as DOC-7 names it; "" when there is none."""
    from midwatch.inspect.containers import vm

    return vm.vm_app(sources)


def _look(sources: Sources, seconds: float, *, short: bool = False) -> Seen:
    from midwatch.inspect.containers import cli, endpoints

    if sources.recorded:
        return Seen((cli.picture(sources, "record docker stats and docker inspect with the rest"),))
    addresses, missing = endpoints.find(os.environ, sources.home, sources.uid)
    if not addresses:
        words = "; ".join(missing) or "no container engine was found"
        raise NoEngine(words, _START if not missing else "run midwatch doctor on that machine")
    if find_spec("docker") is None:
        from midwatch.inspect.containers.client import INSTALL

        try:
            return Seen((cli.picture(sources, INSTALL),), tuple(missing))
        except NoEngine as none:
            raise NoEngine(f"the docker SDK is not installed ({none.why})", INSTALL) from None
    return _ask(sources, addresses, missing, seconds, short)


def _ask(sources: Sources, addresses: list[str], missing: list[str], seconds: float, short: bool) -> Seen:
    from midwatch.inspect.containers.client import trouble
    from midwatch.inspect.containers.together import together

    jobs = [partial(_one, sources, address, seconds, short) for address in addresses]
    pictures: list[Picture] = []
    for address, told in zip(addresses, together(jobs, seconds), strict=True):
        if isinstance(told, Picture):
            pictures.append(told)
        else:
            missing = [*missing, trouble(told, address)]
    if not pictures:
        raise NoEngine("; ".join(missing), "check that the engine answers: docker ps, podman ps")
    words = [*missing, *(word for picture in pictures for word in picture.missing)]
    return Seen(tuple(pictures), tuple(words))


def _one(sources: Sources, address: str, seconds: float, short: bool) -> Picture:
    from midwatch.inspect.containers.client import Client
    from midwatch.inspect.containers.looking import Look

    client = Client(address, seconds)
    try:
        client.knock()
        look = Look(sources, client, seconds * _PART)
        return look.short() if short else look.whole()
    finally:
        client.close()
