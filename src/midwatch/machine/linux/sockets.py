"""TCP ports: who listens, how many connections wait there, who holds the socket, and whether a bind would work.

The kernel is asked by netlink (sock_diag), which filters by port and also knows the backlog; /proc/net/tcp is the
second choice. Holders are found by the socket's inode in /proc/PID/fd, a walk through every process that is made
only when there is something to look for. Must not decide whose a listener may be. Tests: tests/machine/test_ports.py.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from midwatch.machine.linux import files, netlink, procfs
from midwatch.machine.linux.procfs import LISTEN, TcpSocket
from midwatch.machine.ports import Listener

_WALK = 1.0  # seconds spent on looking for the holders of a socket
_TIME_WAIT = 6
_BOUND = (7, 13)  # TCP_CLOSE, TCP_BOUND_INACTIVE: named, not connected; told since Linux 6.8
_NAMED = 3  # connections of which blockers() tells
_MAPPED = b"\0" * 10 + b"\xff\xff"


def listening(port: int) -> list[TcpSocket]:
    """Every socket in LISTEN on this port (0: on any) in our network namespace."""
    return _rows(port, 1 << LISTEN, lambda data: procfs.listeners(data, port))


def _rows(port: int, states: int, parse: Callable[[bytes], list[TcpSocket]]) -> list[TcpSocket]:
    """By netlink, else from /proc/net as `parse` reads it."""
    found: list[TcpSocket] = []
    for family, name in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        rows = netlink.tcp(family, port, states)
        if rows is None:
            rows = parse(files.read_or_none(f"/proc/net/{name}") or b"")
        found += rows
    return found


def listeners(port: int, owners: bool) -> list[Listener]:
    """See ports."""
    rows = listening(port)
    held = holders({row.inode for row in rows}, _WALK) if owners and rows else {}
    return [_told(row, tuple(sorted(held.get(row.inode, ())))) for row in rows]


def _told(row: TcpSocket, pids: tuple[int, ...]) -> Listener:
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
    return owns(pids, answering(listening(port), host))


def owns(pids: list[int], inodes: set[int]) -> bool | None:
    """Do these processes hold all of these sockets? None: some of them, or it cannot be told."""
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


def serving(pids: list[int]) -> dict[int, tuple[int, ...]]:
    """Which of these processes listen, and on which TCP ports."""
    ports = {f"socket:[{row.inode}]": row.port for row in listening(0)}
    found = {pid: {ports[target] for target in targets(pid) or () if target in ports} for pid in pids}
    return {pid: tuple(sorted(held)) for pid, held in found.items() if held}


def answering(rows: list[TcpSocket], host: str) -> set[int]:
    """The inodes of those that a connection to `host` reaches: the most specific address wins.

    A name for this machine may be resolved to either family: where both are answered, both count.
    """
    found: set[int] = set()
    for address in _addresses(host):
        found |= _reached(rows, address)
    return found


def _reached(rows: list[TcpSocket], address: bytes) -> set[int]:
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


def blockers(port: int) -> str:
    """See ports: bound sockets that do not listen, connections, and what lingers after connections."""
    rows = _rows(port, netlink.EVERY, lambda data: procfs.tcp(data, b":%04X " % port))
    rows = [row for row in rows if row.state != LISTEN and row.port == port]
    held = holders({row.inode for row in rows if row.inode}, _WALK) if any(row.inode for row in rows) else {}
    live = [row for row in rows if held.get(row.inode)]
    words = [_use(row, sorted(held[row.inode])) for row in live[:_NAMED]]
    if len(live) > _NAMED:
        words.append(f"{len(live) - _NAMED} more connections")
    if rest := len(rows) - len(live):
        words.append(
            f"{rest} connection{'s' * (rest > 1)} of a server that has ended (it does not set SO_REUSEADDR): "
            "free within about a minute"
            if all(row.state == _TIME_WAIT or not row.inode for row in rows)
            else f"{rest} sockets whose process cannot be seen"
        )
    return "; ".join(words)


def _use(row: TcpSocket, pids: list[int]) -> str:
    who = "pid " + ", ".join(str(pid) for pid in pids[:_NAMED])
    if row.state in _BOUND:
        return f"{who} has bound {shown(row.address, row.port)} and does not listen"
    return f"{who} uses it for a connection to {shown(row.peer, row.peer_port)}"


def shown(address: bytes, port: int) -> str:
    """ADDRESS:PORT, IPv6 in brackets, the mapped form as IPv4."""
    if address.startswith(_MAPPED):
        address = address[12:]
    if len(address) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, address)}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, address)}]:{port}" if len(address) == 16 else f"?:{port}"
