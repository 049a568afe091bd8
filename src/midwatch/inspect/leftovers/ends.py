"""Who holds the other end: of a pipe, of a Unix socket, of a terminal, of a TCP connection.

The kernel itself answers: whoever opens a pipe through /proc and polls it is told at once whether the other side has
anybody left, whoever that is and whether or not he can be seen; sock_diag names the peer of each Unix socket. Nothing
is read from a pipe or written to it. "Cannot be told" is None, never "nobody". Must not judge. Tests:
tests/inspect/test_leftovers_ends.py.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
from typing import Literal, Protocol

import msgspec

from midwatch.inspect.sources import Sources

FDS = 4096  # descriptors of one process that are looked at
_SOCK_DIAG, _BY_FAMILY, _DUMP, _DONE, _ERROR = 4, 20, 0x301, 3, 2
_SHOW_NAME, _SHOW_PEER, _NAME, _PEER = 1, 4, 0, 2
_LISTEN = 10
_MOST = 10_000  # datagrams of one dump

State = Literal["broken", "live", "null", "file", "fifo", "dead terminal", "terminal", "closed", "other", "unknown"]


class Unix(msgspec.Struct, frozen=True):
    """A Unix socket. `listens`: also one for datagrams that has a name. `peer`: inode of the other side, 0 it is gone,
    None it has none.
    """

    listens: bool
    peer: int | None


class Ends(Protocol):
    """What only the living kernel can tell."""

    def alone(self, pid: int, fd: int, reading: bool) -> bool | None:
        """Has a pipe nobody on its other side? `reading`: this descriptor is the reading end."""

    def fifo(self, pid: int, fd: int) -> bool:
        """Is it a named pipe, which anybody may open?"""

    def unix(self) -> dict[int, Unix] | None:
        """Every Unix socket of this network namespace by inode; None: the kernel does not answer."""


class Blind:
    """Ends of a recording: nothing can be told."""

    def alone(self, pid: int, fd: int, reading: bool) -> bool | None:
        """See Ends."""
        return None

    def fifo(self, pid: int, fd: int) -> bool:
        """See Ends."""
        return False

    def unix(self) -> dict[int, Unix] | None:
        """See Ends."""
        return None


class Kernel:
    """Ends of this machine (Linux)."""

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._unix: dict[int, Unix] | None = None

    def alone(self, pid: int, fd: int, reading: bool) -> bool | None:
        """See Ends. Opening changes nothing that the others can see: no byte, no end of file."""
        way = os.O_RDONLY if reading else os.O_WRONLY
        try:
            mine = os.open(f"/proc/{pid}/fd/{fd}", way | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            return None
        try:
            poll = select.poll()
            poll.register(mine, 0)
            told = poll.poll(0)
        finally:
            os.close(mine)
        return any(events & (select.POLLHUP | select.POLLERR) for _, events in told)

    def fifo(self, pid: int, fd: int) -> bool:
        """See Ends."""
        try:
            return stat.S_ISFIFO(os.stat(f"/proc/{pid}/fd/{fd}").st_mode)
        except OSError:
            return False

    def unix(self) -> dict[int, Unix] | None:
        """See Ends; asked once."""
        if self._unix is None:
            self._unix = _unix()
        return self._unix


def _unix() -> dict[int, Unix] | None:
    request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, _SHOW_NAME | _SHOW_PEER, 0, 0)
    head = struct.pack("=IHHII", 16 + len(request), _BY_FAMILY, _DUMP, 1, 0)
    found: dict[int, Unix] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as link:
            link.settimeout(1.0)
            link.send(head + request)
            for _ in range(_MOST):
                if not messages(link.recv(65536), found):
                    return found
    except (OSError, struct.error):
        return None
    return None


def messages(data: bytes, found: dict[int, Unix]) -> bool:
    """Take the sockets out of one datagram; False: it was the last. Raises OSError for a refusal."""
    at = 0
    while at + 16 <= len(data):
        size, kind = struct.unpack_from("=IH", data, at)
        if kind == _DONE:
            return False
        if kind == _ERROR or size < 32:
            raise OSError("the kernel does not answer")
        way, state, inode = data[at + 17], data[at + 18], struct.unpack_from("=I", data, at + 20)[0]
        peer, named = None, False
        inner = at + 32
        while inner + 4 <= at + size:
            length, name = struct.unpack_from("=HH", data, inner)
            if length < 4:
                break
            named = named or (name == _NAME and length > 4)
            if name == _PEER and length >= 8:
                peer = struct.unpack_from("=I", data, inner + 4)[0]
            inner += (length + 3) & ~3
        found[inode] = Unix(state == _LISTEN or (way == socket.SOCK_DGRAM and named), peer)
        at += (size + 3) & ~3
    return True


class Fd(msgspec.Struct, frozen=True):
    """One descriptor of one process."""

    fd: int
    target: str

    @property
    def inode(self) -> int:
        """Of a pipe or socket; 0 for everything else."""
        head, _, rest = self.target.partition(":[")
        return int(rest[:-1]) if head in ("pipe", "socket") and rest[:-1].isdigit() else 0


def descriptors(sources: Sources, pid: int) -> list[Fd] | None:
    """All open descriptors; None: they may not be looked at, or there are too many to say anything."""
    folder = f"/proc/{pid}/fd"
    try:
        names = sources.names(folder, FDS + 1)
    except OSError:
        return None
    if len(names) > FDS:
        return None
    found = []
    for name in names:
        try:
            found.append(Fd(int(name), sources.link(f"{folder}/{name}")))
        except (OSError, ValueError):
            continue
    return sorted(found, key=lambda fd: fd.fd)


def reads(sources: Sources, pid: int, fd: int) -> bool | None:
    """Is this descriptor of a pipe its reading end? None: it is both, or cannot be told."""
    try:
        text = sources.read(f"/proc/{pid}/fdinfo/{fd}", 4096).decode("ascii", "replace")
    except OSError:
        return None
    words = [
        line.split()[1] for line in text.splitlines() if line.startswith("flags:") and len(line.split()) > 1
    ]
    if not words or not words[0].isdigit():
        return None
    way = int(words[0], 8) & 3
    return None if way == os.O_RDWR else way == os.O_RDONLY


def state(sources: Sources, ends: Ends, pid: int, fd: Fd | None) -> State:
    """What one of the three standard streams leads to."""
    if fd is None:
        return "closed"
    target = fd.target
    if target == "/dev/null":
        return "null"
    if target.startswith(("/dev/pts/", "/dev/tty", "/dev/console")):
        return "dead terminal" if target.endswith(" (deleted)") else "terminal"
    if target.startswith("pipe:["):
        way = reads(sources, pid, fd.fd)
        alone = None if way is None else ends.alone(pid, fd.fd, way)
        return "unknown" if alone is None else "broken" if alone else "live"
    if target.startswith("socket:["):
        known = ends.unix()
        one = None if known is None else known.get(fd.inode)
        return "unknown" if one is None or one.peer is None else "live" if one.peer else "broken"
    if not target.startswith("/"):
        return "other"
    return "fifo" if ends.fifo(pid, fd.fd) else "file"
