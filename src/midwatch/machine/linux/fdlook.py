"""A look at the descriptors of a run's main process, for the leak watch: what is open how often, what has gone wrong.

Half-closed sockets, deleted files that still take space, pipes whose other end nobody has, and what children have
inherited. One walk over the process, and over everybody's only when it has many pipes; within a time, in a worker
thread. Must not judge a number. Tests: tests/machine/test_fdlook.py.
"""

from __future__ import annotations

import os
import time
from collections import Counter

from midwatch.machine.linux import fds
from midwatch.machine.linux.fds import Fd, Sockets
from midwatch.model.finding import FdSnapshot

SECONDS = 1.0
_PIPES = 16  # from so many lonely pipes on it is worth asking everybody
_CHILDREN = 16
_INHERITED = 64
_TARGETS = 512  # (target, kind) pairs kept, the most frequent first
_STANDARD = 3  # descriptors 0 to 2 are meant to be inherited
_GONE = " (deleted)"


def look(pid: int, children: list[int], now: float, seconds: float = SECONDS) -> FdSnapshot | None:
    """None: it is gone, or may not be looked at."""
    until = time.monotonic() + seconds
    sockets = Sockets()
    table = fds.table(pid, sockets, until)
    if table is None:
        return None
    targets = table.targets()
    kept = tuple(targets[:_TARGETS])
    rest = Counter[str]()
    for _, kind, count in targets[_TARGETS:]:
        rest[kind] += count
    half = {
        int(fd.target[8:-1]): (fd.socket.local, fd.socket.peer)
        for fd in table.fds
        if fd.kind == "tcp close-wait" and fd.socket is not None
    }
    return FdSnapshot(
        at=now,
        targets=(*kept, *(("(others)", kind, count) for kind, count in sorted(rest.items()))),
        half_closed=half,
        deleted_bytes=_deleted(pid, table.fds),
        deleted_databases=tuple(sorted({fd.db for fd in table.fds if fd.kind == "deleted file" and fd.db})),
        orphan_pipes=_orphans(pid, table.fds, until),
        inherited=_inherited(table.fds, children, until),
    )


def _deleted(pid: int, table: list[Fd]) -> int | None:
    """Bytes on disk that deleted files still take; each file once."""
    seen: dict[tuple[int, int], int] = {}
    gone = [fd for fd in table if fd.kind == "deleted file" and not fd.target.startswith("/memfd:")]
    for fd in gone:
        try:
            found = os.stat(f"/proc/{pid}/fd/{fd.fd}")
        except OSError:
            continue
        seen[(found.st_dev, found.st_ino)] = found.st_blocks * 512
    return sum(seen.values())


def _orphans(pid: int, table: list[Fd], until: float) -> int:
    """Pipes of which this process has one end and nobody, as far as can be seen, the other."""
    ends = Counter(fd.target for fd in table if fd.kind == "pipe" and fd.target.startswith("pipe:"))
    lonely = {target for target, count in ends.items() if count == 1}
    if len(lonely) < _PIPES:
        return 0
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return 0
    for other in pids:
        if other == pid:
            continue
        if time.monotonic() > until or not lonely:
            return 0  # not everybody was asked: nothing is known
        lonely.difference_update(target for _, target in _links(other))
    return len(lonely)


def _inherited(table: list[Fd], children: list[int], until: float) -> tuple[tuple[str, str], ...]:
    """(child, socket or pipe of ours) that it has beyond its standard streams."""
    ours = {fd.target: fd for fd in table if fd.target.startswith(("socket:", "pipe:"))}
    found: list[tuple[str, str]] = []
    for child in children[:_CHILDREN]:
        if time.monotonic() > until:
            break
        names = [target for number, target in _links(child) if number >= _STANDARD and target in ours]
        found += [(f"pid {child}", _shown(ours[target])) for target in dict.fromkeys(names)]
    return tuple(found[:_INHERITED])


def _shown(fd: Fd) -> str:
    return fd.target if fd.socket is None else f"{fd.kind} {fd.socket.local} {fd.socket.peer}".strip()


def _links(pid: int) -> list[tuple[int, str]]:
    folder = f"/proc/{pid}/fd"
    found: list[tuple[int, str]] = []
    try:
        names = os.listdir(folder)
    except OSError:
        return found
    for name in names:
        try:
            found.append((int(name), os.readlink(f"{folder}/{name}")))
        except OSError:
            continue
    return found
