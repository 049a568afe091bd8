"""Who is that? One process described for a person, and processes looked for by marker or FIFO.

A manager is named on evidence only: the leaf of the process's cgroup, an ancestor near by, a living keeper of
another instance above it. That its parent is process 1 proves nothing. No environment value leaves this file but
the marker. Must not decide what is done about anybody. Tests: tests/machine/test_who.py.
"""

from __future__ import annotations

import os
import re

from midwatch.machine import naming
from midwatch.machine.linux import files, pidfd, procfs, sockets
from midwatch.machine.linux.cgroup import PREFIX
from midwatch.machine.ports import Holder
from midwatch.model.identity import ProcId

_ID = re.compile(r"([0-9a-f]{64})(?:\.scope)?$")
_ENGINES = (("docker", "docker"), ("libpod", "podman"), ("crio", "cri-o"), ("containerd", "containerd"))


def holder(pid: int, boot: str, keeper: int, instance: str, group: str) -> Holder | None:
    """See ports. `keeper`, `instance` and the cgroup name `group` are ours."""
    stat = pidfd.look(pid)
    if stat is None:
        return None
    groups = procfs.own_cgroups(files.read_or_none(f"/proc/{pid}/cgroup") or b"")
    unit, manager = _by_cgroup(groups, group)
    marker = procfs.marker(files.read_or_none(f"/proc/{pid}/environ") or b"") or ""
    return Holder(
        ProcId(pid, stat.start, boot),
        command(pid),
        age(stat.start),
        _user(pid),
        stat.ppid,
        naming.printable(marker, naming.MARKER),
        unit,
        manager or naming.home(marker, instance) or _by_ancestor(stat.ppid, keeper),
        stat.session,
    )


def command(pid: int) -> str:
    """One printable line, [name] for a kernel thread."""
    words = files.read_or_none(f"/proc/{pid}/cmdline") or b""
    return naming.command(words, "" if words else procfs.comm(files.read_record(f"/proc/{pid}/stat") or b""))


def age(start: int) -> float:
    """Seconds since a start time, sleep of the machine included."""
    uptime = (files.read_record("/proc/uptime") or b"").split()
    if not uptime:
        return 0.0
    return max(0.0, float(uptime[0]) - start / os.sysconf("SC_CLK_TCK"))


def _user(pid: int) -> str:
    status = files.read_or_none(f"/proc/{pid}/status") or b""
    at = status.find(b"\nUid:")
    words = status[at + 5 : status.find(b"\n", at + 1)].split() if at >= 0 else []
    if len(words) < 2:
        return ""
    import pwd

    try:
        return pwd.getpwuid(int(words[1])).pw_name
    except KeyError:
        return words[1].decode()


def _by_cgroup(groups: dict[str, str], group: str) -> tuple[str, str]:
    """(unit, manager) from the paths of a process's cgroups."""
    for path in dict.fromkeys(groups.values()):
        parts = path.split("/")
        if group in parts:
            return "", ""  # one of our runs
        other = next((part for part in parts if part.startswith(PREFIX)), "")
        if other:
            return "", f"midwatch of another home ({naming.printable(other.removeprefix(PREFIX))})"
        unit, manager = _unit(path, parts)
        if unit:
            ours = procfs.own_cgroups(files.read_or_none("/proc/self/cgroup") or b"").values()
            shared = any(_unit(own, own.split("/"))[0] == unit for own in ours)
            return unit, "" if shared else manager  # what holds us too manages neither
    return "", ""


def _unit(path: str, parts: list[str]) -> tuple[str, str]:
    for part in reversed(parts):
        found = _ID.search(part)
        if found:
            kind = next((name + " " for hint, name in _ENGINES if hint in path), "")
            return found[1], f"{kind}container {found[1][:12]}"
        if part.endswith(".service") and not part.startswith("user@"):
            unit = naming.printable(part)
            return unit, f"systemd unit {unit}"
    return "", ""


def _by_ancestor(pid: int, keeper: int) -> str:
    """A manager among the parents: near ones by name, a keeper of another instance at any distance."""
    for distance in range(naming.FAR):
        if pid <= 1 or pid == keeper:
            return ""
        stat = pidfd.look(pid)
        if stat is None:
            return ""
        words = (files.read_or_none(f"/proc/{pid}/cmdline") or b"").split(b"\0")[:8]
        manager = naming.manager(words) if distance < naming.NEAR else ""
        if manager:
            return f"{manager} (pid {pid})"
        if naming.is_keeper(words):
            return f"midwatch of another home (keeper {pid})"
        pid = stat.ppid
    return ""


def find(wanted: dict[str, tuple[str, ...]], boot: str, ours: set[int]) -> dict[str, list[ProcId]]:
    """See ports.find_all. One walk, however many are wanted."""
    by_path: dict[str, list[str]] = {}
    for marker, fifos in wanted.items():
        for path in {os.path.realpath(path) for path in fifos}:
            by_path.setdefault(path, []).append(marker)
            by_path.setdefault(f"{path} (deleted)", []).append(marker)
    found: dict[str, list[ProcId]] = {marker: [] for marker in wanted}
    for entry in os.listdir("/proc"):
        if entry[0] not in "123456789" or int(entry) in ours:
            continue
        whose = _whose(int(entry), wanted, by_path)
        stat = pidfd.look(int(entry)) if whose else None
        if stat is not None and not stat.dead:
            for marker in whose:
                found[marker].append(ProcId(stat.pid, stat.start, boot))
    return {marker: sorted(procs) for marker, procs in found.items()}


def _whose(pid: int, wanted: dict[str, tuple[str, ...]], by_path: dict[str, list[str]]) -> set[str]:
    """The wanted markers that this process bears (whole, or as the outer part), or whose FIFO it holds open."""
    data = files.read_or_none(f"/proc/{pid}/environ")
    borne = procfs.marker(data) if data else None
    whose = naming.outer(borne).intersection(wanted) if borne else set()
    if by_path:
        for target in by_path.keys() & (sockets.targets(pid) or ()):
            whose.update(by_path[target])
    return whose
