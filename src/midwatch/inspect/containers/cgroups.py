"""What the kernel itself knows of a container that runs under it: use, limit, peak, kills, CPU, v1 and v2.

An engine's pid is believed only when that process's cgroup names the container: an engine in a VM names pids of
another kernel. Reads a handful of small files, no engine needed. Must not judge. Tests:
tests/inspect/containers/test_cgroups.py.
"""

from __future__ import annotations

from midwatch.inspect.containers.parse import NO_LIMIT
from midwatch.inspect.containers.values import Container, Usage
from midwatch.inspect.sources import Sources

_V1 = "/sys/fs/cgroup/memory"
_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")


def usage(sources: Sources, container: Container) -> Usage | None:
    """None: it does not run under this kernel, or its cgroup may not be read."""
    found = _paths(sources, container)
    if "memory" in found:
        return _v1(sources, found)
    for root in _ROOTS if "" in found else ():
        read = _v2(sources, root + found[""])
        if read is not None:
            return read
    return None


def _paths(sources: Sources, container: Container) -> dict[str, str]:
    """Controller -> path in its tree; "" is v2's. Empty unless the process is this container's."""
    if container.pid <= 0:
        return {}
    try:
        text = sources.read(f"/proc/{container.pid}/cgroup", 65536).decode("utf-8", "replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if container.id and container.id in path and ".." not in path:
            found.update(dict.fromkeys(names.split(","), path))
    return found


def _v1(sources: Sources, paths: dict[str, str]) -> Usage | None:
    folder = _V1 + paths["memory"]
    raw = _number(sources, f"{folder}/memory.usage_in_bytes")
    if raw is None:
        return None
    rows = _rows(sources, f"{folder}/memory.stat")
    drop = rows.get("total_inactive_file")
    limit = _number(sources, f"{folder}/memory.limit_in_bytes")
    spent = None
    for name in ("cpuacct", "cpu,cpuacct"):
        if spent is None and "cpuacct" in paths:
            spent = _number(sources, f"/sys/fs/cgroup/{name}{paths['cpuacct']}/cpuacct.usage")
    return Usage(
        used=max(0, raw - (drop or 0)),
        limit=None if limit is None or limit >= NO_LIMIT else limit,
        place="cgroup",
        exact=drop is not None,
        raw=raw,
        peak=_number(sources, f"{folder}/memory.max_usage_in_bytes"),
        ooms=_rows(sources, f"{folder}/memory.oom_control").get("oom_kill"),
        cpu=None if spent is None else spent / 1e9,
    )


def _v2(sources: Sources, folder: str) -> Usage | None:
    raw = _number(sources, f"{folder}/memory.current")
    if raw is None:
        return None
    drop = _rows(sources, f"{folder}/memory.stat").get("inactive_file")
    spent = _rows(sources, f"{folder}/cpu.stat").get("usage_usec")
    return Usage(
        used=max(0, raw - (drop or 0)),
        limit=_number(sources, f"{folder}/memory.max"),  # "max" is no number: unlimited
        place="cgroup",
        exact=drop is not None,
        raw=raw,
        peak=_number(sources, f"{folder}/memory.peak"),
        ooms=_rows(sources, f"{folder}/memory.events").get("oom_kill"),
        cpu=None if spent is None else spent / 1e6,
    )


def _number(sources: Sources, path: str) -> int | None:
    try:
        text = sources.read(path, 64).strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _rows(sources: Sources, path: str) -> dict[str, int]:
    try:
        text = sources.read(path, 65536).decode("ascii", "replace")
    except OSError:
        return {}
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
