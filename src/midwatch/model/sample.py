"""A measured number with its quality, and what one look at a tree or at the host has found.

"Absent" is never 0: a field is None, and a `Reading` says why. Sizes are bytes, times awake seconds, shares per cent.
Serialisable, because the ring on disk, the journal and the replay files of guards are made of them. Must not know how a
number is obtained (machine/) nor what it means (policy/guard/, policy/leaks/).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Quality = Literal["exact", "approximate", "upper-bound", "absent"]


class Reading(msgspec.Struct, frozen=True):
    """A measured number with its quality. `value` is None exactly when `quality` is "absent"."""

    value: int | None
    quality: Quality
    why: str = ""


class TreeSample(msgspec.Struct, frozen=True, omit_defaults=True):
    """One look at a run's tree. `held`: what the machine gets back, or must page, because of it.

    `pss`: the same confirmed by a page walk, only when that was asked for. `cgroup_bytes`: anon + shmem + swap +
    unreclaimable kernel of the run's own memory cgroup. `peak_bytes`: of that cgroup since the last look. `largest`:
    pid and held bytes. Descriptors are the main process's, everything else is the tree's.
    """

    at: float
    held: Reading
    members: int
    pss: int | None = None
    swap_bytes: int | None = None
    largest: tuple[int, int] | None = None
    fds: int | None = None
    fd_limit: int | None = None  # soft limit
    threads: int | None = None
    cpu_s: float | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    cgroup_bytes: int | None = None
    peak_bytes: int | None = None


class HostSample(msgspec.Struct, frozen=True, omit_defaults=True):
    """One look at the machine, or at the container that is all we see of it (`world`).

    `available_bytes`, `limit_bytes`: of that world; `limit_source` says in words where the limit comes from. `some`,
    `full`: pressure stall of the last 10 s. None: not readable here.
    """

    at: float
    total_bytes: int | None
    available_bytes: int | None
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None
    some: float | None = None
    full: float | None = None
    world: Literal["host", "container"] = "host"
    limit_bytes: int | None = None
    limit_source: str = ""
    limit_used_bytes: int | None = None  # of a limit that is a cgroup's: what reclaim cannot give back in it
    level: int | None = None  # macOS says only this about pressure: 1 normal, 2 warning, 4 critical
