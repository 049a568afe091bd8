"""Is anybody connected to a process tree: over a pipe, a Unix socket or TCP, from outside the tree?

A connection counts as a client's when its local port is one that anybody on this machine listens on: an accepted
connection may have been handed to another process than the one that listens. Must not judge what it finds. Tests:
tests/inspect/test_zoo.py.
"""

from __future__ import annotations

from midwatch.inspect.leftovers.ends import Ends, Fd, reads
from midwatch.inspect.sources import Sources
from midwatch.machine.linux import procfs
from midwatch.machine.linux.procfs import TcpSocket
from midwatch.model.look import Proc

_TABLES = ("netlink", "packet", "raw", "raw6", "icmp", "icmp6", "vsock")
_BYTES = 1 << 23
_ESTABLISHED, _UNCONNECTED = 1, 7


class Clients:
    """What the descriptors of a tree lead to. `listens` and `outgoing` are known after `strangers`."""

    def __init__(self, sources: Sources, ends: Ends, root: Proc, fds: dict[int, list[Fd]]) -> None:
        """`fds`: by process, the root first."""
        self._sources = sources
        self._ends = ends
        self._root = root
        self._fds = fds
        self._inside = {fd.inode for found in fds.values() for fd in found if fd.target.startswith("socket:")}
        self._tcp: dict[int, TcpSocket] | None = None
        self._datagrams: dict[int, TcpSocket] | None = None
        self._others: set[int] | None = None
        self.listens: list[str] = []
        self.outgoing: list[str] = []

    def strangers(self) -> str:
        """Who is connected from outside, in words; "" nobody."""
        self._named()
        return self._pipes() or self._sockets()

    def _named(self) -> None:
        """Named pipes but a stdout and stderr: whoever knows the name may speak to it."""
        for pid, found in self._fds.items():
            for fd in found:
                if fd.fd not in (1, 2) and fd.target.startswith("/") and self._ends.fifo(pid, fd.fd):
                    self._say(self.listens, f"the named pipe {fd.target}")

    def _pipes(self) -> str:
        ways: dict[int, set[bool | None]] = {}
        first: dict[int, tuple[int, int, bool | None]] = {}
        for pid, found in self._fds.items():
            for fd in found:
                if not fd.target.startswith("pipe:["):
                    continue
                way = reads(self._sources, pid, fd.fd)
                ways.setdefault(fd.inode, set()).add(way)
                first.setdefault(fd.inode, (pid, fd.fd, way))
        for inode, (pid, number, way) in first.items():
            if {True, False} <= ways[inode]:
                continue  # both ends are in the tree
            alone = None if None in ways[inode] else self._ends.alone(pid, number, bool(way))
            if alone is None:
                return f"descriptor {number} of pid {pid} is a pipe of which nothing can be told"
            if not alone:
                return f"somebody holds the other end of a pipe (descriptor {number} of pid {pid})"
        return ""

    def _sockets(self) -> str:
        for pid, found in self._fds.items():
            for fd in found:
                if fd.target.startswith("socket:["):
                    words = self._socket(pid, fd)
                    if words:
                        return words
        return ""

    def _socket(self, pid: int, fd: Fd) -> str:
        known = self._ends.unix()
        if known is None:
            return "the kernel does not tell who is connected to its sockets"
        one = known.get(fd.inode)
        if one is not None:
            if one.listens:
                self._say(self.listens, "a Unix socket")
            elif one.peer and one.peer not in self._inside:
                return f"somebody is connected to it over a Unix socket (descriptor {fd.fd} of pid {pid})"
            return ""
        row = self._rows().get(fd.inode)
        if row is None:
            if fd.inode in self._udp():
                return ""
            if fd.inode in self._rest():
                return ""
            return f"descriptor {fd.fd} of pid {pid} is a socket of which nothing can be told"
        if row.state == procfs.LISTEN:
            self._say(self.listens, f"port {row.port}")
        elif row.state == _ESTABLISHED:
            ports = {each.port for each in self._rows().values() if each.state == procfs.LISTEN}
            if row.port in ports:
                return f"a client is connected to its port {row.port}"
            self._say(self.outgoing, f"port {row.peer_port}" if row.peer_port else "somebody")
        return ""

    def _rows(self) -> dict[int, TcpSocket]:
        if self._tcp is None:
            self._tcp = self._table("tcp", "tcp6")
        return self._tcp

    def _table(self, *names: str) -> dict[int, TcpSocket]:
        found: dict[int, TcpSocket] = {}
        for name in names:
            try:
                data = self._sources.read(f"/proc/{self._root.pid}/net/{name}", _BYTES)
            except OSError:
                continue
            found.update((row.inode, row) for row in procfs.tcp(data))
        return found

    def _udp(self) -> set[int]:
        """Sockets for UDP; one that waits for anybody on a port listens."""
        if self._datagrams is None:
            self._datagrams = self._table("udp", "udp6")
            for inode in self._inside & self._datagrams.keys():
                row = self._datagrams[inode]
                if row.state == _UNCONNECTED and row.port:
                    self._say(self.listens, f"UDP port {row.port}")
        return set(self._datagrams)

    def _rest(self) -> set[int]:
        """Sockets without a partner: netlink and so on."""
        if self._others is None:
            self._others = set()
            for name in _TABLES:
                try:
                    data = self._sources.read(f"/proc/{self._root.pid}/net/{name}", _BYTES)
                except OSError:
                    continue
                self._others |= {
                    int(word) for line in data.splitlines()[1:] for word in line.split() if word.isdigit()
                }
        return self._others

    def _say(self, said: list[str], words: str) -> None:
        if words not in said:
            said.append(words)
