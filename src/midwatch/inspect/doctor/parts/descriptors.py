"""What processes have open, and which locks they hold: one walk through /proc for all checks of a run.

Only Linux tells it without a tool; whose descriptors may not be read is counted, never taken for none. Must not judge.
Tests: tests/inspect/doctor/test_locks.py, test_wal.py.
"""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from midwatch.inspect.doctor.check import Context, Missing
from midwatch.inspect.sources import descriptors as opened
from midwatch.policy import defaults_inspect as figures

_LOCK = re.compile(r"^lock:\s+\d+: (\w+)\s+\w+\s+(\w+)\s+(-?\d+) ", re.MULTILINE)


class Held(NamedTuple):
    """One lock on one descriptor. `owner`: the pid that took it, as the kernel wrote down; -1 for open file locks."""

    pid: int
    fd: str
    kind: str  # FLOCK | POSIX | OFDLCK
    owner: int


class Scan(NamedTuple):
    """Of each readable process: descriptor -> target. `closed`: how many could not be read."""

    open: dict[int, dict[str, str]]
    closed: int
    cut: bool

    @property
    def partial(self) -> str:
        """What is missing, in words; empty when nothing is."""
        words = [f"of {self.closed} processes the descriptors may not be read"] if self.closed else []
        return "; ".join([*words, *(["it took too long: not all were read"] if self.cut else [])])

    def who(self, path: str) -> list[tuple[int, str]]:
        """(pid, descriptor) of everybody who has it open."""
        return [
            (pid, fd) for pid, files in self.open.items() for fd, target in files.items() if target == path
        ]


def scan(ctx: Context) -> Scan:
    """Everybody's descriptors; made once a run. Raises Missing where there is no /proc."""
    if not ctx.linux:
        raise Missing("what others have open needs /proc", "midwatch leaks PID")
    found = ctx.once("descriptors", lambda: _scan(ctx))
    assert isinstance(found, Scan)
    return found


def _scan(ctx: Context) -> Scan:
    files: dict[int, dict[str, str]] = {}
    closed, until = 0, ctx.clock() + figures.SCAN_SECONDS
    for pid, proc in ctx.sources.table().procs.items():
        if ctx.clock() > until:
            return Scan(files, closed, True)
        if not proc.argv and proc.ppid in (0, 2):
            continue  # the kernel's own
        folder = f"/proc/{pid}/fd"
        try:
            names = ctx.sources.names(folder, figures.SCAN_DESCRIPTORS)
        except PermissionError:
            closed += 1
            continue
        except OSError:
            continue  # it has ended
        links: dict[str, str] = {}
        for name in names:
            try:
                links[name] = ctx.sources.link(f"{folder}/{name}")
            except OSError:
                continue
        files[pid] = links
    return Scan(files, closed, False)


def counted(ctx: Context) -> opened.Scan:
    """How many each process has, and of which kinds; made once a run, on a Mac too."""
    procs = ctx.sources.table().procs.values()
    found = ctx.once(
        "opened", lambda: opened.scan(ctx.sources, procs, time.monotonic() + figures.SCAN_SECONDS)
    )
    assert isinstance(found, opened.Scan)
    return found


def locks(ctx: Context, path: str) -> list[Held]:
    """Who holds a lock on this file, as /proc/PID/fdinfo says: also a process that inherited it."""
    found = []
    for pid, fd in scan(ctx).who(path):
        try:
            info = ctx.text(f"/proc/{pid}/fdinfo/{fd}")
        except OSError:
            continue
        for kind, _, owner in _LOCK.findall(info):
            found.append(Held(pid, fd, kind, int(owner)))
    return found or _listed(ctx, path)


def _listed(ctx: Context, path: str) -> list[Held]:
    """The kernel's own list, for holders whose descriptors may not be read: it has the inode and who took it."""
    if not scan(ctx).closed:
        return []
    try:
        inode = ctx.said("stat", "-L", "-c", "%i", path).strip()
        rows = [line.split() for line in ctx.text("/proc/locks").splitlines()]
    except (Missing, OSError):
        return []
    # "1: FLOCK ADVISORY WRITE 22291 00:1b:24 0 EOF"; one that waits has "->" behind its number
    held = [row for row in rows if len(row) > 5 and row[1] != "->" and row[5].rpartition(":")[2] == inode]
    return [Held(int(row[4]), "", row[1], int(row[4])) for row in held if row[4].lstrip("-").isdigit()]
