"""TCP sockets from the kernel's sock_diag: filtered there by port and state, with the backlog /proc does not print.

Must not know what a socket is asked for. None when the kernel does not answer (module missing, refused in a
sandbox): the caller reads /proc/net/tcp instead.
"""

from __future__ import annotations

import errno
import socket
import struct

from midwatch.machine.linux.procfs import TcpSocket

EVERY = 0xFFFFFFFF  # states
_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY, _DUMP, _DONE, _ERROR = 20, 0x301, 3, 2  # SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST|NLM_F_DUMP, NLMSG_*
_V6ONLY = 11  # INET_DIAG_SKV6ONLY
_MOST_MESSAGES = 10_000  # datagrams of one dump
_HEAD = 16  # struct nlmsghdr
_BODY = 72  # struct inet_diag_msg
_TOO_LONG = 1.0  # seconds without an answer


def tcp(family: int, port: int, states: int) -> list[TcpSocket] | None:
    """The sockets of this local port (0: of any) in our network namespace; `states`: a bit for each."""
    request = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, states)
    request += struct.pack("!HH", port, 0) + bytes(32) + struct.pack("=I8x", 0)
    head = struct.pack("=IHHII", _HEAD + len(request), _BY_FAMILY, _DUMP, 1, 0)
    found: list[TcpSocket] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as link:
            link.settimeout(_TOO_LONG)
            link.send(head + request)
            for _ in range(_MOST_MESSAGES):
                if not messages(link.recv(65536), found):
                    return [row for row in found if port in (0, row.port)]
    except OSError:
        return None
    return None


def messages(data: bytes, found: list[TcpSocket]) -> bool:
    """Take the sockets out of one datagram; False: that was the last one. Raises OSError for a refusal."""
    at = 0
    while at + _HEAD <= len(data):
        size, kind = struct.unpack_from("=IH", data, at)
        if kind == _DONE:
            return False
        if kind == _ERROR or size < _HEAD:
            raise OSError(errno.EPROTO, "the kernel does not answer sock_diag")
        row = diag(data[at + _HEAD : at + size])
        if row is not None:
            found.append(row)
        at += (size + 3) & ~3
    return True


def diag(data: bytes) -> TcpSocket | None:
    """struct inet_diag_msg and its attributes; None when it is torn."""
    if len(data) < _BODY:
        return None
    family, state = data[0], data[1]
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    size = 4 if family == socket.AF_INET else 16
    port, peer_port = struct.unpack_from("!HH", data, 4)
    address, peer = data[8 : 8 + size], data[24 : 24 + size] if peer_port else b""
    waiting, backlog, uid, inode = struct.unpack_from("=IIII", data, 56)
    v6only = _v6only(data)
    return TcpSocket(address, port, inode, uid, waiting, backlog, v6only, state, peer, peer_port)


def _v6only(data: bytes) -> bool | None:
    at = _BODY
    while at + 4 < len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        if kind == _V6ONLY:
            return bool(data[at + 4])
        at += (length + 3) & ~3
    return None
