"""The table of processes of a live Mac: libproc and sysctl, one bounded row each.

Held memory is phys_footprint, which only a process's own user (or root) may ask; for the others it is absent and the
table says how many. Has not run on a Mac; tests/inspect/test_macprocs.py runs it on packed layouts. Must not judge.
"""

from __future__ import annotations

import os
import struct
import time

from midwatch.inspect.sources import Table
from midwatch.inspect.sources.procs import ARGV_BYTES
from midwatch.machine.macos import structs
from midwatch.machine.macos.libproc import Libproc
from midwatch.model.look import Proc

_TDEV = 108  # e_tdev inside struct proc_bsdinfo
_NO_DEVICE = {0, 0xFFFFFFFF}


def table(lib: Libproc) -> Table:
    """Everybody who can be seen now."""
    at = time.time()
    tick = structs.timebase(lib.timebase())
    found: dict[int, Proc] = {}
    for pid in lib.pids():
        row = one(lib, pid, tick)
        if row is not None:
            found[pid] = row
    unread = sum(row.quality == "absent" for row in found.values())
    hidden = (f"memory and arguments of {unread} processes of other users are not readable without root",)
    return Table(found, at, hidden if unread else ())


def one(lib: Libproc, pid: int, tick: float) -> Proc | None:
    """One process; None when it has ended."""
    data = lib.bsdinfo(pid)
    stat = structs.bsdinfo(data) if data else None
    if data is None or stat is None:
        return None
    usage = structs.usage(lib.rusage(pid) or b"")
    return Proc(
        pid=pid,
        start=stat.start,
        ppid=stat.ppid,
        pgid=stat.pgrp,
        sid=_session(pid),
        uid=uid if (uid := structs.uid(data)) is not None else -1,
        name=structs.name(data),
        argv=_bounded(structs.arguments(lib.arguments(pid) or b"")),
        started=stat.start / 1e6,
        state=stat.state,
        tty=_terminal(data),
        held=usage.footprint if usage else None,
        quality="exact" if usage else "absent",
        cpu_s=usage.cpu * tick if usage else None,
    )


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _terminal(data: bytes) -> str:
    (device,) = struct.unpack_from("=I", data, _TDEV)
    return "" if device in _NO_DEVICE else f"ttys{device & 0xFFFFFF:03d}"


def _bounded(words: list[bytes]) -> tuple[str, ...]:
    kept, room = [], ARGV_BYTES
    for word in words:
        if room <= 0:
            break
        kept.append(word[:room].decode("utf-8", "backslashreplace"))
        room -= len(word) + 1
    return tuple(kept)
