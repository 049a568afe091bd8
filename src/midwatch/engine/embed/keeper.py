"""Starts the keeper from inside somebody else's program, which may have threads, signal handlers and children.

posix_spawn: no fork of a threaded process, and descriptors reach the child by number without ever being inheritable
in the host. The keeper gets a session of its own (a terminal's Ctrl-C is the host's business) and the instance's lock,
so the lock outlives a host that is killed until nothing of its services is left. Must not know services.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from midwatch.engine.keeperlink import KeeperLink
from midwatch.engine.launch import _here, _lean_environment, _lean_python
from midwatch.engine.layout import Layout
from midwatch.policy import defaults
from midwatch.record.files import write_fresh

LINK, LOCK, PLAN = 3, 4, "keeper.json"
CLEAR = 64  # descriptors are first moved above this, so that none is in another's place
# The attribute of a subreaper is a process's own and survives exec: set in between, the host does not become one. And
# what the host has open for its children (a listening socket, a pipe somebody waits for the end of) is none of ours.
PREPARE = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); "
    "os.closerange(5, min(os.sysconf('SC_OPEN_MAX'), 1 << 20)); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)

Frames = Callable[[dict[str, Any]], None]


class KeeperPort(Protocol):
    """How a Supervisor gets a keeper; a test may play one."""

    async def open(self, layout: Layout, lock: int, frame: Frames, gone: Callable[[], None]) -> Any:
        """Start it and return the link (`send`, `ask`, `close`); its hello comes as the first frame."""

    async def ended(self) -> None:
        """Wait until it is gone, bounded."""


class HostLink(KeeperLink):
    """A daemon's engine that is silent for long is replaced; a host that stands still for a while (a debugger, a long
    call that keeps the interpreter) is not to lose its services for it. So the keeper gets no sign of life to miss."""

    def send(self, **frame: Any) -> None:
        """A frame that is not answered."""
        if frame["op"] != "alive":
            super().send(**frame)


class RealKeeper:
    """A keeper process, our child."""

    def __init__(self) -> None:
        self.pid = -1
        self.link = -1  # our end of the socket

    async def open(self, layout: Layout, lock: int, frame: Frames, gone: Callable[[], None]) -> HostLink:
        """See KeeperPort."""
        plan = layout.home / PLAN
        write_fresh(plan, msgspec.json.encode({"embedded": LINK, "engine": [], "env": {}}))
        ours, theirs = socket.socketpair()
        with theirs:
            self.pid = _spawn([theirs.fileno(), lock], str(plan))
        self.link = ours.detach()
        return await HostLink.connect(self.link, frame, gone)

    async def ended(self) -> None:
        """See KeeperPort. It may still be ending what the last engine left: its own seconds, then ours."""
        limit = time.monotonic() + defaults.KEEPER_GOODBYE
        while self.pid > 0:
            try:
                if os.waitpid(self.pid, os.WNOHANG)[0]:  # noqa: ASYNC222  it does not wait
                    break
            except ChildProcessError:
                break  # the host waits for any child, or ignores SIGCHLD
            if time.monotonic() > limit:
                os.kill(self.pid, signal.SIGKILL)  # our unreaped child: the number is ours
                limit = float("inf")
            await asyncio.sleep(0.005)
        self.pid = -1


def _spawn(passed: list[int], plan: str) -> int:
    lean = _lean_python()
    keeper = [*lean, str(_here() / "keeper" / "__main__.py"), plan]
    argv = [*lean, "-c", PREPARE, *keeper[1:]] if sys.platform == "linux" else keeper
    held = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, CLEAR) for fd in passed]
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    actions: list[Any] = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, target) for fd, target in zip(held, (LINK, LOCK), strict=True)]
    try:
        return os.posix_spawn(
            argv[0], argv, _lean_environment(), file_actions=actions, setsid=True, setsigmask=(),
            setsigdef=(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
        )  # fmt: skip
    finally:
        for fd in (*held, null):
            os.close(fd)
