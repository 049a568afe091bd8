"""The physical limit, as a program: posix_spawn, a pidfd, epoll, and nothing else.

    bare_loop.py spawn CONFIG         start every command, restart each one the moment it ends
    bare_loop.py splice CONFIG FILE   start one command, move its output from a 1 MiB pipe to FILE by splice
    bare_loop.py copy CONFIG FILE     the same by read and write of 256 kB

CONFIG: one command a line. No back-off, no control socket, no rotation, no record: no product could be this
small. It must stay free of anything that a supervisor needs.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys

F_SETPIPE_SZ = 1031
MIB = 1 << 20


def spawn(argv: list[str], out: int) -> int:
    """Start one command in a session of its own with /dev/null as stdin."""
    actions = [(os.POSIX_SPAWN_DUP2, NULL, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)]
    return os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True)


def keep_alive(commands: list[list[str]]) -> None:
    """Restart whatever ends, for ever."""
    poll = select.epoll()
    runs: dict[int, tuple[int, list[str]]] = {}

    def begin(argv: list[str]) -> None:
        pid = spawn(argv, NULL)
        fd = os.pidfd_open(pid)
        runs[fd] = (pid, argv)
        pids.add(pid)
        poll.register(fd, select.EPOLLIN)

    for argv in commands:
        begin(argv)
    while True:
        for fd, _ in poll.poll():
            pid, argv = runs.pop(fd)
            os.waitpid(pid, 0)
            pids.discard(pid)
            os.close(fd)
            begin(argv)


def pump(argv: list[str], target: str, by_splice: bool) -> None:
    """One command's output into one file until it ends."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, MIB)
    file = os.open(target, os.O_WRONLY | os.O_CREAT, 0o600)
    pids.add(spawn(argv, writer))
    os.close(writer)
    if by_splice:
        while os.splice(reader, file, MIB):
            pass
    else:
        while data := os.read(reader, 256 << 10):
            os.write(file, data)


def leave(*_: object) -> None:
    """TERM: end the children, then ourselves."""
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    os._exit(0)


NULL = os.open("/dev/null", os.O_RDWR)
pids: set[int] = set()
signal.signal(signal.SIGTERM, leave)
with open(sys.argv[2]) as lines:
    config = [line.split() for line in lines]
if sys.argv[1] == "spawn":
    keep_alive(config)
else:
    pump(config[0], sys.argv[3], sys.argv[1] == "splice")
