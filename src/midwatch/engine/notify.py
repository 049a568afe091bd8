"""NOTIFY_SOCKET for services: one datagram socket a run. READY, STATUS, WATCHDOG and STOPPING are understood.

The socket's path is the run's own, so a datagram can only be about that run; the kernel says who sent it, and a sender
who lives outside the run's tree is not heard. Descriptors that come along (FDSTORE, BARRIER) are closed. Must not
decide what ready means. Tests: tests/engine/test_liveness.py, tests/system/test_liveness.py.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from midwatch.model.identity import ProcId

if TYPE_CHECKING:
    from midwatch.engine.core import Engine

MAX_DATAGRAM = 4096  # bytes; longer ones are cut by the kernel
MAX_BURST = 32  # datagrams read in one turn, so that a babbling service cannot hold the loop
MAX_LOOKS = 4  # of them from senders that have to be looked for among the processes
MAX_SENDERS = 256  # processes of a run that are remembered
MAX_MICROSECONDS = 10**13  # of a time that a service names: four months, more is nonsense
MAX_STATUS = 200  # characters of STATUS= that are kept
_PASSCRED = getattr(socket, "SO_PASSCRED", None)
_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid
_ROOM = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(253 * 4)  # 253: the most that one message carries

Said = dict[str, str]
Heard = Callable[[Said], None]


class Ear:
    """One run's socket and what is known about it."""

    __slots__ = ("known", "listeners", "looks", "ready", "sock", "told")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.listeners: dict[str, Heard] = {}
        self.ready: Said | None = None
        self.known: dict[ProcId, bool] = {}  # sender -> of the run's tree?
        self.looks = 0  # for senders, in this turn
        self.told: set[str] = set()  # what was complained about


class NotifySockets:
    """All sockets of one engine. `listen` says who wants to hear about a run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ears: dict[str, Ear] = {}

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
        if _PASSCRED is not None:
            sock.setsockopt(socket.SOL_SOCKET, _PASSCRED, 1)
        sock.bind(path)
        os.chmod(path, 0o600)
        if uid is not None and uid != os.geteuid():
            os.chown(path, uid, -1)
        ear = self._ears.setdefault(run_id, Ear())
        ear.sock = sock
        asyncio.get_running_loop().add_reader(sock, self._read, run_id, ear)

    def listen(self, run_id: str, name: str, listener: Heard) -> None:
        """Hear what the run says; that it was ready before is told at once. One listener a name."""
        ear = self._ears.setdefault(run_id, Ear())
        ear.listeners[name] = listener
        if ear.ready is not None:
            listener(ear.ready)

    def unlisten(self, run_id: str, name: str) -> None:
        """Hear no more."""
        ear = self._ears.get(run_id)
        if ear is not None:
            ear.listeners.pop(name, None)

    def close(self, run_id: str) -> None:
        """The run is over."""
        ear = self._ears.pop(run_id, None)
        if ear is not None and ear.sock is not None:
            asyncio.get_running_loop().remove_reader(ear.sock)
            ear.sock.close()
            path = self.path_for(run_id)
            if os.path.lexists(path):
                os.unlink(path)

    def _read(self, run_id: str, ear: Ear) -> None:
        ear.looks = 0
        for _ in range(MAX_BURST):
            if ear.sock is None or ear.looks >= MAX_LOOKS or self._ears.get(run_id) is not ear:
                return
            try:
                raw, extra, _, _ = ear.sock.recvmsg(MAX_DATAGRAM, _ROOM)
            except BlockingIOError:
                return
            if self._may_speak(run_id, ear, _sender(extra)):
                self._hear(run_id, ear, _said(raw))

    def _may_speak(self, run_id: str, ear: Ear, sender: int | None) -> bool:
        """Is the sender of the run's tree? One that is gone already cannot be told from one that was: it is heard, the
        socket's permissions have let it through (`systemd-notify` in a shell script lives for a moment)."""
        run = self._engine.runs.get(run_id)
        if sender is None or run is None or run.tree is None or sender == run.tree.main.pid:
            return True
        machine = self._engine.machine
        proc = machine.identify(sender) if sender else None
        if sender and proc is None:
            return True
        if proc is not None and proc in ear.known:
            return ear.known[proc]
        ear.looks += 1
        belongs = proc is not None and proc in machine.members(run.tree)
        if not belongs and sender and machine.identify(sender) != proc:
            return True  # it went while we looked
        if len(ear.known) >= MAX_SENDERS:
            ear.known.clear()
        if proc is not None:
            ear.known[proc] = belongs
        if not belongs:
            words = f"process {sender} spoke on its NOTIFY_SOCKET and is none of its own: not heard"
            self._complain(run_id, ear, "sender", words)
        return belongs

    def _hear(self, run_id: str, ear: Ear, said: Said) -> None:
        run = self._engine.runs.get(run_id)
        if run is not None and "STATUS" in said:
            run.status = "".join(c if c.isprintable() else " " for c in said["STATUS"][:MAX_STATUS])
        if "MAINPID" in said and not (run and run.proc and said["MAINPID"] == str(run.proc.pid)):
            words = f"it says MAINPID={said['MAINPID'][:20]}; midwatch goes on to watch the process that it follows"
            self._complain(run_id, ear, "main", words)
        if said.get("READY") == "1":
            ear.ready = said
        for listener in list(ear.listeners.values()):
            listener(said)

    def _complain(self, run_id: str, ear: Ear, what: str, words: str) -> None:
        run = self._engine.runs.get(run_id)
        if run is not None and what not in ear.told:
            ear.told.add(what)
            self._engine.write("limit.warning", service=run.service, run=run_id, fields={"message": words})


def microseconds(text: str) -> float | None:
    """Seconds of a *_USEC field; None when there is none or it is nonsense."""
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        return None
    return int(text) / 1e6 if 0 < int(text) <= MAX_MICROSECONDS else None


def _said(raw: bytes) -> Said:
    lines = raw.decode("utf-8", "replace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _sender(extra: list[Any]) -> int | None:
    """The sender's pid as the kernel saw it; None where it does not say. Descriptors are closed."""
    found = None
    for level, kind, data in extra:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_RIGHTS:
            fds = array.array("i")
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
            for fd in fds:
                os.close(fd)
        elif kind == getattr(socket, "SCM_CREDENTIALS", None) and len(data) >= _CREDENTIALS.size:
            found = int(_CREDENTIALS.unpack_from(data)[0])
    return found
