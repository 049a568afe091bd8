"""Signals that can only reach the right process: pidfds, checked against the start time.

A pidfd is opened first and the start time read after: if the pid still belongs to our process *then*, the
pidfd, opened later than that process began, is its own. Must not know trees. How a process ended that is not our
child is the keeper's to find out (keeper/adopt.py).
"""

from __future__ import annotations

import os
import signal

from midwatch.machine.linux import files, procfs
from midwatch.machine.procs import Stat
from midwatch.model.identity import ProcId

SIGNAL_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP, Linux >= 6.9


def look(pid: int) -> Stat | None:
    """The stat of a pid, None when there is no such process."""
    data = files.read_record(f"/proc/{pid}/stat")
    return procfs.stat(data) if data else None


def open_checked(proc: ProcId) -> int | None:
    """A pidfd of exactly this process (living or zombie), None when it is gone. The caller closes it."""
    try:
        fd = os.pidfd_open(proc.pid)
    except OSError:
        return None
    now = look(proc.pid)
    if now is None or now.start != proc.start:
        os.close(fd)
        return None
    return fd


def send(proc: ProcId, signum: int, flags: int = 0) -> bool:
    """Signal exactly this process; False when it is gone or already a zombie. Raises PermissionError."""
    fd = open_checked(proc)
    if fd is None:
        return False
    try:
        now = look(proc.pid)
        if now is None or (now.dead and not flags):
            return False
        signal.pidfd_send_signal(fd, signum, None, flags)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)


def send_group(leader: ProcId, signum: int) -> bool:
    """Signal the process group `leader` leads, while it is provably ours (the leader is alive or an unreaped
    zombie).

    The pid of an unreaped leader cannot be given to anybody else. Since 6.9 the pidfd itself names the
    group; before, killpg follows the check at once.
    """
    fd = open_checked(leader)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, signum, None, SIGNAL_GROUP)
    except ProcessLookupError:
        return False
    except OSError as error:
        if error.errno != 22:  # EINVAL: a kernel before 6.9 knows no flags
            raise
        try:
            os.killpg(leader.pid, signum)
        except ProcessLookupError:
            return False
    finally:
        os.close(fd)
    return True
