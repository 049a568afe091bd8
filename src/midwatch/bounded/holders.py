"""Who still holds a pipe open whose command has ended: found by the pipe's own number, whatever they did to their
environment, session or name.

Must not decide what becomes of them. Tests: tests/system/test_bounded_exec.py.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence

import msgspec

from midwatch.machine.ports import Machine, Tree
from midwatch.model.identity import ProcId

_POLITE, _PAUSE = 0.2, 0.01  # s


class Holder(msgspec.Struct, frozen=True):
    """A process that outlived the command and kept its output open. `ended`: we ended it."""

    pid: int
    command: str
    ended: bool


def find(fds: Iterable[int], machine: Machine, tree: Tree) -> list[ProcId]:
    """Everybody but us who has one of these pipes open. Without /proc: who is of the tree."""
    if sys.platform != "linux":
        return machine.members(tree)
    names = {f"pipe:[{os.fstat(fd).st_ino}]" for fd in fds}
    found = []
    for entry in os.listdir("/proc"):
        if entry[0] in "123456789" and int(entry) != os.getpid() and _holds(entry, names):
            proc = machine.identify(int(entry))
            if proc is not None:
                found.append(proc)
    return found


def _holds(entry: str, names: set[str]) -> bool:
    folder = f"/proc/{entry}/fd"
    try:
        for fd in os.listdir(folder):
            if os.readlink(f"{folder}/{fd}") in names:
                return True
    except OSError:
        pass  # gone, or another user's: its pipe is not ours then, or it changed its user with it
    return False


def end(found: Sequence[ProcId], machine: Machine) -> list[ProcId]:
    """TERM, a moment, KILL, to exactly these; who is left because we may not."""
    left = _tell(found, machine, signal.SIGTERM)
    until = time.monotonic() + _POLITE
    while (left := [proc for proc in left if machine.alive(proc)]) and time.monotonic() < until:
        time.sleep(_PAUSE)
    left = _tell(left, machine, signal.SIGKILL)
    until = time.monotonic() + _POLITE
    while (left := [proc for proc in left if machine.alive(proc)]) and time.monotonic() < until:
        time.sleep(_PAUSE)
    return left


def _tell(procs: Sequence[ProcId], machine: Machine, signum: int) -> list[ProcId]:
    for proc in procs:
        try:
            machine.signal(proc, signum)
            if signum == signal.SIGTERM:
                machine.signal(proc, signal.SIGCONT)
        except PermissionError:
            pass
    return list(procs)
