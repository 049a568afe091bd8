"""Who listens, who is that, who bears a marker: libproc's answers put together.

A process of another user is simply not there for us unless we are root: what cannot be seen is missing, never
guessed. Has not run on a Mac; tests/machine/test_macos.py runs it on packed layouts.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any

from midwatch.machine import naming
from midwatch.machine.macos import structs
from midwatch.machine.macos.libproc import Libproc
from midwatch.machine.ports import Holder, Listener
from midwatch.machine.procs import Stat
from midwatch.model.identity import ProcId

_MOST = 32  # processes looked at closely
_UNSEEN = "threads, system calls and the targets of descriptors: not read on macOS"


def listening(lib: Libproc, pids: Iterable[int]) -> Iterator[tuple[int, int, structs.Listening]]:
    """(pid, fd, socket) of every TCP socket in LISTEN that these processes hold."""
    for pid in pids:
        for fd, kind in structs.descriptors(lib.descriptors(pid) or b""):
            found = structs.listening(lib.socket(pid, fd) or b"") if kind == structs.FDTYPE_SOCKET else None
            if found is not None:
                yield pid, fd, found


def listeners(lib: Libproc, port: int, owners: bool) -> list[Listener]:
    """See ports. A socket that several processes share is one: the kernel's address of it stands for the inode."""
    found: dict[int, Listener] = {}
    for pid, _, row in listening(lib, lib.pids()):
        if row.port != port:
            continue
        four = len(row.address) == 4
        address = socket.inet_ntop(socket.AF_INET if four else socket.AF_INET6, row.address)
        known = found.get(row.pcb)
        pids = {*(known.pids if known else ()), pid} if owners else set()
        owner = known.uid if known else structs.uid(lib.bsdinfo(pid) or b"")
        owner = -1 if owner is None else owner
        family: Any = "inet" if four else "inet6"
        held = tuple(sorted(pids))
        found[row.pcb] = Listener(address, port, family, row.pcb, owner, row.waiting, row.backlog, held)
    return list(found.values())


def holder(lib: Libproc, stat: Stat | None, boot: str, keeper: int, instance: str) -> Holder | None:
    """See ports. launchd names no job here: only ancestors and the marker are evidence."""
    if stat is None:
        return None
    arguments = lib.arguments(stat.pid) or b""
    info = lib.bsdinfo(stat.pid) or b""
    marker = structs.marker(arguments) or ""
    return Holder(
        ProcId(stat.pid, stat.start, boot),
        naming.command(b"\0".join(structs.arguments(arguments)), structs.name(info)),
        max(0.0, time.time() - stat.start / 1e6),
        _user(structs.uid(info)),
        stat.ppid,
        naming.printable(marker, naming.MARKER),
        "",
        naming.home(marker, instance) or _by_ancestor(lib, stat.ppid, keeper),
        stat.session,
    )


def _user(uid: int | None) -> str:
    if uid is None:
        return ""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _by_ancestor(lib: Libproc, pid: int, keeper: int) -> str:
    for distance in range(naming.FAR):
        info = lib.bsdinfo(pid) if pid > 1 and pid != keeper else None
        stat = structs.bsdinfo(info) if info else None
        if stat is None:
            return ""
        words = structs.arguments(lib.arguments(pid) or b"")
        manager = naming.manager(words) if distance < naming.NEAR else ""
        if manager:
            return f"{manager} (pid {pid})"
        if naming.is_keeper(words):
            return f"midwatch of another home (keeper {pid})"
        pid = stat.ppid
    return ""


def find(lib: Libproc, marker: str, fifos: tuple[str, ...], ours: set[int]) -> list[int]:
    """See ports."""
    paths = {os.path.realpath(path) for path in fifos}
    others = [pid for pid in lib.pids() if pid not in ours]
    return sorted(pid for pid in others if _bears(lib, pid, marker) or _holds(lib, pid, paths))


def _bears(lib: Libproc, pid: int, marker: str) -> bool:
    borne = structs.marker(lib.arguments(pid) or b"") if marker else None
    return borne is not None and marker in naming.outer(borne)


def _holds(lib: Libproc, pid: int, paths: set[str]) -> bool:
    if not paths:
        return False
    opened = structs.descriptors(lib.descriptors(pid) or b"")
    return any(kind == 1 and structs.path(lib.vnode_path(pid, fd) or b"") in paths for fd, kind in opened)


def inspect(lib: Libproc, pids: list[int], seconds: float) -> dict[str, Any]:
    """State, memory, descriptors by type and listening sockets of each process."""
    until = time.monotonic() + seconds
    answer: dict[str, Any] = {"processes": [], "missing": [_UNSEEN]}
    if len(pids) > _MOST:
        answer["missing"].append(f"{len(pids) - _MOST} more processes")
    for pid in pids[:_MOST]:
        if time.monotonic() > until:
            answer["missing"].append(f"everything of {pid}: out of time")
            break
        facts = _facts(lib, pid)
        if facts is None:
            answer["missing"].append(f"{pid}: gone, or not ours to look at")
        else:
            answer["processes"].append(facts)
    return answer


def _facts(lib: Libproc, pid: int) -> dict[str, Any] | None:
    info = lib.bsdinfo(pid)
    stat = structs.bsdinfo(info) if info else None
    if stat is None:
        return None
    words = naming.command(b"\0".join(structs.arguments(lib.arguments(pid) or b"")), structs.name(info or b""))
    facts: dict[str, Any] = {"pid": pid, "start": stat.start, "ppid": stat.ppid, "command": words, "state": stat.state}
    memory = structs.footprint(lib.rusage(pid) or b"")
    if memory:
        facts["held_bytes"], facts["held_quality"] = memory.now, "exact"
    data = lib.descriptors(pid)
    if data is not None:
        kinds: dict[str, int] = {}
        for _, kind in structs.descriptors(data):
            kinds[structs.KINDS.get(kind, "other")] = kinds.get(structs.KINDS.get(kind, "other"), 0) + 1
        facts["fds"] = {"count": sum(kinds.values()), "kinds": kinds}
    facts["sockets"] = [
        {"fd": fd, "kind": "tcp listen", "local": f":{row.port}", "receive": row.waiting}
        for _, fd, row in listening(lib, [pid])
    ]
    return facts
