"""NOTIFY_SOCKET for services: one datagram socket a run, READY=1 and STATUS= understood.

The socket's path is the run's own, so a datagram can only be about that run. Must not decide what ready means.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from midwatch.engine.core import Engine

MAX_DATAGRAM = 4096  # bytes; longer ones are cut by the kernel
MAX_BURST = 32  # datagrams read in one turn, so that a babbling service cannot hold the loop


class NotifySockets:
    """All sockets of one engine. `listen` says who wants to hear about a run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sockets: dict[str, socket.socket] = {}
        self._listeners: dict[str, Callable[[dict[str, str]], None]] = {}
        self._ready: dict[str, dict[str, str]] = {}

    def path_for(self, run_id: str) -> str:
        """Where the run's socket is; short enough because the runtime folder is."""
        return f"{self._engine.layout.notify}/{run_id}"

    def open(self, run_id: str, uid: int | None) -> None:
        """Bind it for the service's user. Also used by a new engine for a run that lives on."""
        path = self.path_for(run_id)
        if os.path.lexists(path):
            os.unlink(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_NONBLOCK", 0))
        sock.setblocking(False)
        sock.bind(path)
        os.chmod(path, 0o600)
        if uid is not None and uid != os.geteuid():
            os.chown(path, uid, -1)
        self._sockets[run_id] = sock
        asyncio.get_running_loop().add_reader(sock, self._read, run_id)

    def listen(self, run_id: str, listener: Callable[[dict[str, str]], None]) -> None:
        """Hear what the run says; what it said before is told at once."""
        self._listeners[run_id] = listener
        if run_id in self._ready:
            listener(self._ready[run_id])

    def close(self, run_id: str) -> None:
        """The run is over."""
        self._listeners.pop(run_id, None)
        self._ready.pop(run_id, None)
        sock = self._sockets.pop(run_id, None)
        if sock is not None:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
            path = self.path_for(run_id)
            if os.path.lexists(path):
                os.unlink(path)

    def _read(self, run_id: str) -> None:
        sock = self._sockets[run_id]
        for _ in range(MAX_BURST):
            try:
                raw = sock.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return
            lines = raw.decode("utf-8", "replace").splitlines()
            said = dict(line.split("=", 1) for line in lines if "=" in line)
            if said.get("READY") == "1":
                self._ready[run_id] = said
            listener = self._listeners.get(run_id)
            if listener is not None:
                listener(said)
