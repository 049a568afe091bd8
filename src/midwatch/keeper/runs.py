"""One run: its pipes and files, its gate, its pid, and in the end its wait status.

Builds everything a child needs and takes all of it back when the start fails. Does not decide when to start.
Tests: tests/system/test_keeper_spawn.py.
"""

from __future__ import annotations

import errno
import os

from midwatch.keeper import spawn
from midwatch.keeper.constants import GATE_FD
from midwatch.keeper.pump import NULL, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Run:
    """One main process, until the engine has taken its status."""

    __slots__ = ("ended", "gate", "gate_fd", "pid", "run", "start", "streams")

    def __init__(self, run: str, pid: int, gate_fd: int, streams: dict[str, Stream]) -> None:
        self.run, self.pid, self.gate_fd, self.streams = run, pid, gate_fd, streams
        self.start = spawn.start_time(pid)
        self.gate = "closed" if gate_fd >= 0 else None
        self.ended: dict[str, Any] = {}

    def close_gate(self, opened: bool) -> None:
        """Let the waiting child go (a newline) or leave (end of file)."""
        if self.gate_fd < 0:
            raise OSError(errno.EALREADY, "the gate is not closed")
        fd, self.gate_fd, self.gate = self.gate_fd, -1, "open" if opened else self.gate
        try:
            if opened:
                os.write(fd, b"\n")
        finally:
            os.close(fd)

    def facts(self) -> dict[str, Any]:
        """What a new engine must know."""
        streams = {k: {"log": s.log, "fifo": s.fifo, "drained": s.src < 0} for k, s in self.streams.items()}
        return {"run": self.run, "pid": self.pid, "start": self.start, "gate": self.gate, "streams": streams,
                "status": None, "ended_at": None, **self.ended}


def open_streams(ask: dict[str, Any], *, new: bool = True) -> dict[str, Stream]:
    """Make (or find again) the FIFOs and open them and their files; all or nothing."""
    made: dict[str, Stream] = {}
    try:
        for name, s in ask["streams"].items():
            if new:
                os.mkfifo(s["fifo"], 0o600)
            src = -1
            try:
                src = os.open(s["fifo"], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
                if new and ask.get("uid") is not None:
                    os.fchown(src, ask["uid"], -1)  # nginx reopens /dev/stdout
                made[name] = Stream(ask["run"], name, src, s["fifo"], s["log"], s.get("limit"))
            except OSError:
                if src >= 0:
                    os.close(src)
                if new:
                    os.unlink(s["fifo"])
                raise
    except OSError:
        drop(made, new)
        raise
    return made


def drop(streams: dict[str, Stream], new: bool = True) -> None:
    """Undo open_streams: an empty file of ours goes too."""
    for s in streams.values():
        if not new:
            s.fifo = ""
        elif s.offset == 0:
            os.unlink(s.log)
        s.close()


def launch(ask: dict[str, Any], umask: int) -> Run:
    """Start what `ask` describes; SpawnError or OSError leaves nothing behind."""
    fds: list[int] = []  # ours only until the child has them
    streams: dict[str, Stream] = {}
    gate_fd = -1
    try:
        try:
            tty = open_tty(ask, fds, streams) if ask.get("ctty") else None
            if not tty:
                streams = open_streams(ask)
                fds += [os.open(s.fifo, os.O_RDWR | os.O_CLOEXEC) for s in streams.values()]
            if ask.get("gate"):
                held, gate_fd = os.pipe()
                os.dup2(held, GATE_FD, inheritable=False)
                os.close(held)
        except OSError as e:
            raise spawn.SpawnError(e.errno or errno.EIO, "prepare", str(e)) from None
        argv, exe, env = ask["argv"], ask.get("exe"), ask.get("env") or {}
        if ask.get("gate") or tty:
            argv, exe = spawn.behind(argv, exe, env, bool(ask.get("gate")), tty), None
        stdin = fds[0] if tty else -1 if ask.get("stdin") == "inherit" else NULL
        out = fds[0] if fds else -1
        pid = spawn.start(argv, exe, env, (stdin, out, fds[1] if len(fds) > 1 else out),
                          keep=(GATE_FD,) if ask.get("gate") else (), cwd=ask.get("cwd"),
                          session=not ask.get("keep_group"), umask=umask if ask.get("umask") is None else ask["umask"],
                          ids=(ask.get("uid"), ask.get("gid"), ask.get("groups")))
    except BaseException:
        drop(streams)
        if gate_fd >= 0:
            os.close(gate_fd)
        raise
    finally:
        for fd in fds:
            os.close(fd)
        os.dup2(NULL, GATE_FD, inheritable=False)
    return Run(ask["run"], pid, gate_fd, streams)


def open_tty(ask: dict[str, Any], fds: list[int], streams: dict[str, Stream]) -> str:
    """Give the child a terminal whose other end is pumped like a FIFO, but by copying."""
    master, slave = os.openpty()
    fds.append(slave)
    try:
        os.set_blocking(master, False)
        name = os.ttyname(slave)
        if ask.get("uid") is not None:
            os.fchown(slave, ask["uid"], -1)
        s = ask["streams"]["out"]
        streams["out"] = Stream(ask["run"], "out", master, "", s["log"], s.get("limit"))
    except OSError:
        os.close(master)
        raise
    return name
