"""Start one run: its output's FIFOs or terminal, its gate, its identity; a start that fails leaves nothing behind.

Children get default signals, an empty mask and the file limit the keeper was started with. The keeper waits until exec
(vfork; fork when the identity changes): a cwd on a dead network mount stalls it. Below is the C function that
subprocess.Popen uses; [M] subprocess itself would cost 0.97 MB of RssAnon and 15 us a spawn. Must not look up programs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import sys
from _posixsubprocess import fork_exec

from midwatch.keeper.pump import NULL, Stream
from midwatch.keeper.wire import Frame

GATE, FIRST, SOCKETS = 9, 3, 5  # dash takes one digit in `<&N`, and sockets are passed at 3, so these are reserved
FILES, SPARE = resource.RLIMIT_NOFILE, 8  # SPARE: runs cannot use up what the next engine needs
LIMIT = resource.getrlimit(FILES)
MOST = max(LIMIT[0], min(LIMIT[1], 10240)), LIMIT[1]  # two descriptors a stream; macOS refuses more
OURS = MOST[0] - SPARE, LIMIT[1]
TERMINAL = 'exec 8<>"$0" 8>&-; '  # a session leader gets the first terminal it opens
LISTEN = "LISTEN_PID=$$; export LISTEN_PID; "
WAIT = f"read midwatch_gate <&{GATE} || exit 125; exec {GATE}<&-; "


class SpawnError(OSError):
    def __init__(self, number: int, phase: str) -> None:
        super().__init__(number, os.strerror(number))
        self.phase = phase


class Run:
    """One main process, until the engine has taken its status."""

    def __init__(self, run: str) -> None:
        self.run, self.pid, self.start = run, -1, 0
        self.streams: dict[str, Stream] = {}
        self.gate = -1  # our end of it, while the child waits; -2: it never opened
        self.watch = -1  # of one that need not be our child: its pidfd
        self.adopted = False
        self.ended: Frame = {}

    def spawn(self, ask: Frame, sockets: list[int]) -> None:
        """Start it; an error leaves nothing behind."""
        if len(sockets) > SOCKETS:
            raise OSError(errno.E2BIG, f"at most {SOCKETS} sockets can be passed")
        fds: list[int] = []  # the child's; ours until it has them
        try:
            for number, socket in enumerate(sockets, FIRST):
                os.dup2(socket, number, inheritable=False)
            self.pid = self.launch(ask, fds, len(sockets))
        except BaseException:
            self.release(opened=False)
            for stream in self.streams.values():
                stream.close()
            raise
        finally:
            for fd in fds:
                os.close(fd)
            for number in (GATE, *range(FIRST, FIRST + len(sockets))):
                os.dup2(NULL, number, inheritable=False)
        self.start = start_time(self.pid)

    def launch(self, ask: Frame, fds: list[int], sockets: int) -> int:
        argv, exe, env, terminal = ask["argv"], ask["exe"], ask["env"], ask["ctty"]
        for name in ask["streams"]:
            self.streams[name] = Stream(self.run, name, **ask["streams"][name])
            fds.append(self.streams[name].connect(terminal))
            if ask["uid"] is not None:
                os.fchown(fds[-1], ask["uid"], -1)  # nginx reopens /dev/stdout [M]
        if ask["gate"]:
            held, self.gate = os.pipe()
            os.dup2(held, GATE, inheritable=False)
            os.close(held)
        keep = (*((GATE,) if ask["gate"] else ()), *range(FIRST, FIRST + sockets))
        if sockets:
            env = {**env, "LISTEN_FDS": str(sockets), "LISTEN_FDNAMES": ":".join(ask["listen"])}
        if terminal or keep:  # a shell that takes the terminal and waits; argv[0] becomes the path
            odd = [f"{k}={v}" for k, v in env.items() if not (k.isascii() and k.isidentifier())]  # sh drops these
            script = (TERMINAL if terminal else "") + (WAIT if ask["gate"] else "")
            script += (LISTEN if sockets else "") + 'exec "$@"'
            name = os.ttyname(fds[0]) if terminal else "midwatch-gate"
            argv = ["/bin/sh", "-c", script, name, *(["/usr/bin/env", *odd] if odd else []), exe, *argv[1:]]
            exe = "/bin/sh"
        stdin = fds[0] if terminal else -1 if ask["stdin"] == "inherit" else NULL
        return start(argv, exe, env, (stdin, fds[0], fds[-1]), keep=keep, cwd=ask["cwd"],
                     session=not ask["keep_group"], umask=-1 if ask["umask"] is None else ask["umask"],
                     ids=(ask["gid"], ask["groups"], ask["uid"]))

    def release(self, *, opened: bool) -> None:
        """Let the waiting child go (a newline) or leave (end of file)."""
        gate, self.gate = self.gate, -1 if opened or self.gate == -1 else -2
        try:
            if opened:
                os.write(gate, b"\n")  # EBADF when nobody waits
        finally:
            if gate >= 0:
                os.close(gate)

    def facts(self) -> Frame:
        streams = {name: {"log": s.log, "fifo": s.fifo, "drained": s.src < 0} for name, s in self.streams.items()}
        return {"run": self.run, "pid": self.pid, "start": self.start, "streams": streams, "adopted": self.adopted,
                "gate": {-2: "shut", -1: None}.get(self.gate, "closed"), "status": None, "ended_at": None, **self.ended}


def start(argv: list[str], exe: str, env: dict[str, str], stdio: tuple[int, int, int], *, keep: tuple[int, ...],
          cwd: str | None = None, session: bool = False, group: int = -1, umask: int = -1,
          ids: tuple[object, object, object] = (None, None, None)) -> int:
    """Fork and exec; the child has `keep` and stdio (-1 = ours) and no other descriptor. `ids`: gid, groups, uid."""
    pairs = [os.fsencode(f"{k}={v}") for k, v in env.items()]
    told, tell = os.pipe()
    kept = tuple(sorted((tell, *keep)))
    fds = (stdio[0], -1, -1, stdio[1], -1, stdio[2], told, tell)
    more = (True,) if sys.version_info < (3, 14) else ()  # may vfork
    try:
        resource.setrlimit(FILES, LIMIT)  # the child's, by inheritance
        pid: int = fork_exec(
            argv, [os.fsencode(exe)], True, kept, cwd, pairs, *fds, True, session, group, *ids, umask, None,  # type: ignore[arg-type]
            *more)
    except OSError as e:
        os.close(told)
        raise SpawnError(e.errno or errno.EIO, "fork") from None
    finally:
        resource.setrlimit(FILES, OURS)
        os.close(tell)
    report = os.read(told, 50000)  # b"OSError:<errno in hex>:<where>", or nothing once exec closed it
    os.close(told)
    if report:
        os.waitpid(pid, 0)
        _, number, where = report.split(b":", 2)
        raise SpawnError(int(number, 16), "prepare" if where else "exec")
    return pid


def reserve() -> dict[int, int]:
    """Before anything else can get these numbers. What we inherited there, the instance's lock perhaps, moves and stays
    inheritable: it lives as long as we do, through re-execution. Returns who moved."""
    moved = {}
    for number in (GATE, *range(FIRST, FIRST + SOCKETS)):
        try:
            if os.get_inheritable(number):
                moved[number] = fcntl.fcntl(number, fcntl.F_DUPFD, GATE + 1)
        except OSError:
            pass
        os.dup2(NULL, number, inheritable=False)
    return moved


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat: what a pid lacks to be an identity; 0 where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb", 0) as f:
            return int(f.read(4096).rpartition(b")")[2].split()[19])
    except OSError:
        return 0
