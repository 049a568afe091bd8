"""Who is that? One process described for a person, and processes looked for by marker or FIFO.

A manager is named on evidence only: the leaf of the process's cgroup, an ancestor near by, a living keeper of
another instance above it. That its parent is process 1 proves nothing. No environment value leaves this file but
the marker. Must not decide what is done about anybody. Tests: tests/machine/test_who.py.
"""

from __future__ import annotations

import os
import re

from midwatch.machine.linux import files, pidfd, procfs, sockets
from midwatch.machine.linux.cgroup import PREFIX
from midwatch.machine.ports import Holder
from midwatch.model.identity import ProcId

_COMMAND = 200  # characters
_NEAR = 3  # ancestors looked at for a manager
_FAR = 32  # ancestors looked at for a keeper
_ID = re.compile(r"([0-9a-f]{64})(?:\.scope)?$")
_ENGINES = (("docker", "docker"), ("libpod", "podman"), ("crio", "cri-o"), ("containerd", "containerd"))


def holder(pid: int, boot: str, keeper: int, instance: str) -> Holder | None:
    """See ports. `keeper` is ours, `instance` the name of our cgroups."""
    stat = pidfd.look(pid)
    if stat is None:
        return None
    groups = procfs.own_cgroups(files.read_or_none(f"/proc/{pid}/cgroup") or b"")
    unit, manager = _by_cgroup(groups, instance)
    marker = procfs.marker(files.read_or_none(f"/proc/{pid}/environ") or b"") or ""
    return Holder(
        ProcId(pid, stat.start, boot),
        command(pid),
        _age(stat.start),
        _user(pid),
        stat.ppid,
        printable(marker),
        unit,
        manager or _by_marker(marker, instance) or _by_ancestor(stat.ppid, keeper),
        stat.session,
    )


def command(pid: int) -> str:
    """The command line, or [name] where there is none; one printable line of at most 200 characters."""
    words = (files.read_or_none(f"/proc/{pid}/cmdline") or b"").rstrip(b"\0").replace(b"\0", b" ")
    text = words[: 4 * _COMMAND].decode("utf-8", "backslashreplace")
    if not text:
        name = procfs.comm(files.read_record(f"/proc/{pid}/stat") or b"")
        text = f"[{name}]" if name else ""
    return printable(text)


def printable(text: str, most: int = _COMMAND) -> str:
    """One line: control and other unprintable characters escaped, cut at `most`."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: most + 1])
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def _age(start: int) -> float:
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


def _by_cgroup(groups: dict[str, str], instance: str) -> tuple[str, str]:
    """(unit, manager) from the paths of a process's cgroups."""
    for path in dict.fromkeys(groups.values()):
        parts = [part for part in path.split("/") if part]
        for part in parts:
            if part.startswith(PREFIX) and part != instance:
                return part, f"midwatch of another home ({part})"
        for at in range(len(parts) - 1, -1, -1):
            unit = printable(parts[at])
            found = _ID.search(parts[at])
            if found:
                kind = next((name for hint, name in _ENGINES if hint in path), "")
                return found[1], f"{kind + ' ' if kind else ''}container {found[1][:12]}"
            if unit.endswith(".service") and not unit.startswith("user@"):
                return unit, f"systemd unit {unit}"
    return "", ""


def _by_marker(marker: str, instance: str) -> str:
    """Markers are paths of INSTANCE:RUN, the innermost last."""
    home = marker.rpartition("/")[2].partition(":")[0] if ":" in marker else ""
    return f"midwatch of another home ({printable(home)})" if home and PREFIX + home != instance else ""


def _by_ancestor(pid: int, keeper: int) -> str:
    """A manager among the parents: near ones by name, a keeper of another instance at any distance."""
    for distance in range(_FAR):
        if pid <= 1 or pid == keeper:
            return ""
        stat = pidfd.look(pid)
        if stat is None:
            return ""
        words = (files.read_or_none(f"/proc/{pid}/cmdline") or b"").split(b"\0")[:8]
        manager = _manager(words) if distance < _NEAR else ""
        if manager:
            return f"{manager} (pid {pid})"
        if any(word.endswith(b"/midwatch/keeper/__main__.py") for word in words):
            return f"midwatch of another home (keeper {pid})"
        pid = stat.ppid
    return ""


def _manager(words: list[bytes]) -> str:
    names = [os.path.basename(word) for word in words[:2]]
    if b"supervisord" in names:
        return "supervisord"
    if words and (words[0].startswith(b"PM2 v") or b"/pm2/" in b" ".join(words)):
        return "pm2"
    return next((name for name in ("circusd", "honcho", "runsv", "s6-supervise") if name.encode() in names), "")


def find(marker: str, fifos: tuple[str, ...], boot: str, ours: set[int]) -> list[ProcId]:
    """See ports."""
    paths = {os.path.realpath(path) for path in fifos}
    paths |= {f"{path} (deleted)" for path in paths}
    found: list[ProcId] = []
    for entry in os.listdir("/proc"):
        if entry[0] not in "123456789" or int(entry) in ours:
            continue
        pid = int(entry)
        if not (_bears(pid, marker) or (paths and not paths.isdisjoint(sockets.targets(pid) or ()))):
            continue
        stat = pidfd.look(pid)
        if stat is not None and not stat.dead:
            found.append(ProcId(pid, stat.start, boot))
    return sorted(found)


def _bears(pid: int, marker: str) -> bool:
    if not marker:
        return False
    data = files.read_or_none(f"/proc/{pid}/environ")
    borne = procfs.marker(data) if data else None
    return borne is not None and (borne == marker or borne.startswith(marker + "/"))
