"""The levels of the machine as a whole: processes and threads, and the room on its disks.

Must not judge (forecast.py). Tests: tests/inspect/test_forecast.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from midwatch.inspect.look.forecast import Level, State
from midwatch.inspect.sources import Sources, Table
from midwatch.policy import defaults_inspect as figures

_GROUPS = 200  # cgroups whose limit of processes is looked at


def levels(sources: Sources, table: Table, paths: Iterable[str]) -> list[Level]:
    """All of them."""
    return [*threads(sources, table), *groups(sources, table), *disks(sources, paths)]


def threads(sources: Sources, table: Table) -> list[Level]:
    """Every thread takes a number; the machine's limit is the smaller of two settings, on a Mac the processes'."""
    if sources.platform == "darwin":
        most = _setting(sources, "kern.maxproc")
        return [Level("pids", "pids", "processes", len(table.procs), most, "processes")] if most else []
    names = ("kernel.pid_max", "kernel.threads-max")
    limits = [limit for name in names if (limit := _setting(sources, name)) is not None]
    try:
        used = float(sources.read("/proc/loadavg", 256).split()[3].partition(b"/")[2])
    except (OSError, ValueError, IndexError):
        used = float(sum(proc.threads or 1 for proc in table.procs.values()))
    found = [Level("pids", "pids", "processes and threads", used, min(limits), "threads")] if limits else []
    return found + _own(sources, table)


def _own(sources: Sources, table: Table) -> list[Level]:
    """Our own user's limit (ulimit -u); root has none that counts."""
    if sources.uid == 0:
        return []
    try:
        text = sources.read("/proc/self/limits", 8192).decode("ascii", "replace")
    except OSError:
        return []
    words = next((line[13:].split() for line in text.splitlines() if line.startswith("Max processes")), [])
    if not words or not words[0].isdigit():
        return []
    used = sum(proc.threads or 1 for proc in table.procs.values() if proc.uid == sources.uid)
    return [Level(f"nproc:{sources.uid}", "pids", "processes of your user", used, float(words[0]), "threads")]


def groups(sources: Sources, table: Table) -> list[Level]:
    """cgroups with a limit of processes (systemd's TasksMax, a container's --pids-limit)."""
    found = []
    for path in sorted({proc.cgroup for proc in table.procs.values() if proc.cgroup})[:_GROUPS]:
        for base in ("/sys/fs/cgroup", "/sys/fs/cgroup/pids"):
            used, most = (_number(sources, f"{base}{path}/pids.{name}") for name in ("current", "max"))
            if used is not None and most:
                name = path.rsplit("/", 1)[-1]
                found.append(Level(f"pids:{path}", "pids", f"processes of {name}", used, most, "threads"))
                break
    return found


def disks(sources: Sources, paths: Iterable[str]) -> list[Level]:
    """Each file system once, under the first path that lies on it; read-only images are full by design."""
    found: list[Level] = []
    seen: set[tuple[int, int, int, int]] = set()
    for path in paths:
        try:
            total, free, inodes, left = sources.space(path)
        except OSError:
            continue
        if total <= 0 or (total, free, inodes, left) in seen or (free == 0 and left == 0):
            continue
        seen.add((total, free, inodes, left))
        found.append(
            Level(f"disk:{path}", "disk", path, float(total - free), float(total), "bytes", shares=(2.0, 2.0),
                  floor=disk_state(total, free))
        )  # fmt: skip
        if inodes > 0:
            low = [1.0 - share for share in figures.DISK_SHARE]
            used = float(inodes - left)
            found.append(
                Level(
                    f"inodes:{path}", "inodes", path, used, float(inodes), "inodes", shares=(low[0], low[1])
                )
            )
    return found


def disk_state(total: int, free: int) -> State:
    """DOC-17's lines, so that look and doctor say the same."""
    share, left = figures.DISK_SHARE, figures.DISK_LEFT
    if free < max(share[1] * total, min(left[1], total / 20)):
        return "danger"
    return "warn" if free < max(share[0] * total, min(left[0], total / 4)) else "calm"


def places(sources: Sources, more: Iterable[str]) -> list[str]:
    """Where programs write: the root, the home, temporary folders, and what the caller names."""
    temporary = ["/tmp", "/private/tmp"] if sources.platform == "darwin" else ["/tmp", "/var/tmp", "/dev/shm"]
    found = ["/", sources.home, *temporary, "/var", *more]
    return list(dict.fromkeys(os.path.normpath(path) for path in found if path.startswith("/")))


def _setting(sources: Sources, name: str) -> float | None:
    try:
        return float(sources.sysctl(name))
    except (OSError, ValueError):
        return None


def _number(sources: Sources, path: str) -> float | None:
    try:
        text = sources.read(path, 64).strip()
    except OSError:
        return None
    return float(text) if text.isdigit() else None
