"""The engine: its process, the socket to it, and the pause before the next one.

Frames wait here only while the engine is slow to read; one that has MAX_FRAME bytes unread is hung and is
killed: the hello of its successor says everything again, so nothing is lost by it. Knows nothing of runs.
Tests: tests/system/test_keeper_engine.py.
"""

from __future__ import annotations

import _socket
import os
import signal
import time

from midwatch.keeper import constants as c
from midwatch.keeper import spawn, wire
from midwatch.keeper.pump import NULL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Engine:
    """One engine after another."""

    def __init__(self, argv: list[str], env: dict[str, str], umask: int) -> None:
        self.argv, self.env, self.umask = argv, env, umask
        self.pid = self.fd = -1
        self.out, self.frames = bytearray(), wire.Frames()
        self.restarts, self.spoke, self.pause = -1, False, 0.0
        self.born = self.mute_since = 0.0
        self.due: float | None = 0.0  # when the next one starts
        self.spare: list[int] = []
        self.hold_spare()

    def hold_spare(self) -> None:
        """Keep what a start needs, so that children cannot use up the engine's descriptors."""
        try:
            while len(self.spare) < 4:
                self.spare.append(os.dup(NULL))
        except OSError:
            pass

    def start(self) -> bool:
        """Start one now; on failure the next try is due later."""
        self.due, self.born, self.mute_since = None, time.monotonic(), 0.0
        self.restarts += 1
        self.out, self.frames = bytearray(), wire.Frames()
        while self.spare:
            os.close(self.spare.pop())
        try:
            ours, theirs = (s.detach() for s in _socket.socketpair())
            os.set_blocking(ours, False)
            try:
                # A process group of its own: Ctrl-C at a terminal reaches it through us, once, as a frame.
                self.pid = spawn.start(self.argv, None, {**self.env, c.FD_VARIABLE: str(theirs)}, (NULL, -1, -1),
                                       keep=(theirs,), session=False, group=0, umask=self.umask)
            except BaseException:
                os.close(ours)
                raise
            finally:
                os.close(theirs)
        except (OSError, spawn.SpawnError) as e:
            os.write(2, f"midwatch: cannot start the engine {self.argv[0]}: {e}; trying again\n".encode())
            self.ended()
            return False
        finally:
            self.hold_spare()
        self.fd = ours
        return True

    def ended(self) -> None:
        """The engine is gone: note when the next one starts."""
        now = time.monotonic()
        self.hang_up()
        self.pid = -1
        young = now - self.born < c.ENGINE_YOUNG
        self.due = now + (self.pause if young else 0)
        self.pause = min(c.ENGINE_PAUSE_MAX, max(0.1, self.pause * 2)) if young else 0.0

    def hang_up(self) -> None:
        """Close the socket; whatever ends next is the engine itself."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
        self.mute_since = time.monotonic()

    def kill(self) -> None:
        """End a useless engine; SIGCHLD brings the rest."""
        self.hang_up()
        if self.pid > 0:
            os.kill(self.pid, signal.SIGKILL)

    def send(self, message: dict[str, Any]) -> None:
        """Send or hold one message; without an engine it is dropped, the next hello tells it."""
        if self.fd < 0:
            return
        self.out += wire.encode(message)
        self.flush()
        if len(self.out) > c.MAX_FRAME:
            self.kill()

    def flush(self) -> None:
        """Write what the socket takes."""
        try:
            while self.out:
                del self.out[:os.write(self.fd, self.out)]
        except BlockingIOError:
            pass
        except OSError:
            self.hang_up()

    def receive(self) -> list[dict[str, Any]]:
        """Read what is there; a broken stream means a broken engine."""
        try:
            piece = os.read(self.fd, 1 << 16)
            if not piece:
                self.hang_up()
                return []
            self.spoke = True
            return self.frames.feed(piece)
        except BlockingIOError:
            return []
        except (OSError, ValueError, RecursionError) as e:
            os.write(2, f"midwatch: the engine's frames make no sense ({e}); killing it\n".encode())
            self.kill()
            return []
