"""What is known of container engines and their containers: values only, as an engine, its CLI or a recording told them.

Bytes and wall-clock times; None is "could not be told". Must not ask anybody and must not judge. Tests:
tests/inspect/containers/test_parse.py.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["docker", "podman"]
Place = Literal["cgroup", "engine", "cli"]


class NoEngine(Exception):
    """No container can be looked at. `how`: the command or edit that would change that (GEN-7)."""

    def __init__(self, why: str, how: str) -> None:
        super().__init__(why)
        self.why = why
        self.how = how


class Engine(msgspec.Struct, frozen=True):
    """One engine. `memory`: of the machine it runs on, which on a desktop is its VM's, not the host's. `here`: it runs
    under this very kernel, so that pids and cgroups it names are ours to read.
    """

    kind: Kind
    endpoint: str  # unix:///run/docker.sock; "" when it was told by the CLI or a recording
    version: str = ""
    memory: int | None = None
    system: str = ""  # "Docker Desktop", "Debian GNU/Linux 12"
    here: bool = False
    root: str = ""  # where it keeps its data

    @property
    def desktop(self) -> bool:
        """Does it run in a VM that an app or a tool of this machine made?"""
        low = self.system.lower()
        return any(
            word in low for word in ("docker desktop", "orbstack", "colima", "rancher desktop", "lima")
        )


class Container(msgspec.Struct, frozen=True):
    """One container. With `id`, `started` is the identity of its present life."""

    id: str
    name: str
    image: str = ""
    status: str = ""  # created | running | paused | restarting | exited | dead
    pid: int = 0
    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None
    oom_killed: bool | None = None  # what the engine says; podman says False whatever happened
    memory: int | None = None  # the limit as configured; None: unlimited
    pids: int | None = None
    restart: str = ""  # restart policy: always | unless-stopped | on-failure | ""
    restarts: int = 0
    health: str = ""  # healthy | unhealthy | starting | "" without a check
    failing: int = 0  # health checks failed in a row
    project: str = ""  # of compose
    service: str = ""
    folder: str = ""  # compose's working directory
    spike: int | None = None  # label midwatch.spike: what it may need for a while

    @property
    def running(self) -> bool:
        """Does it hold memory now?"""
        return self.status in {"running", "paused", "restarting"} or (not self.status and self.pid > 0)


class Usage(msgspec.Struct, frozen=True):
    """Memory of one running container. `used` is without file pages that the kernel can drop at once. `exact` False:
    those could not be told, so `used` is an upper bound; `ooms`: kills out of memory in this life of it.
    """

    used: int
    limit: int | None
    place: Place
    exact: bool = True
    raw: int | None = None
    peak: int | None = None
    ooms: int | None = None
    cpu: float | None = None  # s of CPU in this life
    pids: int | None = None


class Volumes(msgspec.Struct, frozen=True):
    """Volumes that no container uses. `held` None: the engine did not say how large they are."""

    names: tuple[str, ...]
    held: int | None = None


class Picture(msgspec.Struct, frozen=True):
    """One engine at one moment. `missing`: what could not be told, in words."""

    engine: Engine
    containers: tuple[Container, ...] = ()
    usage: dict[str, Usage] = {}
    volumes: Volumes | None = None
    missing: tuple[str, ...] = ()

    def running(self) -> list[Container]:
        """Those that hold memory, by name."""
        return sorted((one for one in self.containers if one.running), key=lambda one: one.name)

    def used(self) -> int:
        """What all of them hold, as far as it is known."""
        return sum(one.used for one in self.usage.values())

    def limit(self, container: Container) -> int | None:
        """The limit in force: the cgroup's, else the configured one. None: unlimited.

        `podman update` changes the one and not the other. A "limit" of the whole machine is none.
        """
        seen = self.usage.get(container.id)
        if seen is not None and seen.place == "cgroup":
            return seen.limit
        if container.memory or seen is None or seen.limit is None:
            return container.memory
        return None if self.engine.memory is None or seen.limit >= self.engine.memory else container.memory


class Seen(msgspec.Struct, frozen=True):
    """Every engine that answered, and in words what did not."""

    pictures: tuple[Picture, ...]
    missing: tuple[str, ...] = ()

    def label(self, picture: Picture, container: Container) -> str:
        """The container's name, with its engine when there are several."""
        return container.name if len(self.pictures) < 2 else f"{picture.engine.kind}:{container.name}"
