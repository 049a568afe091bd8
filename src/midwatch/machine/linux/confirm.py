"""Confirmation by page walk: what a tree really holds, each shared page counted once.

Pss_Anon + Pss_Shmem + SwapPss (+ hugetlb) of smaps_rollup, summed over the members: mapped files are left out, as in
the cheap number. The walk takes 8 ms per GiB and locks the process's address space meanwhile, therefore: in a worker
thread, largest process first, within a time. Must not decide when. Tests: tests/machine/test_confirm.py.
"""

from __future__ import annotations

import errno
import os
import time

from midwatch.machine.linux import files, procfs
from midwatch.model.identity import ProcId
from midwatch.model.sample import Reading


def rollup(data: bytes) -> int | None:
    """The share of one process in smaps_rollup. Linux < 5.5 does not split Pss: all of it, files included."""
    parts = [procfs.kib(data, key) for key in (b"\nPss_Anon:", b"\nPss_Shmem:")]
    if None in parts:
        parts = [procfs.kib(data, b"\nPss:")]
    if parts[0] is None:
        return None
    extra = (b"\nSwapPss:", b"\nPrivate_Hugetlb:", b"\nShared_Hugetlb:")
    return sum(part or 0 for part in (*parts, *(procfs.kib(data, key) for key in extra)))


def confirm(members: list[ProcId], seconds: float) -> Reading:
    """The sum; who could not be walked in time counts with his whole held memory."""
    if not members:
        return Reading(None, "absent", "nothing runs")
    until = time.monotonic() + seconds
    sizes = {proc: _held(proc.pid) for proc in members}
    total, walked, late, refused = 0, 0, 0, ""
    for proc in sorted(members, key=lambda proc: sizes[proc], reverse=True):
        if time.monotonic() >= until and walked:
            late += 1
            total += sizes[proc]
            continue
        try:
            share = _walk(proc)
        except PermissionError as error:
            refused = f"smaps_rollup of {proc.pid}: {error.strerror}"
            total += sizes[proc]
            continue
        if share is not None:
            walked += 1
            total += share
    if not walked:
        return Reading(None, "absent", refused or "no process of the tree could be read")
    if late or refused:
        why = refused or f"out of time: {late} of {len(members)} processes counted whole"
        return Reading(total, "approximate", why)
    return Reading(total, "exact")


def _walk(proc: ProcId) -> int | None:
    """None: it is gone. Raises PermissionError."""
    try:
        fd = os.open(f"/proc/{proc.pid}/smaps_rollup", os.O_RDONLY | os.O_CLOEXEC)  # bound to its memory from here on
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise
        return None
    try:
        stat = procfs.stat(files.read_record(f"/proc/{proc.pid}/stat") or b"")
        if stat is None or stat.start != proc.start:
            return None
        return rollup(os.read(fd, 8192))
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise
        return None  # ESRCH: it let go of its memory
    finally:
        os.close(fd)


def _held(pid: int) -> int:
    return procfs.held(files.read_record(f"/proc/{pid}/status") or b"").total or 0
