"""Open descriptors of every process that may be read: how many, and those that run out for everybody.

Terminals (each holder of /dev/ptmx has one), inotify instances with their watches, and SQLite's -wal files. Bounded by
descriptors and by time; what could not be looked at is counted. Must not judge. Tests: tests/inspect/test_forecast.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import msgspec

from midwatch.inspect.sources import Sources
from midwatch.machine.linux import procfs
from midwatch.model.look import Proc
from midwatch.policy import defaults_inspect as figures

_PTMX = {"/dev/ptmx", "/dev/pts/ptmx"}
_MANY = 32  # descriptors from which on the limit is asked for


class Open(msgspec.Struct):
    """Of one process. `limit`: its soft limit; `watches` are at least so many when `more`."""

    count: int
    limit: int | None = None
    ptys: int = 0
    inotify: int = 0
    watches: int = 0
    more: bool = False
    top: tuple[tuple[str, int], ...] = ()  # where most of them point, of processes with many


class Scan(msgspec.Struct):
    """By pid; `wals`: path -> who has it open."""

    by_pid: dict[int, Open] = {}
    wals: dict[str, list[int]] = {}
    unread: int = 0
    cut: bool = False


def scan(sources: Sources, procs: Iterable[Proc], until: float) -> Scan:
    """`until`: monotonic; what is not looked at by then is missing, and `cut` says so."""
    if sources.platform == "darwin":
        from midwatch.inspect.sources import macopen

        return macopen.scan(sources, procs, until)
    found, left = Scan(), figures.LOOK_LINKS
    for proc in procs:
        if time.monotonic() > until or left <= 0:
            found.cut = True
            break
        try:
            names = sources.names(f"/proc/{proc.pid}/fd", 1_000_000)
        except PermissionError:
            found.unread += 1
            continue
        except OSError:
            continue
        seen = Open(len(names))
        found.by_pid[proc.pid] = seen
        if len(names) >= _MANY:
            seen.limit = _limit(sources, proc.pid)
        left -= _targets(sources, proc.pid, names[: min(left, figures.LOOK_OF_ONE)], seen, found)
    return found


def _limit(sources: Sources, pid: int) -> int | None:
    try:
        return procfs.open_files_limit(sources.read(f"/proc/{pid}/limits", 8192))
    except OSError:
        return None


def _targets(sources: Sources, pid: int, names: list[str], seen: Open, found: Scan) -> int:
    counted: Counter[str] = Counter()
    for name in names:
        try:
            target = sources.link(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("/"):
            file(target, pid, seen, found)
            counted[target.removesuffix(" (deleted)")] += 1
        else:
            kind = target.partition(":[")[0] if ":[" in target else target
            counted[kind] += 1
            if target.startswith("anon_inode:inotify") or target == "anon_inode:[inotify]":
                seen.inotify += 1
                _watches(sources, pid, name, seen)
    if len(names) >= _MANY:
        seen.top = tuple(counted.most_common(3))
    return len(names)


def file(target: str, pid: int, seen: Open, found: Scan) -> None:
    """Count a descriptor that points to a path."""
    if target in _PTMX:
        seen.ptys += 1
    elif target.removesuffix(" (deleted)").endswith("-wal"):
        holders = found.wals.setdefault(target, [])
        if pid not in holders:
            holders.append(pid)


def _watches(sources: Sources, pid: int, name: str, seen: Open) -> None:
    try:
        data = sources.read(f"/proc/{pid}/fdinfo/{name}", figures.LOOK_WATCHES)
    except OSError:
        return
    seen.watches += data.count(b"inotify wd:")
    seen.more = seen.more or len(data) >= figures.LOOK_WATCHES
