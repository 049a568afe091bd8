"""Listening sockets that services inherit, so that a restart refuses no connection; and the outer manager's.

They are ours as long as they are wanted: through every death of an engine and our own re-execution. A child finds them
at 3, 4, ... as systemd would pass them, at most five. Must not know who serves.
"""

from __future__ import annotations

import _socket
import errno
import os
import stat

BACKLOG = 4096  # the kernel cuts it to its own limit (net.core.somaxconn)


class Sockets:
    """Each by its name: the socket, the address asked for, and the actual one."""

    def __init__(self) -> None:
        self.named: dict[str, tuple[_socket.socket, str, str]] = {}

    def facts(self) -> dict[str, str]:
        return {name: actual for name, (_, _, actual) in self.named.items()}

    def listen(self, name: str, address: str, backlog: int | None) -> str:
        """Bind and listen, or say again what is already so; returns the actual address."""
        if had := self.named.get(name):
            if had[1] != address:
                raise OSError(errno.EEXIST, f"{name} listens on {had[2]}")
            had[0].listen(backlog or BACKLOG)
            return had[2]
        path = address.startswith("/")
        where: str | tuple[object, ...] = address
        family = _socket.AF_UNIX
        if path:
            remove_stale(address)
        else:  # numbers only: a name would be looked up while everybody waits
            host, _, port = address.rpartition(":")
            info = _socket.getaddrinfo(host.strip("[]"), int(port), 0, _socket.SOCK_STREAM, 0, _socket.AI_NUMERICHOST)
            family, where = info[0][0], (info[0][4][0], int(port), *info[0][4][2:])
        made = _socket.socket(family, _socket.SOCK_STREAM)
        try:
            if not path:
                made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            made.bind(where)
            made.listen(backlog or BACKLOG)
        except BaseException:
            made.close()
            raise
        at = made.getsockname()
        actual = address if path else f"[{at[0]}]:{at[1]}" if ":" in at[0] else f"{at[0]}:{at[1]}"
        self.named[name] = made, address, actual
        return actual

    def unlisten(self, name: str) -> None:
        """Let go of it; those that have inherited it go on."""
        if had := self.named.pop(name, None):
            had[0].close()
            try:
                os.unlink(had[1] if had[1].startswith("/") else "")
            except OSError:
                pass

    def passed(self, names: list[str]) -> list[int]:
        """Their descriptors, blocking again whatever the last service has made of them."""
        for name in names:
            if name not in self.named:
                raise OSError(errno.ENOENT, f"no socket is named {name}")
            self.named[name][0].setblocking(True)
        return [self.named[name][0].fileno() for name in names]


def remove_stale(path: str) -> None:
    """Unlink a socket that nobody listens on; anything else in its place makes bind fail."""
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            with_nobody = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            with_nobody.setblocking(False)
            number = with_nobody.connect_ex(path)
            with_nobody.close()
            if number == errno.ECONNREFUSED:
                os.unlink(path)
    except FileNotFoundError:
        pass


def notify(path: str, text: str) -> None:
    """Tell the outer manager; one that is not there is no error of ours."""
    sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        sender.setblocking(False)
        sender.sendto(text.encode(), os.fsencode("\0" + path[1:] if path[0] == "@" else path))
    except OSError:
        pass
    finally:
        sender.close()
