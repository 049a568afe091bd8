"""Names of the system calls in which programs wait, for the two processors people have.

A number that is not here is shown as a number. Must not grow into a whole table: it names what a hang can look like.
"""

from __future__ import annotations

import os

_X86 = {
    0: "read", 1: "write", 5: "fstat", 7: "poll", 16: "ioctl", 17: "pread64", 18: "pwrite64", 19: "readv", 20: "writev",
    23: "select", 34: "pause", 35: "nanosleep", 42: "connect", 43: "accept", 44: "sendto", 45: "recvfrom",
    46: "sendmsg", 47: "recvmsg", 61: "wait4", 72: "fcntl", 73: "flock", 74: "fsync", 75: "fdatasync", 202: "futex",
    219: "restart_syscall", 230: "clock_nanosleep", 232: "epoll_wait", 247: "waitid", 257: "openat", 262: "newfstatat",
    270: "pselect6", 271: "ppoll", 281: "epoll_pwait", 288: "accept4", 128: "rt_sigtimedwait", 130: "rt_sigsuspend",
    426: "io_uring_enter", 441: "epoll_pwait2", 449: "futex_waitv",
}  # fmt: skip
_ARM = {
    63: "read", 64: "write", 65: "readv", 66: "writev", 67: "pread64", 68: "pwrite64", 25: "fcntl", 29: "ioctl",
    32: "flock", 56: "openat", 72: "pselect6", 73: "ppoll", 79: "newfstatat", 80: "fstat", 82: "fsync",
    83: "fdatasync", 95: "waitid", 98: "futex", 101: "nanosleep", 115: "clock_nanosleep", 22: "epoll_pwait",
    128: "restart_syscall", 133: "rt_sigsuspend", 137: "rt_sigtimedwait", 202: "accept", 203: "connect",
    206: "sendto", 207: "recvfrom", 211: "sendmsg", 212: "recvmsg", 242: "accept4", 260: "wait4",
    426: "io_uring_enter", 441: "epoll_pwait2", 449: "futex_waitv",
}  # fmt: skip
_HERE = {"x86_64": _X86, "aarch64": _ARM}.get(os.uname().machine, {})

# The first argument is the descriptor it waits on.
OF_A_DESCRIPTOR = frozenset({
    "read", "write", "readv", "writev", "pread64", "pwrite64", "fcntl", "ioctl", "flock", "fsync",
    "fdatasync", "fstat", "connect", "accept", "accept4", "sendto", "recvfrom", "sendmsg",
    "recvmsg", "epoll_wait", "epoll_pwait", "epoll_pwait2", "io_uring_enter",
})  # fmt: skip


def name(number: int) -> str:
    """"" where it is not known."""
    return _HERE.get(number, "")
