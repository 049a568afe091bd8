"""One engine process after another, or the host program we are embedded in, and the socket to it.

An engine is ended that leaves MAX_FRAME bytes unread, sends nonsense or, once any has sent `alive`, is silent for HANG
seconds in which we were awake: its successor's hello says everything again. Must not know what the frames mean.
"""

from __future__ import annotations

import _socket
import os
import resource
import signal
import time

from midwatch.keeper import wire
from midwatch.keeper.pump import NULL
from midwatch.keeper.spawn import FILES, MOST, start
from midwatch.keeper.wire import Frame

YOUNG = 10.0  # s; an engine that dies younger makes the pause before the next one grow, up to PAUSE_MAX, or
SERVED, MINUTE, PAUSE_SERVED, PAUSE_MAX = 3, 60.0, 1.0, 5.0  # if it had served: from the 4th in a minute, to 1 s
MUTE = 5.0  # s that an engine has to end itself when its socket is closed
HANG = 30.0  # s of silence of one that should say every 5 s that it lives; looked at three times in that time


class Engine:
    """The process, when the next one starts, and the bytes between us."""

    def __init__(self, config: Frame) -> None:
        self.argv, self.env = config["engine"] or [], config.get("env") or {}
        self.host: int | None = config.get("embedded")  # its descriptor, when we are part of another program
        self.hang: float = config.get("hang", HANG)
        self.link: _socket.socket | None = None
        self.out, self.held, self.spoke = bytearray(), bytearray(), False
        self.pid, self.code, self.starts = -1, 0, 0
        self.served = self.beats = self.hung = False  # this one made a request; any said `alive`; the last one hung
        self.born = self.pause = self.silent = 0.0
        self.deaths: list[float] = []  # of the last minute
        self.due: float | None = 0.0  # when the next one starts, or one without a link is killed

    def patience(self) -> int | None:
        """Milliseconds until something is due."""
        if self.due is None:
            return int(1000 * self.hang / 3) if self.beats and self.link else None
        return int(1000 * max(0.0, self.due - time.monotonic() + 0.001))

    def count(self, waited: float) -> None:
        """Count a silence; a wait that took longer than asked was not the engine's: all of us stood still."""
        self.silent += waited if waited < self.hang / 3 + 1 else 0
        if self.beats and self.link and self.host is None and self.silent >= self.hang:
            complain(f"the engine has said nothing for {self.silent:.0f} s: ending it")
            self.hang_up()
            self.hung, self.due = True, 0.0

    def attend(self) -> bool:
        """Do what is due; says whether there is a new engine."""
        if self.due is None or self.due > time.monotonic():
            return False
        self.due = None
        if self.pid > 0:
            os.kill(self.pid, signal.SIGKILL)
        else:
            self.start()
        return self.link is not None

    def start(self) -> None:
        self.starts, self.born, self.silent, self.served = self.starts + 1, time.monotonic(), 0.0, False
        self.out, self.held = bytearray(), bytearray()
        if self.host is not None:
            self.link = _socket.socket(fileno=self.host)
            self.link.setblocking(False)
            return
        try:  # a process group of its own: Ctrl-C at a terminal reaches it through us, once, as a frame
            resource.setrlimit(FILES, MOST)
            self.link, theirs = _socket.socketpair()
            self.link.setblocking(False)
            env = {**self.env, wire.FD_VARIABLE: str(theirs.fileno())}
            self.pid = start(self.argv, self.argv[0], env, (NULL, -1, -1), keep=(theirs.fileno(),), group=0)
            theirs.close()
        except OSError as e:  # `theirs` is closed with its last name
            complain(f"cannot start the engine {self.argv[0]}: {e.strerror}; trying again")
            self.ended(127)

    def succeed(self, pid: int, starts: int, spoke: bool) -> None:
        """After re-execution: the old engine's end is awaited, then its successor starts at once."""
        self.pid, self.starts, self.spoke, self.served = pid, starts, spoke, True
        self.due = time.monotonic() + (MUTE if pid > 0 else 0)

    def ended(self, code: int) -> None:
        """It is gone: note when the next one starts. At once, if it had lived or served; else later each time."""
        self.hang_up()
        now = time.monotonic()
        self.deaths = [*(at for at in self.deaths[-SERVED:] if now - at < MINUTE), now]
        if now - self.born >= YOUNG or (self.served and len(self.deaths) <= SERVED):
            self.pause = 0.0
        pause = min(self.pause, PAUSE_SERVED) if self.served else self.pause
        self.pid, self.code, self.due = -1, code, now + pause
        self.pause = min(PAUSE_MAX, max(0.1, self.pause * 2))

    def hang_up(self) -> None:
        """Close the socket: an engine without one ends itself, or is killed when it has not."""
        if self.link:
            self.link.close()
        self.link, self.due = None, None if self.host is not None else time.monotonic() + MUTE

    def send(self, message: Frame) -> None:
        """Send or hold it; without an engine it is dropped, the next hello tells it."""
        if self.link:
            self.out += wire.encode(message)
            self.flush()

    def flush(self) -> None:
        try:
            while self.link and self.out:
                del self.out[: self.link.send(self.out)]
        except BlockingIOError:
            if len(self.out) > wire.MAX_FRAME:
                self.hang_up()
        except OSError:
            self.hang_up()

    def receive(self) -> list[Frame]:
        try:
            if self.link and (piece := self.link.recv(1 << 16)):
                self.spoke, self.served, self.silent = True, True, 0.0
                self.held += piece
                return wire.decode(self.held)
        except OSError:
            pass  # it died with something unread
        except (ValueError, RecursionError) as e:
            complain(f"the engine's frames make no sense: {e}")
        self.hang_up()
        return []


def complain(words: str) -> None:
    """A full disk or a closed terminal behind our stderr is no reason to die."""
    try:
        os.write(2, f"midwatch: {words}\n".encode())
    except OSError:
        pass
