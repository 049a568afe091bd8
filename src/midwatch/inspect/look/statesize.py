"""How much agents keep on the disk: state and temporary folders that the packs name, walked within bounds.

Links are not followed and nothing is opened. Where files or time run out the size is "at least". Must not judge what
may be removed. Tests: tests/inspect/test_statesize.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import msgspec

from midwatch.inspect.agents import Packs
from midwatch.inspect.look.forecast import Level, State
from midwatch.inspect.sources import Sources
from midwatch.policy import defaults_inspect as figures

_DEEP = 12


class Folder(msgspec.Struct, frozen=True):
    """One folder of one agent. `largest`: path and bytes of its largest file."""

    agent: str
    path: str
    size: int
    files: int
    whole: bool
    largest: tuple[str, int] = ("", 0)


def folders(sources: Sources, packs: Packs, until: float) -> list[Folder]:
    """Those that exist, largest first. `until`: monotonic."""
    left = figures.LOOK_FOLDERS
    found = []
    for agent, path in named(sources, packs):
        size = files = 0
        largest = ("", 0)
        whole = True
        for inner, count in _walk(sources, path, _DEEP):
            files += 1
            size += count
            largest = max(largest, (inner, count), key=lambda pair: pair[1])
            if files >= left or (files % 64 == 0 and time.monotonic() > until):
                whole = False
                break
        left -= files
        if files:
            found.append(Folder(agent, path, size, files, whole, largest))
        if left <= 0 or (files and time.monotonic() > until):
            break
    return sorted(found, key=lambda one: -one.size)


def named(sources: Sources, packs: Packs) -> list[tuple[str, str]]:
    """(agent, folder) of all packs, with the user's home and number filled in; temporary ones first: they grow."""
    rows: dict[str, str] = {}
    for kind in ("temporary", "folders"):
        for pack in packs.all.values():
            for text in getattr(pack.state, kind):
                path = text.replace("{uid}", str(sources.uid))
                path = sources.home + path[1:] if path.startswith("~") else path
                rows.setdefault(path, pack.title)
    return [(title, path) for path, title in rows.items()]


def _walk(sources: Sources, path: str, deep: int) -> Iterator[tuple[str, int]]:
    """Every file below, with its size."""
    try:
        names = sources.names(path, figures.LOOK_FOLDERS)
    except PermissionError:
        return
    except OSError:  # no folder
        try:
            yield path, sources.size(path)[0]
        except OSError:
            pass
        return
    for name in names if deep > 0 else ():
        inner = f"{path}/{name}"
        try:
            sources.link(inner)  # what a link points to is counted where it lies
        except OSError:
            yield from _walk(sources, inner, deep - 1)


def levels(sources: Sources, found: Iterable[Folder]) -> list[Level]:
    """Those that are large, or that can be seen growing: the limit is what the disk still has."""
    rows = []
    for folder in found:
        try:
            free = sources.space(folder.path)[1]
        except OSError:
            continue
        path, size = folder.largest
        words = f"of {folder.agent}, most of it one file ({path.rsplit('/', 1)[-1]})"
        detail = words if size > folder.size // 2 else f"of {folder.agent}, {folder.files:,} files"
        rows.append(
            Level(f"folder:{folder.path}", "folder", folder.path, folder.size, float(folder.size + free), "bytes",
                  detail=detail, at_least=not folder.whole, shares=(2.0, 2.0),
                  least=figures.STATE_RISE, floor=large(folder.size))
        )  # fmt: skip
    return rows


def large(size: int) -> State:
    """Is it remarkable by itself?"""
    warn, danger = figures.STATE_LARGE
    return "danger" if size >= danger else "warn" if size >= warn else "calm"
