"""What the bytes of libproc and sysctl mean: pure functions, no ctypes.

Offsets are those of sys/proc_info.h and sys/resource.h (64-bit, stable since 10.9); a buffer that is too short gives
None, never a guess. This has not run on a Mac; tests/machine/test_macos.py packs the documented layouts.
"""

from __future__ import annotations

import socket
import struct

import msgspec

from midwatch.machine.procs import Stat

BSDINFO_SIZE = 136  # struct proc_bsdinfo
FDINFO_SIZE = 8  # struct proc_fdinfo {int32 fd; uint32 type}
SOCKETINFO_SIZE = (
    792  # struct socket_fdinfo: the kernel wants the whole size, the parts below lie at its start
)
RUSAGE_SIZE = 16 + 8 * 64  # rusage_info_v4 and room for its successors
FDTYPE_SOCKET = 2
_FOOTPRINT, _LIFETIME_MAX = 7, 28  # u64 index after the 16-byte uuid
_USER, _SYSTEM, _START, _READ, _WRITTEN = 0, 1, 8, 16, 17
_STATES = {1: "I", 2: "R", 3: "S", 4: "T", 5: "Z"}  # SIDL SRUN SSLEEP SSTOP SZOMB
_KIND, _LPORT, _VFLAG, _LADDR, _TCP_STATE = 256, 268, 288, 312, 344  # inside socket_fdinfo
_QLEN = 194  # soi_qlen, soi_incqlen, soi_qlimit: shorts
_PCB = 168  # soi_pcb: the kernel's address of the protocol block, the same in every process that shares the socket
VNODEPATH_SIZE = 24 + 152 + 1024  # struct vnode_fdinfowithpath
_PATH = 24 + 152
_UID, _COMM, _NAME = 20, 48, 64  # inside proc_bsdinfo
KINDS = {1: "file", 2: "socket", 3: "shared memory", 4: "semaphore", 5: "kqueue", 6: "pipe", 7: "fsevents"}
_SOCKINFO_TCP, _TSI_S_LISTEN, _INI_IPV4 = 2, 1, 1


def bsdinfo(data: bytes, session: int = 0) -> Stat | None:
    """struct proc_bsdinfo. The session is not in it: the caller asks getsid(2). Start is in microseconds."""
    if len(data) < BSDINFO_SIZE:
        return None
    _, status, _, pid, ppid = struct.unpack_from("=5I", data, 0)
    (pgid,) = struct.unpack_from("=I", data, 100)
    seconds, micros = struct.unpack_from("=2Q", data, 120)
    return Stat(pid, _STATES.get(status, "?"), ppid, pgid, session, 1, seconds * 1_000_000 + micros)


class Footprint(msgspec.Struct, frozen=True):
    """phys_footprint now and its lifetime maximum, in bytes."""

    now: int
    most: int


def footprint(data: bytes) -> Footprint | None:
    """struct rusage_info_v4."""
    if len(data) < 16 + 8 * (_LIFETIME_MAX + 1):
        return None
    values = struct.unpack_from(f"={_LIFETIME_MAX + 1}Q", data, 16)
    return Footprint(values[_FOOTPRINT], values[_LIFETIME_MAX])


class Usage(msgspec.Struct, frozen=True, gc=False):
    """The rest of struct rusage_info_v4: `start` and `cpu` in ticks of mach_absolute_time."""

    footprint: int
    most: int
    start: int
    cpu: int
    read_bytes: int
    written_bytes: int


def usage(data: bytes) -> Usage | None:
    """All of struct rusage_info_v4 that a meter wants; None when it is too short."""
    if len(data) < 16 + 8 * (_LIFETIME_MAX + 1):
        return None
    values = struct.unpack_from(f"={_LIFETIME_MAX + 1}Q", data, 16)
    cpu = values[_USER] + values[_SYSTEM]
    return Usage(values[_FOOTPRINT], values[_LIFETIME_MAX], values[_START], cpu, values[_READ], values[_WRITTEN])


def timebase(data: bytes) -> float:
    """struct mach_timebase_info as seconds a tick; nanoseconds where it does not say."""
    if len(data) != 8:
        return 1e-9
    numerator, denominator = struct.unpack("=2I", data)
    return float(numerator) / max(1, int(denominator)) / 1e9


def swap(data: bytes) -> tuple[int, int] | None:
    """(total, free) of struct xsw_usage, the value of vm.swapusage."""
    if len(data) < 24:
        return None
    total, free, _ = struct.unpack_from("=3Q", data, 0)
    return total, free


def integer(data: bytes | None) -> int | None:
    """A sysctl number of 4 or 8 bytes."""
    return int.from_bytes(data, "little") if data and len(data) in (4, 8) else None


def descriptors(data: bytes) -> list[tuple[int, int]]:
    """An array of struct proc_fdinfo as (fd, type)."""
    whole = len(data) - len(data) % FDINFO_SIZE
    return [(fd, kind) for fd, kind in struct.iter_unpack("=iI", data[:whole])]


class Listening(msgspec.Struct, frozen=True):
    """A TCP socket in LISTEN."""

    address: bytes
    port: int
    waiting: int = 0
    backlog: int = 0
    pcb: int = 0


def listening(data: bytes) -> Listening | None:
    """struct socket_fdinfo, when it is a listening TCP socket."""
    if len(data) < _TCP_STATE + 4:
        return None
    (kind,) = struct.unpack_from("=i", data, _KIND)
    (state,) = struct.unpack_from("=i", data, _TCP_STATE)
    if kind != _SOCKINFO_TCP or state != _TSI_S_LISTEN:
        return None
    (port,) = struct.unpack_from("=i", data, _LPORT)
    raw = data[_LADDR : _LADDR + 16]
    # struct in4in6_addr: the IPv4 address is the last of four words
    address = raw[12:16] if data[_VFLAG] & _INI_IPV4 else raw
    queued, incomplete, limit = struct.unpack_from("=3h", data, _QLEN)
    (pcb,) = struct.unpack_from("=Q", data, _PCB)
    return Listening(address, socket.ntohs(port & 0xFFFF), max(0, queued - incomplete), limit, pcb)


def uid(data: bytes) -> int | None:
    """The owner in a struct proc_bsdinfo."""
    return struct.unpack_from("=I", data, _UID)[0] if len(data) >= BSDINFO_SIZE else None


def name(data: bytes) -> str:
    """The program's name in a struct proc_bsdinfo: the long one, else the short one."""
    for at, size in ((_NAME, 32), (_COMM, 16)):
        text = data[at : at + size].partition(b"\0")[0]
        if text:
            return text.decode("utf-8", "backslashreplace")
    return ""


def path(data: bytes) -> str:
    """The path in a struct vnode_fdinfowithpath."""
    return data[_PATH:VNODEPATH_SIZE].partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _strings(data: bytes) -> tuple[int, list[bytes]]:
    """A KERN_PROCARGS2 buffer: argc, path, padding, argc strings, then NAME=value strings."""
    if len(data) < 4:
        return 0, []
    (argc,) = struct.unpack_from("=i", data, 0)
    path_end = data.find(b"\0", 4)
    if argc < 0 or path_end < 0:
        return 0, []
    at = path_end
    while at < len(data) and data[at] == 0:
        at += 1
    return argc, data[at:].split(b"\0")


def arguments(data: bytes) -> list[bytes]:
    """The command line in a KERN_PROCARGS2 buffer."""
    argc, strings = _strings(data)
    return strings[:argc]


def environment(data: bytes) -> list[bytes]:
    """The environment in a KERN_PROCARGS2 buffer."""
    argc, strings = _strings(data)
    found: list[bytes] = []
    for text in strings[argc:]:
        if not text:
            break  # Apple's own strings follow an empty one
        found.append(text)
    return found


def marker(data: bytes, name: bytes = b"MIDWATCH_RUN=") -> str | None:
    """MIDWATCH_RUN of a KERN_PROCARGS2 buffer."""
    for text in environment(data):
        if text.startswith(name):
            return text[len(name) :].decode("utf-8", "surrogateescape")
    return None
