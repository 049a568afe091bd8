"""The cast of the contract tests, run as a program of its own: a keeper (subreaper) and puppets that fork on
command.

One JSON object a line in, one out. `puppet.py keeper` spawns puppets, forwards lines to them and reaps;
`puppet.py puppet` makes children of every awkward kind. Standard library only; every loop is bounded,
everybody leaves by itself after two minutes.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

LIFE = 120


def serve(handlers: dict[str, Any]) -> None:
    """Answer lines until the other side is gone."""
    for line in sys.stdin:
        request = json.loads(line)
        answer = handlers[request.pop("do")](**request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class Keeper:
    """The parent of every run: reaps orphans at once, mains only on command."""

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        self.puppets: dict[int, subprocess.Popen[str]] = {}
        signal.signal(signal.SIGCHLD, lambda *_: self.orphans())

    def orphans(self) -> None:
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) not in self.puppets:
                try:
                    os.waitpid(int(name), os.WNOHANG)
                except OSError:
                    continue

    def spawn(self, env: dict[str, str], own_group: bool, out: str | None) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        stderr = os.open(out, os.O_RDWR) if out else None
        puppet = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, "puppet"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=env,
            start_new_session=own_group,
        )  # fmt: skip
        if stderr is not None:
            os.close(stderr)
        self.puppets[puppet.pid] = puppet
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        return puppet.pid

    def tell(self, pid: int, what: dict[str, Any]) -> Any:
        puppet = self.puppets[pid]
        assert puppet.stdin
        assert puppet.stdout
        puppet.stdin.write(json.dumps(what) + "\n")
        puppet.stdin.flush()
        return json.loads(puppet.stdout.readline() or "null")

    def whisper(self, pid: int, what: dict[str, Any]) -> None:
        """Tell it without waiting for an answer."""
        stdin = self.puppets[pid].stdin
        assert stdin
        stdin.write(json.dumps(what) + "\n")
        stdin.flush()

    def reap(self, pid: int) -> int | None:
        try:
            found, status = os.waitpid(pid, 0)
        except ChildProcessError:
            return None
        puppet = self.puppets.pop(pid)
        puppet.returncode = status
        for pipe in (puppet.stdin, puppet.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
        return status if found else None


class Puppet:
    """The main process of a run."""

    def __init__(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self.kept: list[Any] = []

    def child(self, new_session: bool, double: bool, clear_env: bool, ignore_term: bool, quiet: bool) -> int:
        """Fork a `sleep`: as asked in a new session, twice, without environment, deaf to TERM, without our
        output.
        """
        read, write = os.pipe()
        if os.fork() == 0:
            if new_session:
                os.setsid()
            if double and os.fork():
                os._exit(0)
            os.write(write, str(os.getpid()).encode())
            signal.signal(signal.SIGTERM, signal.SIG_IGN if ignore_term else signal.SIG_DFL)
            silence((0, 1, 2) if quiet else (0, 1))
            os.execve("/bin/sleep", ["sleep", str(LIFE)], {} if clear_env else dict(os.environ))
        os.close(write)
        pid = int(os.read(read, 20))
        os.close(read)
        if double:
            os.wait()
        return wait_exec(pid)

    def racer(self, generations: int) -> int:
        """A process that forks and leaves, again and again."""
        pid = os.fork()
        if pid == 0:
            silence((0, 1))
            for _ in range(generations):
                if os.fork():
                    os._exit(0)
                time.sleep(0.0005)
            os._exit(0)
        return pid

    def bomb(self, width: int) -> int:
        """A fork bomb that cannot hurt: a child is only made for a token, `width` are in the pipe, the killed take
        theirs along, and everybody leaves after ten seconds. Half of them open a session of their own.
        """
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.write(write, b"x" * width)
        pid = os.fork()
        if pid == 0:
            silence((0, 1))
            until = time.monotonic() + 10
            while time.monotonic() < until:
                try:
                    token = os.read(read, 1)
                except BlockingIOError:
                    token = b""
                if token and os.fork() == 0 and os.getpid() % 2:
                    os.setsid()
                elif not token and os.getpid() % 3 == 0:
                    os.write(write, b"x")
                    os._exit(0)  # makes room for the next one
                time.sleep(0.001)
            os._exit(0)
        return pid

    def headless(self) -> int:
        """The main thread leaves, another one stays: a zombie leader that lives."""
        import threading

        call = {"x86_64": 60, "aarch64": 93}[os.uname().machine]  # exit of one thread
        silence((0, 1))
        threading.Thread(target=ctypes.CDLL(None).sleep, args=(LIFE,)).start()
        ctypes.CDLL(None).syscall(call, 0)
        return 0

    def ignore(self) -> int:
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        return os.getpid()

    def grow(self, size: int) -> int:
        self.kept.append(bytearray(b"x") * size)
        return len(self.kept[-1])

    def map_file(self, path: str) -> int:
        import mmap

        with open(path, "rb") as file:
            self.kept.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        return sum(self.kept[-1][at] for at in range(0, len(self.kept[-1]), 4096))

    def listen(self, host: str) -> int:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.bind((host, 0))
        sock.listen()
        self.kept.append(sock)
        return int(sock.getsockname()[1])

    def heir(self, host: str) -> list[int]:
        """A launcher's work: a child in a session of its own listens; [its pid, the port]."""
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.bind((host, 0))
        sock.listen()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            silence((0, 1))
            time.sleep(LIFE)
            os._exit(0)
        port = int(sock.getsockname()[1])
        sock.close()
        return [pid, port]

    def fds(self, count: int) -> int:
        self.kept += [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
        return len(os.listdir("/proc/self/fd")) - 1

    def leave(self, code: int) -> None:
        os._exit(code)


def silence(fds: tuple[int, ...]) -> None:
    """Our pipes belong to the conversation with the keeper; stderr is the run's output."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in fds:
        os.dup2(null, fd)


def wait_exec(pid: int) -> int:
    """Until the child shows its new name: from then on its environment is the one it was given."""
    for _ in range(5000):
        try:
            with open(f"/proc/{pid}/comm") as file:
                if file.read().strip() == "sleep":
                    return pid
        except OSError:
            return pid
        time.sleep(0.001)
    return pid


if __name__ == "__main__":
    signal.alarm(LIFE)
    role: Any = Keeper() if sys.argv[1] == "keeper" else Puppet()
    serve({name: getattr(role, name) for name in dir(role) if not name.startswith("_")})
