"""The scene around a run before it is stopped: its groups' files, its limits, the host at that moment; and, while it is
paused, what fills its memory and where its threads stand in the kernel.

`around` only reads, some 10-50 ms, and leaves out first what could be slow: the page walk of a big process. `paused` is
for a tree that stands still. Both are bounded by `until` (monotonic) and say in "missing" what there was no time or no
right for. No environment is read, no other process's command line. Must not interpret a number. Tests:
tests/machine/test_scene.py.
"""

from __future__ import annotations

import os
import time
from typing import Any

from midwatch.machine import naming
from midwatch.machine.linux import files, procfs

_GROUP_FILES = (
    "memory.current", "memory.peak", "memory.max", "memory.high", "memory.swap.current", "memory.swap.max",
    "memory.events", "memory.events.local", "memory.stat", "memory.pressure", "cpu.stat", "cpu.pressure", "io.pressure",
    "pids.current", "pids.max", "cgroup.events", "memory.usage_in_bytes", "memory.max_usage_in_bytes",
    "memory.limit_in_bytes", "memory.memsw.usage_in_bytes", "memory.failcnt", "memory.oom_control",
)  # fmt: skip
_MOST_TEXT = 4096  # characters of one group file
_WALK = 2 << 30  # bytes: a page walk of more takes longer than anybody wants to wait (8 ms a GiB)
_TOP = 10  # of the host's processes
_MAPS = 20  # of one process
_THREADS = 64  # of all, whose kernel stacks are read
_PROCESSES = 8
_FRAMES = 16
_PAGE = os.sysconf("SC_PAGE_SIZE")


def around(pids: list[int], groups: tuple[str, ...], until: float) -> dict[str, Any]:
    """Reads only. `pids` in order of importance, `groups` the run's own."""
    missing: list[str] = []
    told: dict[str, Any] = {"cgroup": {}, "host": _host(), "missing": missing}
    for directory in groups:
        told["cgroup"][directory] = _group(directory)
    if pids:
        told["limits"] = _limits(pids[0])
        told["rollup"] = {}
    for pid in pids[:_PROCESSES]:
        if time.monotonic() > until:
            missing.append(f"shared memory of {pid} and more: out of time")
            break
        resident = _resident(pid)
        if resident is None:
            continue
        if resident > _WALK:
            missing.append(f"shared memory of {pid}: too big for a page walk")
        elif data := files.read_record(f"/proc/{pid}/smaps_rollup"):
            told["rollup"][str(pid)] = _kilobytes(data)
    if time.monotonic() < until:
        told["host"]["largest"] = _largest(until, missing)
    else:
        missing.append("the host's largest processes: out of time")
    return told


def paused(pids: list[int], until: float) -> dict[str, Any]:
    """For a tree that stands still: the largest mappings, and the kernel's stack of each thread where we may."""
    missing: list[str] = []
    told: dict[str, Any] = {"maps": {}, "stacks": {}, "missing": missing}
    for pid in pids[:_PROCESSES]:
        if time.monotonic() > until:
            missing.append(f"mappings of {pid} and more: out of time")
            break
        data = files.read_or_none(f"/proc/{pid}/maps")
        if data:
            told["maps"][str(pid)] = mappings(data)
        else:
            missing.append(f"mappings of {pid}: not readable")
    if os.geteuid():
        missing.append("kernel stacks: only root may read them")
        return told
    left = _THREADS
    for pid in pids[:_PROCESSES]:
        for name in _threads(pid)[:left]:
            if time.monotonic() > until:
                missing.append(f"kernel stacks of {pid} and more: out of time")
                return told
            left -= 1
            stack = (files.read_or_none(f"/proc/{pid}/task/{name}/stack") or b"").decode("ascii", "replace")
            frames = [line.partition("] ")[2] or line for line in stack.splitlines()[:_FRAMES]]
            if frames:
                told["stacks"][f"{pid}/{name}"] = frames
    return told


def mappings(data: bytes) -> list[dict[str, Any]]:
    """The largest mappings of one process: size, rights and what is mapped, several of one file taken together."""
    sizes: dict[tuple[str, str], tuple[int, int]] = {}
    for line in data.decode("utf-8", "backslashreplace").splitlines():
        words = line.split(None, 5)
        low, _, high = words[0].partition("-") if len(words) >= 5 else ("", "", "")
        try:
            size = int(high, 16) - int(low, 16)
        except ValueError:
            continue
        key = (words[5] if len(words) > 5 else "", words[1])
        total, count = sizes.get(key, (0, 0))
        sizes[key] = (total + size, count + 1)
    top = sorted(sizes.items(), key=lambda item: (-item[1][0], item[0]))[:_MAPS]
    return [
        {"bytes": total, "count": count, "rights": rights, "what": naming.printable(what, 200) or "anonymous"}
        for (what, rights), (total, count) in top
    ]


def _group(directory: str) -> dict[str, str]:
    told = {}
    for name in _GROUP_FILES:
        data = files.read_record(f"{directory}/{name}")
        if data is not None:
            told[name] = data.decode("ascii", "replace").strip()[:_MOST_TEXT]
    return told


def _limits(pid: int) -> list[str]:
    text = (files.read_or_none(f"/proc/{pid}/limits") or b"").decode("ascii", "replace")
    return [" ".join(line.split()) for line in text.splitlines()[1:]]


def _kilobytes(data: bytes) -> dict[str, int]:
    """The "Name: N kB" lines of a kernel file, in bytes."""
    told = {}
    for line in data.decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB" and words[1].isdigit():
            told[words[0].rstrip(":")] = int(words[1]) * 1024
    return told


def _host() -> dict[str, Any]:
    memory = _kilobytes(files.read_or_none("/proc/meminfo") or b"")
    names = ("MemTotal", "MemAvailable", "MemFree", "SwapTotal", "SwapFree", "AnonPages", "Shmem", "Dirty", "Slab")
    told: dict[str, Any] = {"memory": {name: memory[name] for name in names if name in memory}}
    told["load"] = (files.read_record("/proc/loadavg") or b"").decode("ascii", "replace").strip()
    told["pressure"] = {
        name: data.decode("ascii", "replace").splitlines()
        for name in ("cpu", "memory", "io")
        if (data := files.read_record(f"/proc/pressure/{name}"))
    }
    return told


def _largest(until: float, missing: list[str]) -> list[dict[str, Any]]:
    """The host's processes by resident size: cheap, and only to see who else is big."""
    found: list[tuple[int, int]] = []
    for name in os.listdir("/proc"):
        if name[0] in "123456789":
            found.append((_resident(int(name)) or 0, int(name)))
            if time.monotonic() > until:
                missing.append("some of the host's processes: out of time")
                break
    return [
        {"pid": pid, "resident_bytes": size, "name": naming.printable(procfs.comm(data))}
        for size, pid in sorted(found, reverse=True)[:_TOP]
        if size and (data := files.read_record(f"/proc/{pid}/stat"))
    ]


def _resident(pid: int) -> int | None:
    words = (files.read_record(f"/proc/{pid}/statm") or b"").split()
    return int(words[1]) * _PAGE if len(words) > 1 else None


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
