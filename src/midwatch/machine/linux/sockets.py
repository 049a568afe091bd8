"""TCP ports: who listens, how many connections wait there, who holds the socket, and whether a bind would work.

The kernel is asked by netlink (sock_diag), which filters by port and also knows the backlog; /proc/net/tcp is the
second choice. Holders are found by the socket's inode in /proc/PID/fd, a walk through every process that is made
only when there is something to look for. Must not decide whose a listener may be. Tests: tests/machine/test_ports.py.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time

from midwatch.machine.linux import files, procfs
from midwatch.machine.linux.procfs import Listening
from midwatch.machine.ports import Listener

_WALK = 1.0  # seconds spent on looking for the holders of a socket
_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY, _DUMP, _DONE, _ERROR = 20, 0x301, 3, 2  # SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST|NLM_F_DUMP, NLMSG_*
_LISTEN = 1 << 10
_V6ONLY = 11  # INET_DIAG_SKV6ONLY
_MOST_MESSAGES = 10_000  # datagrams of one dump
_MAPPED = b"\0" * 10 + b"\xff\xff"


def listening(port: int) -> list[Listening]:
    """Every socket in LISTEN on this port in our network namespace."""
    found: list[Listening] = []
    for family, name in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        rows = _dump(family, port, _LISTEN)
        if rows is None:
            rows = procfs.listeners(files.read_or_none(f"/proc/net/{name}") or b"", port)
        found += rows
    return found


def listeners(port: int, owners: bool) -> list[Listener]:
    """See ports."""
    rows = listening(port)
    held = holders({row.inode for row in rows}, _WALK) if owners and rows else {}
    return [_told(row, tuple(sorted(held.get(row.inode, ())))) for row in rows]


def _told(row: Listening, pids: tuple[int, ...]) -> Listener:
    four = len(row.address) == 4
    return Listener(
        socket.inet_ntop(socket.AF_INET if four else socket.AF_INET6, row.address),
        row.port,
        "inet" if four else "inet6",
        row.inode,
        row.uid,
        row.waiting,
        row.backlog,
        pids,
        row.v6only,
    )


def holders(inodes: set[int], seconds: float) -> dict[int, set[int]]:
    """Who has these sockets open: inode -> pids. Incomplete after `seconds`, and where /proc may not be read."""
    until = time.monotonic() + seconds
    names = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, set[int]] = {}
    for entry in os.listdir("/proc"):
        if entry[0] not in "123456789":
            continue
        if time.monotonic() > until:
            break
        for target in targets(int(entry)) or ():
            if target in names:
                found.setdefault(names[target], set()).add(int(entry))
    return found


def targets(pid: int) -> list[str] | None:
    """What the descriptors of a process point to, None when it may not be looked at."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except PermissionError:
        return None
    except OSError:
        return []
    found: list[str] = []
    for name in names:
        try:
            found.append(os.readlink(f"{folder}/{name}"))
        except OSError:
            continue
    return found


def owner(pids: list[int], host: str, port: int) -> bool | None:
    """Do these processes hold the socket that answers at host:port? None: it cannot be told."""
    inodes = answering(listening(port), host)
    if not inodes:
        return None
    ours: set[int] = set()
    hidden = False
    for pid in pids:
        held = targets(pid)
        if held is None:
            hidden = True
            continue
        ours |= {inode for inode in inodes if f"socket:[{inode}]" in held}
        if ours == inodes:
            return True
    return None if ours or hidden else False


def answering(rows: list[Listening], host: str) -> set[int]:
    """The inodes of those that a connection to `host` reaches: the most specific address wins.

    A name for this machine may be resolved to either family: where both are answered, both count.
    """
    found: set[int] = set()
    for address in _addresses(host):
        found |= _reached(rows, address)
    return found


def _reached(rows: list[Listening], address: bytes) -> set[int]:
    four = len(address) == 4
    exact = {row.inode for row in rows if row.address in (address, _MAPPED + address if four else address)}
    if exact:
        return exact
    same = {row.inode for row in rows if row.address == b"\0" * len(address)}
    if same or not four:
        return same
    return {row.inode for row in rows if row.address == b"\0" * 16 and not row.v6only}


def _addresses(host: str) -> list[bytes]:
    """Where a connection to `host` goes; a wildcard means this machine's loopback (ORP-3)."""
    four, six = socket.inet_pton(socket.AF_INET, "127.0.0.1"), socket.inet_pton(socket.AF_INET6, "::1")
    if host in ("localhost", "", "*"):
        return [four, six]
    for family, loopback in ((socket.AF_INET, four), (socket.AF_INET6, six)):
        try:
            address = socket.inet_pton(family, host.strip("[]"))
        except OSError:
            continue
        if address.startswith(_MAPPED):
            address = address[12:]
        return [address if any(address) else loopback]
    return []  # a name: asking a resolver may block


def bindable(port: int) -> bool:
    """See ports. A privileged port or a missing IPv6 is no conflict: the service will say so itself."""
    for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue
        with sock:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((anywhere, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
    return True


def _dump(family: int, port: int, states: int) -> list[Listening] | None:
    """inet_diag, asked for one local port. None: this kernel does not answer."""
    request = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, states)
    request += struct.pack("!HH", port, 0) + bytes(32) + struct.pack("=I8x", 0)
    head = struct.pack("=IHHII", 16 + len(request), _BY_FAMILY, _DUMP, 1, 0)
    found: list[Listening] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as link:
            link.settimeout(1.0)
            link.send(head + request)
            for _ in range(_MOST_MESSAGES):
                if not _messages(link.recv(65536), found):
                    return found
    except OSError:
        return None
    return None


def _messages(data: bytes, found: list[Listening]) -> bool:
    """Take the sockets out of one datagram; False: that was the last one. Raises OSError for a refusal."""
    at = 0
    while at + 16 <= len(data):
        size, kind = struct.unpack_from("=IH", data, at)
        if kind == _DONE:
            return False
        if kind == _ERROR or size < 16:
            raise OSError(-struct.unpack_from("=i", data, at + 16)[0] if kind == _ERROR else errno.EBADMSG, "")
        row = diag(data[at + 16 : at + size])
        if row is not None:
            found.append(row)
        at += (size + 3) & ~3
    return True


def diag(data: bytes) -> Listening | None:
    """struct inet_diag_msg and its attributes; None when it is torn."""
    if len(data) < 72:
        return None
    (port,) = struct.unpack_from("!H", data, 4)
    address = data[8:12] if data[0] == socket.AF_INET else data[8:24]
    waiting, backlog, uid, inode = struct.unpack_from("=IIII", data, 56)
    at, v6only = 72, None
    while at + 4 < len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        if size < 4:
            break
        if kind == _V6ONLY:
            v6only = bool(data[at + 4])
        at += (size + 3) & ~3
    return Listening(address, port, inode, uid, waiting, backlog, v6only)
