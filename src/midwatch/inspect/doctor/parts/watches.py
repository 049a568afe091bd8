"""How many inotify watches and instances each user has, counted in /proc/PID/fdinfo.

The kernel counts by user; what of a user may not be read is missing here, so a count is a lower bound. Must not judge.
Tests: tests/inspect/doctor/test_limits.py.
"""

from __future__ import annotations

from typing import NamedTuple

from midwatch.inspect.doctor.check import Context
from midwatch.inspect.doctor.parts import descriptors, naming
from midwatch.model.look import Offender


class Room(NamedTuple):
    """How much of one limit one user has used, and by whom."""

    what: str
    setting: str
    user: str
    used: int
    most: int
    names: str
    offenders: tuple[Offender, ...]


def counts(ctx: Context) -> dict[int, tuple[int, int]]:
    """pid -> (instances, watches)."""
    seen = descriptors.counted(ctx).by_pid
    return {pid: (one.inotify, one.watches) for pid, one in seen.items() if one.inotify}


def rooms(ctx: Context) -> list[Room]:
    """By user and limit."""
    procs = ctx.sources.table().procs
    by_user: dict[int, list[tuple[int, int, int]]] = {}
    for pid, (instances, watches) in counts(ctx).items():
        if pid in procs:
            by_user.setdefault(procs[pid].uid, []).append((pid, instances, watches))
    found = []
    for at, what, setting in (
        (1, "inotify instances", "fs.inotify.max_user_instances"),
        (2, "inotify watches", "fs.inotify.max_user_watches"),
    ):
        try:
            most = int(ctx.sources.sysctl(setting))
        except (OSError, ValueError):
            continue
        for uid, rows in by_user.items():
            top = sorted(rows, key=lambda row: -row[at])[:3]
            named = tuple(
                naming.offender(procs[row[0]], ctx.sources.now(), f"{row[at]:,} {what.split()[1]}")
                for row in top
            )
            used = sum(row[at] for row in rows)
            found.append(
                Room(what, setting, f"user {uid}", used, most, naming.some(one.name for one in named), named)
            )
    return found
