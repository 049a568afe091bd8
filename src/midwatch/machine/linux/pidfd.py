"""Signals that can only reach the right process: pidfds, checked against the start time.

A pidfd is opened first and the start time read after: if the pid still belongs to our process *then*, the
pidfd, opened later than that process began, is its own. Also the ways to learn how a process ended that is
not our child (it was adopted after keeper and engine died together). Must not know trees.
"""

from __future__ import annotations

import os
import signal

from midwatch.machine.linux import files, procfs
from midwatch.machine.procs import Stat
from midwatch.model.identity import ProcId

SIGNAL_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP, Linux >= 6.9
_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, 64 bytes), Linux >= 6.13
_CAP_SYS_PTRACE = 19
_INFO_EXIT = 1 << 3  # Linux >= 6.15


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


def exit_status(proc: ProcId, fd: int | None = None) -> int | None:
    """The raw wait status of a process that is not our child, after its pidfd became readable.

    First the zombie's stat, then, when somebody has reaped it, what the pidfd still knows (Linux >= 6.15).
    None: it lives, or nobody can tell any more.
    """
    data = files.read_record(f"/proc/{proc.pid}/stat")
    now = procfs.stat(data) if data else None
    if data and now is not None and now.start == proc.start:
        status = procfs.exit_status(data)
        return status if status or _may_trace(proc.pid) else None
    if fd is None:
        return None
    import fcntl  # only adopted runs come here

    buffer = bytearray(64)
    buffer[0:8] = _INFO_EXIT.to_bytes(8, "little")
    try:
        fcntl.ioctl(fd, _GET_INFO, buffer)
    except OSError:
        return None
    if not int.from_bytes(buffer[0:8], "little") & _INFO_EXIT:
        return None
    return int.from_bytes(buffer[60:64], "little")


def _may_trace(pid: int) -> bool:
    """May we believe a 0 in field 52? The kernel writes 0 for everybody who may not trace the process."""
    try:
        if os.stat(f"/proc/{pid}").st_uid == os.geteuid():
            return True
    except OSError:
        return False
    status = files.read_or_none("/proc/self/status") or b""
    at = status.find(b"\nCapEff:")
    digits = status[at + 8 : status.find(b"\n", at + 1)].strip() if at >= 0 else b"0"
    return bool(int(digits, 16) & 1 << _CAP_SYS_PTRACE)
