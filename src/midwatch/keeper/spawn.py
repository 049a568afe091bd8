"""Start one run: pipes, files, gate, terminal, identity; a start that fails leaves nothing behind.
Children get default signals, an empty mask, and the umask and file limit the keeper was started with. The keeper waits
until exec (vfork; fork when the identity changes): a cwd on a dead network mount stalls it. Decides nothing about when.
"""

from __future__ import annotations

import errno
import os
import resource
import sys

# The C function below subprocess.Popen, same vfork. [M] subprocess would cost 0.97 MB of RssAnon and 15 us a spawn.
from _posixsubprocess import fork_exec

from midwatch.keeper.pump import NULL, Stream
from midwatch.keeper.wire import TYPE_CHECKING, Frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FILES, GATE = resource.RLIMIT_NOFILE, 9  # dash takes one digit in `<&N`, so the gate's number is reserved
LIMIT = resource.getrlimit(FILES)
TERMINAL = 'exec 8<>"$0" 8>&-; '  # a session leader gets the first terminal it opens
WAIT = f"read midwatch_gate <&{GATE} || exit 125; exec {GATE}<&-; "


class SpawnError(OSError):
    def __init__(self, number: int, phase: str, words: str = "") -> None:
        super().__init__(number, words or os.strerror(number))
        self.phase = phase


class Run:
    """One main process, until the engine has taken its status."""

    def __init__(self, ask: Frame, umask: int) -> None:
        self.run: str = ask["run"]
        self.streams: dict[str, Stream] = {}
        self.gate_fd = -1
        self.ended: Frame = {}
        fds: list[int] = []  # the child's; ours until it has them
        try:
            self.pid = self.launch(ask, umask, fds)
        except BaseException:
            for s in self.streams.values():
                s.close()
            if self.gate_fd >= 0:
                os.close(self.gate_fd)
            raise
        finally:
            for fd in fds:
                os.close(fd)
            os.dup2(NULL, GATE, inheritable=False)
        self.start, self.gate = start_time(self.pid), "closed" if ask.get("gate") else None

    def launch(self, ask: Frame, umask: int, fds: list[int]) -> int:
        argv, exe, env, tty = ask["argv"], ask.get("exe"), ask.get("env") or {}, ask.get("ctty")
        if tty:
            master, slave = os.openpty()
            fds.append(slave)
            os.set_blocking(master, False)
            if ask.get("uid") is not None:
                os.fchown(slave, ask["uid"], -1)
            self.streams["out"] = Stream(ask, "out", master)
        for name in () if tty else ask["streams"]:
            self.streams[name] = open_fifo(ask, name, new=True)
            fds.append(os.open(self.streams[name].fifo, os.O_RDWR | os.O_CLOEXEC))  # read-write: never a SIGPIPE
        if ask.get("gate"):
            held, self.gate_fd = os.pipe()
            os.dup2(held, GATE, inheritable=False)
            os.close(held)
        if tty or ask.get("gate"):  # a shell that waits and takes the terminal; argv[0] becomes the path
            path = exe or argv[0]
            if "/" in path and not os.access(path, os.X_OK):  # said now, not by the shell's 126 or 127
                raise SpawnError(errno.EACCES if os.path.exists(path) else errno.ENOENT, "exec")
            odd = [f"{k}={v}" for k, v in env.items() if not (k.isascii() and k.isidentifier())]  # sh drops these
            script = (TERMINAL if tty else "") + (WAIT if ask.get("gate") else "") + 'exec "$@"'
            name = os.ttyname(fds[0]) if tty else "midwatch-gate"
            argv, exe = ["/bin/sh", "-c", script, name, *(["env", *odd] if odd else []), path, *argv[1:]], None
        stdin = fds[0] if tty else -1 if ask.get("stdin") == "inherit" else NULL
        stdio = (stdin, fds[0], fds[-1]) if fds else (stdin, -1, -1)
        umask = umask if ask.get("umask") is None else ask["umask"]
        return start(argv, exe, env, stdio, (GATE,) if ask.get("gate") else (), ask.get("cwd"),
                     not ask.get("keep_group"), -1, umask, [ask.get(k) for k in ("uid", "gid", "groups")])

    def close_gate(self, opened: bool) -> None:
        """Let the waiting child go (a newline) or leave (end of file)."""
        fd, self.gate_fd = self.gate_fd, -1
        if fd < 0:
            raise OSError(errno.EALREADY, "the gate is not closed")
        try:
            if opened:
                self.gate = "open"
                os.write(fd, b"\n")
        finally:
            os.close(fd)

    def facts(self) -> Frame:
        streams = {k: {"log": s.log, "fifo": s.fifo, "drained": s.src < 0} for k, s in self.streams.items()}
        return {"run": self.run, "pid": self.pid, "start": self.start, "gate": self.gate, "streams": streams,
                "status": None, "ended_at": None, **self.ended}


def open_fifo(ask: Frame, name: str, *, new: bool) -> Stream:
    fifo, src = ask["streams"][name]["fifo"], -1
    if new:
        os.mkfifo(fifo, 0o600)
    try:
        src = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        if new and ask.get("uid") is not None:
            os.fchown(src, ask["uid"], -1)  # nginx reopens /dev/stdout
        return Stream(ask, name, src, fifo)
    except OSError:
        if src >= 0:
            os.close(src)
        if new:
            os.unlink(fifo)
        raise


def start(argv: list[str], exe: str | None, env: dict[str, str], stdio: tuple[int, int, int],
          keep: tuple[int, ...] = (), cwd: str | None = None, session: bool = True, group: int = -1,
          umask: int = -1, ids: Sequence[Any] = (None, None, None)) -> int:
    """Fork and exec; the child has `keep` and stdio (-1 = ours) and no other descriptor."""
    where = [""] if exe or "/" in argv[0] else os.get_exec_path(env)
    paths = [os.fsencode(os.path.join(d, exe or argv[0])) for d in where]
    pairs = [os.fsencode(f"{k}={v}") for k, v in env.items()]
    told, tell = os.pipe()
    order: list[Any] = [argv, paths, True, tuple(sorted((*keep, tell))), cwd, pairs, stdio[0], -1, -1, stdio[1], -1,
                        stdio[2], told, tell, True, session, group, ids[1], ids[2], ids[0], umask, None]
    try:
        resource.setrlimit(FILES, LIMIT)  # the child's, by inheritance
        pid = fork_exec(*order, *((True,) if sys.version_info < (3, 14) else ()))
    except OSError as e:
        os.close(told)
        raise SpawnError(e.errno or errno.EIO, "fork") from None
    finally:
        resource.setrlimit(FILES, (LIMIT[1], LIMIT[1]))  # two descriptors a stream: 1024 is not enough for us
        os.close(tell)
    report = os.read(told, 50000)  # b"OSError:<errno in hex>:<where>", or nothing once exec closed it
    os.close(told)
    if report:
        os.waitpid(pid, 0)
        kind, number, phase = [*report.split(b":", 2), b"", b""][:3]
        raise SpawnError(int(number, 16) if kind == b"OSError" else errno.EIO, "prepare" if phase else "exec")
    return pid


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat: what a pid lacks to be an identity; 0 where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb", 0) as f:
            return int(f.read(4096).rpartition(b")")[2].split()[19])
    except OSError:
        return 0
