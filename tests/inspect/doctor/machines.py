"""A machine made of values, for checks: files, programs, processes, a clock. Nothing here touches the system."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from midwatch.inspect.doctor.check import Context
from midwatch.inspect.sources import READ_BYTES, RUN_SECONDS, Ran, Sources, Table
from midwatch.model.look import Proc

NOW = 1_772_446_800.0  # 2026-03-02 10:20:00 UTC


def proc(pid: int, argv: str = "", **changes: Any) -> Proc:
    """A process by its command line; started an hour ago unless said otherwise."""
    words = tuple(argv.split())
    facts: dict[str, Any] = {
        "pid": pid, "start": pid * 100, "ppid": 1, "pgid": pid, "sid": pid, "uid": 1000,
        "name": words[0].rpartition("/")[2] if words else "x", "argv": words, "started": NOW - 3600.0,
    }  # fmt: skip
    return Proc(**facts | changes)


class Machine:
    """Sources out of dictionaries."""

    def __init__(self, platform: Literal["linux", "darwin"] = "linux") -> None:
        self.platform: Literal["linux", "darwin"] = platform
        self.recorded = False
        self.uid = 1000
        self.home = "/home/me"
        self.time = NOW
        self.procs: dict[int, Proc] = {}
        self.hidden: tuple[str, ...] = ()
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.times: dict[str, float] = {}
        self.sizes: dict[str, int] = {}
        self.spaces: dict[str, tuple[int, int, int, int]] = {}
        self.ran: dict[tuple[str, ...], Ran] = {}
        self.sysctls: dict[str, str] = {}

    def now(self) -> float:
        return self.time

    def add(self, *procs: Proc) -> None:
        self.procs |= {one.pid: one for one in procs}

    def put(self, path: str, text: str | bytes, mtime: float | None = None) -> None:
        self.files[path] = text.encode() if isinstance(text, str) else text
        if mtime is not None:
            self.times[path] = mtime

    def says(self, command: str, out: str, code: int = 0, err: str = "", late: bool = False) -> None:
        self.ran[tuple(command.split())] = Ran(code, out, err, late=late)

    def table(self) -> Table:
        return Table(dict(self.procs), self.time, self.hidden)

    def read(self, path: str, limit: int = READ_BYTES) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path][:limit]

    def names(self, folder: str, limit: int = 10_000) -> list[str]:
        below = folder.rstrip("/") + "/"
        known = [*self.files, *self.links, *self.sizes]
        found = {path[len(below) :].split("/")[0] for path in known if path.startswith(below)}
        if not found:
            raise FileNotFoundError(2, "No such file or directory", folder)
        return sorted(found)[:limit]

    def link(self, path: str) -> str:
        if path not in self.links:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.links[path]

    def size(self, path: str) -> tuple[int, float]:
        if path in self.sizes:
            return self.sizes[path], self.times.get(path, self.time)
        return len(self.read(path, 1 << 40)), self.times.get(path, self.time)

    def space(self, path: str) -> tuple[int, int, int, int]:
        if path not in self.spaces:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.spaces[path]

    def run(self, argv: tuple[str, ...], seconds: float = RUN_SECONDS) -> Ran:
        if argv not in self.ran:
            raise FileNotFoundError(2, "No such file or directory", argv[0])
        return self.ran[argv]

    def sysctl(self, name: str) -> str:
        if name not in self.sysctls:
            raise FileNotFoundError(2, "No such file or directory", name)
        return self.sysctls[name]


def ctx(machine: Sources, **changes: Any) -> Context:
    return Context(machine, **changes)


def plain(results: Any) -> list[tuple[str, str]]:
    """(status, message) of each."""
    return [(one.status, one.message) for one in results]


def jsonable(results: Any) -> Any:
    """Everything a check says must survive JSON."""
    return msgspec.json.decode(msgspec.json.encode(list(results)))
