"""What a check is, what it is given, and how it says what it found.

A module with `CHECK = Check(...)` anywhere below this package is a check. Its `run` yields results as it finds them,
so that one which is cut short has said what it knew. Must not know any particular check, a terminal or the daemon.
Tests: tests/inspect/doctor/test_core.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import msgspec

from midwatch.inspect.ours import Ours
from midwatch.inspect.sources import Sources
from midwatch.model.look import Checked, Offender, Status
from midwatch.policy import defaults_inspect as figures

Category = Literal[
    "memory", "containers", "processes", "crashes", "locks", "watchers", "disk", "services", "limits"
]
CATEGORIES: tuple[str, ...] = get_args(Category)
WORST: dict[str, int] = {"fail": 0, "warn": 1, "skip": 2, "pass": 3}


class Missing(Exception):
    """A check cannot run here. `how`: the command or edit that would make it run (GEN-1, GEN-7)."""

    def __init__(self, why: str, how: str) -> None:
        super().__init__(why)
        self.why = why
        self.how = how


class Watched(msgspec.Struct, frozen=True):
    """One service of ours as a check needs it: what the daemon's ps row and the accepted rules say of it.

    `row` is the row as it is; what is not known is None or empty.
    """

    id: str  # project/name
    row: dict[str, Any] = {}
    pid: int | None = None
    pids: tuple[int, ...] = ()
    command: tuple[str, ...] = ()
    cwd: str = ""
    port: int | None = None
    drain: float | None = None  # s, the longest polite end: drain and grace together
    memory_hard: int | None = None
    fds_open: int | None = None
    fds_limit: int | None = None


class Context:
    """What a check may use. `docker` makes a client of the engine when it is first called and may raise Missing;
    `rungs` are the guards that work here (rung -> "yes" or why not), as the daemon or a fresh look found them.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        ours: Ours | None = None,
        docker: Callable[[], Any] | None = None,
        paths: tuple[str, ...] = (),
        services: tuple[Watched, ...] = (),
        name: str = "",
        rungs: dict[str, str] | None = None,
        expect_heavy: int = 0,
        window: float = figures.WATCH_USUAL,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.sources = sources
        self.ours = Ours() if ours is None else ours
        self.docker = docker
        self.paths = paths  # folders that the caller works in: where he stands, projects, state
        self.services = services
        self.name = name  # `doctor NAME`: checks speak of this service only
        self.rungs = rungs
        self.expect_heavy = expect_heavy  # bytes that a heavy job will need (DOC-6)
        self.window = window  # s that a check may watch something change
        self.clock = clock  # monotonic (GEN-6)
        self.pause = pause
        self.cut: set[tuple[str, ...]] = (
            set()
        )  # programs that printed more than is read: their answer is partial
        self._shared: dict[str, Any] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What several checks need and only one of them works out; the others wait for it."""
        with self._lock:
            own = self._locks.setdefault(name, threading.Lock())
        with own:
            if name not in self._shared:
                self._shared[name] = make()
            return self._shared[name]

    @property
    def linux(self) -> bool:
        """Is the machine that is looked at one with /proc? Of a recording: its own platform, not ours."""
        return self.sources.platform == "linux"

    def text(self, path: str) -> str:
        """A file as text. Raises OSError."""
        return self.sources.read(path).decode("utf-8", "replace")

    def said(self, *argv: str) -> str:
        """What a program that only reads printed. Raises Missing when there is none, it hung or it failed."""
        try:
            ran = self.sources.run(argv)
        except FileNotFoundError:
            raise Missing(f"{argv[0]} is not here", f"install {argv[0]}") from None
        except OSError as error:
            raise Missing(f"{argv[0]} cannot be run: {error.strerror or error}", f"type {argv[0]}") from None
        if ran.late:
            raise Missing(
                f"{argv[0]} gave no answer in time", f"run '{' '.join(argv)}' by hand to see where it hangs"
            )
        if ran.code:
            last = (ran.err or ran.out).strip().splitlines()[-1:] or ["no words"]
            raise Missing(
                f"{argv[0]} ended with {ran.code}: {last[0][:200]}", f"run '{' '.join(argv)}' by hand"
            )
        if ran.cut:
            self.cut.add(argv)
        return ran.out


class Check(msgspec.Struct, frozen=True):
    """One check. `about`: what it looks at and when it says warn and fail, for the reference. `slow`: only with
    --all or by its category. `services`: part of `doctor NAME`.
    """

    id: str
    category: Category
    title: str
    about: str
    run: Callable[[Context], Iterable[Checked]]
    slow: bool = False
    services: bool = False
    platforms: tuple[str, ...] = ("linux", "darwin")

    def say(
        self,
        status: Status,
        message: str,
        *,
        offenders: Iterable[Offender] = (),
        evidence: dict[str, Any] | None = None,
        hint: str = "",
        fix: tuple[str, ...] | None = None,
    ) -> Checked:
        """A result of this check."""
        named = tuple(offenders)
        return Checked(self.id, self.category, status, message, named, evidence or {}, hint, "live", fix)


def watching(seconds: float) -> float:
    """How long a tree is watched when so many seconds were asked for; negative: as usual."""
    return figures.WATCH_USUAL if seconds < 0 else min(seconds, figures.WATCH_MOST)


def worst_first(results: Iterable[Checked]) -> list[Checked]:
    """By category in their fixed order, in each the worst first, then by id: what a person reads."""
    number = {category: at for at, category in enumerate(CATEGORIES)}
    return sorted(results, key=lambda one: (number.get(one.category, 99), WORST[one.status], _number(one.id)))


def _number(check: str) -> tuple[str, int]:
    name, _, number = check.rpartition("-")
    return name, int(number) if number.isdigit() else 0
