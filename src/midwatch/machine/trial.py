"""A trial bind: would a service that sets SO_REUSEADDR get this TCP port? The same on every system.

Never listens, so nobody can connect to it by accident. Tests: tests/machine/test_ports.py.
"""

from __future__ import annotations

import errno
import socket


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
