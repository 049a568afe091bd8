"""Start one program: descriptors, gate, terminal, identity; on failure nothing is left over.

Decides nothing about when or why. Children get every signal at its default, an empty mask, the umask and
the file limit the keeper itself was started with. The parent waits until exec (vfork): a cwd on a dead
network mount stalls it, as it would any supervisor that does not copy its own memory first.
Tests: tests/system/test_keeper_spawn.py.
"""

from __future__ import annotations

import errno
import os
import resource
import sys

from midwatch.keeper.constants import GATE_FD

try:
    # The C function below subprocess.Popen. [M] importing subprocess costs 0.9 MB of RssAnon on top of the
    # rest of the keeper (4.5 against 3.6 MB), and Popen 45 us a spawn. Python 3.14 dropped the last argument.
    from _posixsubprocess import fork_exec as _fork_exec
except ImportError:  # pragma: no cover
    _fork_exec = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)
READ_GATE = f"read midwatch_gate <&{GATE_FD} || exit 125; exec {GATE_FD}<&-; "
TAKE_TERMINAL = 'exec 8<>"$0" 8>&-; '  # a session leader without a terminal gets the one it opens first


class SpawnError(Exception):
    """A start that failed: errno's name, the phase (prepare, fork, exec) and words."""

    def __init__(self, number: int, phase: str, words: str = "") -> None:
        super().__init__(words or os.strerror(number))
        self.errno, self.phase = errno.errorcode.get(number, str(number)), phase


def raise_file_limit() -> None:
    """Take the hard limit for ourselves: two descriptors a stream outgrow 1024 at about 500 services."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILE_LIMIT[1], FILE_LIMIT[1]))


def start(argv: list[str], exe: str | None, env: dict[str, str], stdio: tuple[int, int, int], *,
          keep: tuple[int, ...] = (), cwd: str | None = None, session: bool = True, group: int = -1,
          umask: int = -1, ids: tuple[int | None, int | None, list[int] | None] = (None, None, None)) -> int:
    """Fork and exec; return the pid. The child keeps `keep` (sorted) and stdio (-1 = ours), nothing else."""
    if exe or "/" in argv[0]:
        paths = [os.fsencode(exe or argv[0])]
    else:
        paths = [os.path.join(os.fsencode(d), os.fsencode(argv[0])) for d in os.get_exec_path(env)]
    pairs = [os.fsencode(k) + b"=" + os.fsencode(v) for k, v in env.items()]
    told, tell = os.pipe()
    try:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, FILE_LIMIT)  # for the child; vfork inherits it
            pid = _call(argv, paths, (*sorted(keep), tell), cwd, pairs, stdio, (told, tell), session, group, ids, umask)
        except OSError as e:
            raise SpawnError(e.errno or errno.EIO, "fork") from None
        finally:
            raise_file_limit()
            os.close(tell)
        report = os.read(told, 50000)  # empty as soon as exec closed the other end
    finally:
        os.close(told)
    if report:  # b"OSError:<errno in hex>:<where>"
        os.waitpid(pid, 0)
        kind, number, where = [*report.split(b":", 2), b"", b""][:3]
        code = int(number, 16) if kind == b"OSError" else errno.EIO
        raise SpawnError(code, "prepare" if where.startswith(b"noexec") else "exec")
    return pid


def _call(argv: list[str], paths: list[bytes], keep: tuple[int, ...], cwd: str | None, env: list[bytes],
          stdio: tuple[int, int, int], report: tuple[int, int], session: bool, group: int,
          ids: tuple[int | None, int | None, list[int] | None], umask: int) -> int:
    uid, gid, groups = ids
    args: list[Any] = [argv, paths, True, tuple(sorted(keep)), cwd, env, stdio[0], -1, -1, stdio[1], -1, stdio[2],
                       *report, True, session, group, gid, groups, uid, umask, None]
    if sys.version_info < (3, 14):
        args.append(True)
    return _fork_exec(*args)


def behind(argv: list[str], exe: str | None, env: dict[str, str], gate: bool, tty: str | None) -> list[str]:
    """Return the argv that waits at a gate and takes a terminal, in a shell, before it becomes `argv`.

    argv[0] becomes the path. A shell drops environment names that are not identifiers, so env(1) puts them back.
    """
    path = exe or argv[0]
    if "/" in path and not os.access(path, os.X_OK):  # said now, not with the shell's 126 or 127 later
        raise SpawnError(errno.EACCES if os.path.exists(path) else errno.ENOENT, "exec")
    odd = [f"{k}={v}" for k, v in env.items() if not (k.isascii() and k.isidentifier())]
    script = (TAKE_TERMINAL if tty else "") + (READ_GATE if gate else "") + 'exec "$@"'
    return ["/bin/sh", "-c", script, tty or "midwatch-gate", *(["env", *odd] if odd else []), path, *argv[1:]]


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat, the half of an identity that a pid lacks; 0 where there is no /proc."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(os.read(fd, 4096).rpartition(b")")[2].split()[19])
    finally:
        os.close(fd)
