"""Which memory and how many processes this machine really gives us: a container's or unit's limit, else all of it.

A container shows the host's figures in /proc/meminfo; its own limit is in the cgroup (v2 memory.max, v1
memory.limit_in_bytes), and the smallest of it and every group above counts. Must not judge.
Tests: tests/inspect/doctor/test_pressure.py.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from midwatch.inspect.sources import Sources

_ROOT = "/sys/fs/cgroup"


class Limit(NamedTuple):
    """The smallest memory limit: its bytes, what is in use of it (what can be taken back left out), and its file."""

    limit: int
    used: int
    path: str


def meminfo(sources: Sources) -> dict[str, int]:
    """/proc/meminfo in bytes. Raises OSError."""
    found: dict[str, int] = {}
    for line in sources.read("/proc/meminfo").decode("ascii", "replace").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (1024 if words[-1] == "kB" else 1)
    return found


def smallest(sources: Sources, below: int) -> Limit | None:
    """The tightest limit that is smaller than `below`; None when nothing limits us."""
    found = [
        one for folder, two in groups(sources, "memory") if (one := _memory(sources, folder, two)) is not None
    ]
    found = [one for one in found if one.limit < below]
    return min(found, default=None)


def groups(sources: Sources, controller: str) -> Iterator[tuple[str, bool]]:
    """(folder, is version 2) of our own cgroup and of those above it."""
    try:
        text = sources.read("/proc/self/cgroup", 65536).decode("utf-8", "replace")
    except OSError:
        return
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        two = number == "0" and not controllers
        if not two and controller not in controllers.split(","):
            continue
        base = _ROOT if two else f"{_ROOT}/{controller}"
        path = path.strip()
        while True:
            yield posixpath.normpath(base + path), two
            if path in ("", "/"):
                break
            path = posixpath.dirname(path)


def _memory(sources: Sources, folder: str, two: bool) -> Limit | None:
    names = ("memory.max", "memory.current") if two else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    limit, used = (number(sources, f"{folder}/{name}") for name in names)
    if limit is None or used is None:
        return None
    cold = _stat(sources, f"{folder}/memory.stat", "inactive_file" if two else "total_inactive_file")
    return Limit(limit, max(0, used - cold), f"{folder}/{names[0]}")


def number(sources: Sources, path: str) -> int | None:
    """A file with one number; None for "max" and where it cannot be read."""
    try:
        text = sources.read(path, 64).decode("ascii", "replace").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _stat(sources: Sources, path: str, key: str) -> int:
    try:
        text = sources.read(path, 65536).decode("ascii", "replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.split()[:1] == [key]), 0)
