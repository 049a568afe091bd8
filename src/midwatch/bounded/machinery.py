"""The machine as this process sees it, made once, and again after a fork; and who is asked to die with us.

Must not know runs. Tests: tests/system/test_bounded_ends.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from midwatch.bounded.traces import Book
from midwatch.machine import this_machine
from midwatch.machine.ports import Machine
from midwatch.model.identity import ProcId

INSTANCE = "exec"  # names our cgroups and markers


class Machinery:
    """One for each process. `deathly`: words before a command that make the kernel end it when we die."""

    def __init__(self) -> None:
        self.machine: Machine = this_machine(INSTANCE, 0)
        me = self.machine.identify(os.getpid())
        self.book = Book(me or ProcId(os.getpid(), 0, self.machine.now().boot))
        self.deathly = _deathly()
        self.late: set[int] = set()  # children that would not die; reaped when they have


_lock = threading.Lock()
_made: dict[int, Machinery] = {}


def machinery() -> tuple[Machinery, bool]:
    """This process's, and whether it was made just now."""
    with _lock:
        mine = _made.get(os.getpid())
        if mine is not None:
            return mine, False
        _made.clear()
        _made[os.getpid()] = mine = Machinery()
        return mine, True


def _deathly() -> tuple[str, ...]:
    """setpriv sets PR_SET_PDEATHSIG and becomes the command; util-linux before 2.33 and busybox cannot."""
    if sys.platform != "linux":
        return ()
    for folder in ("/usr/bin", "/bin", "/usr/sbin"):
        path = Path(folder) / "setpriv"
        if path.is_file() and path.resolve().name == "setpriv":
            words = (str(path), "--pdeathsig", "KILL", "--")
            return words if _works(words) else ()
    return ()


def _works(words: tuple[str, ...]) -> bool:
    null = subprocess.DEVNULL
    try:
        tried = subprocess.run([*words, "/bin/true"], stdin=null, stdout=null, stderr=null, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return tried.returncode == 0
