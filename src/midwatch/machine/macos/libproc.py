"""The calls into libproc and sysctl, by ctypes: bytes or None.

ctypes and the library are loaded at the first call. Every call is one system call that cannot block; the task port
is never asked for (it can hang for ever). Has not run on a Mac. Must not interpret a byte (structs.py).
"""

from __future__ import annotations

import errno
import struct
from typing import Any

from midwatch.machine.macos import structs

_LISTFDS, _TBSDINFO, _SOCKETINFO = 1, 3, 3  # PROC_PIDLISTFDS, PROC_PIDTBSDINFO, PROC_PIDFDSOCKETINFO
_VNODEPATHINFO = 2  # PROC_PIDFDVNODEPATHINFO
_RUSAGE_V4 = 4
_CTL_KERN, _KERN_ARGMAX, _KERN_PROCARGS2 = 1, 8, 49


class Libproc:
    """libSystem, lazily. Tests give a fake `library` with the same functions."""

    def __init__(self, library: Any = None) -> None:
        self._library = library

    @property
    def _lib(self) -> Any:
        if self._library is None:
            import ctypes

            self._library = ctypes.CDLL("/usr/lib/libSystem.B.dylib", use_errno=True)
        return self._library

    def pids(self) -> list[int]:
        """proc_listallpids: with room to spare, because processes come while we count."""
        import ctypes

        count = self._lib.proc_listallpids(None, 0)
        size = max(1024, 2 * max(count, 0)) * 4
        buffer = ctypes.create_string_buffer(size)
        count = self._lib.proc_listallpids(buffer, size)
        return [pid for (pid,) in struct.iter_unpack("=i", buffer.raw[: max(count, 0) * 4]) if pid > 0]

    def bsdinfo(self, pid: int) -> bytes | None:
        """PROC_PIDTBSDINFO; argument 1: zombies too."""
        return self._info("proc_pidinfo", pid, _TBSDINFO, 1, structs.BSDINFO_SIZE)

    def descriptors(self, pid: int) -> bytes | None:
        """PROC_PIDLISTFDS: asked for the size first, which is a little more than needed."""
        size = self._lib.proc_pidinfo(pid, _LISTFDS, ctypes_u64(0), None, 0)
        if size <= 0:
            return None
        return self._info("proc_pidinfo", pid, _LISTFDS, 0, size + 32 * structs.FDINFO_SIZE)

    def socket(self, pid: int, fd: int) -> bytes | None:
        """PROC_PIDFDSOCKETINFO."""
        import ctypes

        buffer = ctypes.create_string_buffer(structs.SOCKETINFO_SIZE)
        got = self._lib.proc_pidfdinfo(pid, fd, _SOCKETINFO, buffer, structs.SOCKETINFO_SIZE)
        return buffer.raw[:got] if got > 0 else None

    def vnode_path(self, pid: int, fd: int) -> bytes | None:
        """PROC_PIDFDVNODEPATHINFO."""
        import ctypes

        buffer = ctypes.create_string_buffer(structs.VNODEPATH_SIZE)
        got = self._lib.proc_pidfdinfo(pid, fd, _VNODEPATHINFO, buffer, structs.VNODEPATH_SIZE)
        return buffer.raw[:got] if got > 0 else None

    def rusage(self, pid: int) -> bytes | None:
        """proc_pid_rusage, RUSAGE_INFO_V4: 0 is success."""
        import ctypes

        buffer = ctypes.create_string_buffer(structs.RUSAGE_SIZE)
        return buffer.raw if self._lib.proc_pid_rusage(pid, _RUSAGE_V4, buffer) == 0 else None

    def arguments(self, pid: int) -> bytes | None:
        """KERN_PROCARGS2: argv and environment, for processes of our own user."""
        limit = self._sysctl((_CTL_KERN, _KERN_ARGMAX), 4)
        size = struct.unpack("=i", limit)[0] if limit and len(limit) == 4 else 1 << 20
        return self._sysctl((_CTL_KERN, _KERN_PROCARGS2, pid), size)

    def boot_session(self) -> str:
        """kern.bootsessionuuid, "" when it is not there."""
        import ctypes

        buffer = ctypes.create_string_buffer(64)
        size = ctypes.c_size_t(64)
        if self._lib.sysctlbyname(b"kern.bootsessionuuid", buffer, ctypes.byref(size), None, 0) != 0:
            return ""
        return buffer.value.decode("ascii", "replace")

    def named(self, name: str, size: int) -> bytes | None:
        """sysctlbyname; None when there is no such thing."""
        import ctypes

        buffer = ctypes.create_string_buffer(size)
        length = ctypes.c_size_t(size)
        if self._lib.sysctlbyname(name.encode(), buffer, ctypes.byref(length), None, 0) != 0:
            return None
        return buffer.raw[: length.value]

    def timebase(self) -> bytes:
        """mach_timebase_info: numerator and denominator of nanoseconds for one tick of CPU time."""
        import ctypes

        buffer = ctypes.create_string_buffer(8)
        return buffer.raw if self._lib.mach_timebase_info(buffer) == 0 else b""

    def _info(self, name: str, pid: int, flavor: int, argument: int, size: int) -> bytes | None:
        import ctypes

        buffer = ctypes.create_string_buffer(size)
        got = getattr(self._lib, name)(pid, flavor, ctypes_u64(argument), buffer, size)
        return buffer.raw[:got] if got > 0 else None

    def _sysctl(self, name: tuple[int, ...], size: int) -> bytes | None:
        import ctypes

        mib = (ctypes.c_int * len(name))(*name)
        buffer = ctypes.create_string_buffer(size)
        length = ctypes.c_size_t(size)
        if self._lib.sysctl(mib, len(name), buffer, ctypes.byref(length), None, 0) != 0:
            return None
        return buffer.raw[: length.value]


def ctypes_u64(value: int) -> Any:
    """proc_pidinfo's third argument is 64 bits wide."""
    import ctypes

    return ctypes.c_uint64(value)


def watch_exit(pid: int) -> Any:
    """A kqueue that becomes readable when `pid` ends (NOTE_EXIT); None when it is gone already.

    A kqueue is a descriptor like any other: the loop selects on it, the caller closes it.
    """
    import select

    queue = getattr(select, "kqueue")()  # noqa: B009 (mypy runs on Linux)
    event = getattr(select, "kevent")(  # noqa: B009
        pid, filter=-5, flags=1 | 4 | 16, fflags=0x80000000  # EVFILT_PROC, ADD|ENABLE|ONESHOT, NOTE_EXIT
    )  # fmt: skip
    try:
        queue.control([event], 0, 0)
    except OSError as error:
        queue.close()
        if error.errno in (errno.ESRCH, errno.ENOENT):
            return None
        raise
    return queue


def wait_exits(pids: list[int], seconds: float) -> None:
    """Sleep until all of these have ended, at most `seconds`, in order."""
    import time

    queues = [queue for queue in (watch_exit(pid) for pid in pids[:256]) if queue is not None]
    until = time.monotonic() + seconds
    try:
        for queue in queues:
            queue.control(None, 1, max(0.0, until - time.monotonic()))
    finally:
        for queue in queues:
            queue.close()
