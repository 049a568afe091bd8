"""Real processes that look like leftovers, and real leftovers: started here, marked, and ended by pid and start.

Every animal carries ZOO=<mark> in its environment, so that a test looks at its own zoo only and nothing stays behind.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from midwatch.inspect.leftovers.find import find, why_not
from midwatch.inspect.ours import Ours
from midwatch.inspect.sources import Table
from midwatch.inspect.sources.live import Live
from midwatch.model.look import Leftover, Proc

SERVER = "import signal, time\nsignal.signal(signal.SIGHUP, lambda *_: None)\ntime.sleep(600)\n"
# Starts a command with the streams it is told to, says its pid, and holds the other ends until it is killed.
KEEPER = r"""
import json, os, pty, signal, socket, subprocess, sys, time
spec = json.loads(sys.argv[1])
kept = []
def stream(kind, reading):
    if kind == "pipe":
        ours, theirs = os.pipe()
        if reading:
            ours, theirs = theirs, ours
        kept.append(ours)
        return theirs
    if kind == "socket":
        ours, theirs = socket.socketpair()
        kept.extend((ours, theirs))
        return theirs.fileno()
    if kind == "pty":
        return slave
    if kind == "null":
        return os.open(os.devnull, os.O_RDWR)
    if kind.startswith("/dev/fd/"):
        return int(kind[8:])
    return os.open(kind, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOCTTY, 0o600)
slave = -1
if "pty" in spec["streams"]:
    master, slave = pty.openpty()
    kept.append(master)
fds = [stream(kind, n == 0) for n, kind in enumerate(spec["streams"])]
def before():
    signal.signal(signal.SIGHUP, signal.SIG_IGN if spec["nohup"] else signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
child = subprocess.Popen(spec["argv"], executable=spec["exe"], stdin=fds[0], stdout=fds[1], stderr=fds[2],
                         start_new_session=spec["setsid"], preexec_fn=before, env={**os.environ, **spec["env"]},
                         pass_fds=tuple(spec["pass"]), user=spec.get("user"))
for fd in set(fds):
    os.close(fd)
for one in kept:
    if isinstance(one, socket.socket) and one.fileno() in fds:
        one.detach()
print(child.pid, flush=True)
while True:
    time.sleep(600)
"""


class Scoped(Live):
    """This machine, of which only one zoo, the first process, the kernel and whoever runs the test are seen."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self._mark = f"ZOO={mark}".encode()

    def table(self) -> Table:
        whole = super().table()
        kept = {
            pid: proc
            for pid, proc in whole.procs.items()
            if pid == 1 or not proc.argv or pid in _above() or self._is_mine(proc, whole.at)
        }
        return Table(kept, whole.at, whole.hidden)

    def _is_mine(self, proc: Proc, now: float) -> bool:
        key = (self._mark, proc.pid, proc.start)
        if key not in _SEEN:
            try:
                mine = self._mark in Path(f"/proc/{proc.pid}/environ").read_bytes().split(b"\0")
            except OSError:
                return False
            if not mine and now - proc.started < 5.0:
                return False  # in the middle of an exec it shows no environment
            _SEEN[key] = mine
        return _SEEN[key]


_SEEN: dict[tuple[bytes, int, int], bool] = {}


@cache
def _above() -> frozenset[int]:
    return frozenset({os.getpid(), *(parent.pid for parent in psutil.Process().parents())})


class Zoo:
    """Animals by name."""

    def __init__(self, folder: Path) -> None:
        self.mark = secrets.token_hex(8)
        self.folder = folder
        self.env = {**os.environ, "ZOO": self.mark}
        self.env.pop("MIDWATCH_RUN", None)
        self.pids: dict[str, int] = {}
        self.kept: list[socket.socket] = []
        self.fds: list[int] = []
        self._started: list[subprocess.Popen[Any]] = []
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.server = self.bin / "toy-mcp"
        self.server.write_text(SERVER)

    # -- starting
    def start(self, argv: list[str], **options: Any) -> subprocess.Popen[Any]:
        """A child of the test."""
        env = {**self.env, **options.pop("env", {})}
        child = subprocess.Popen(argv, env=env, **options)
        self._started.append(child)
        return child

    def held(
        self,
        name: str,
        argv: list[str] | None = None,
        streams: tuple[str, str, str] = ("pipe", "pipe", "pipe"),
        *,
        exe: str | None = None,
        setsid: bool = False,
        nohup: bool = False,
        env: dict[str, str] | None = None,
        keeper: tuple[str, ...] = (),
        options: dict[str, Any] | None = None,
        passed: tuple[int, ...] = (),
        user: int | None = None,
    ) -> subprocess.Popen[Any]:
        """An animal whose owner lives and holds the other ends of its streams; the owner is returned."""
        spec = {
            "argv": argv or [sys.executable, str(self.server)], "exe": exe, "streams": streams, "setsid": setsid,
            "nohup": nohup, "env": env or {}, "subreaper": False, "pass": passed, "user": user,
        }  # fmt: skip
        owner = self.start(
            [*keeper, sys.executable, "-c", KEEPER, json.dumps(spec)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
            start_new_session=True, **(options or {}),
        )  # fmt: skip
        assert owner.stdout is not None
        self.pids[name] = int(owner.stdout.readline())
        return owner

    def orphan(self, name: str, argv: list[str] | None = None, streams: tuple[str, str, str] = ("pipe", "pipe", "pipe"),
               **options: Any) -> int:  # fmt: skip
        """An animal whose owner was killed."""
        owner = self.held(name, argv, streams, **options)
        self.settle(name)
        owner.kill()
        owner.wait()
        owner.stdout.close()  # type: ignore[union-attr]
        return self.pids[name]

    def named(self, *words: str) -> dict[str, Any]:
        """argv and exe of a shell that calls itself otherwise and sleeps: for programs that are not installed."""
        return {"argv": [words[0], "-c", "trap : HUP; sleep 600; :", *words[1:]], "exe": "/bin/sh"}

    def settle(self, name: str) -> None:
        """Wait until it runs its own program (a python toy: until its handlers stand)."""
        pid = self.pids[name]

        def runs() -> bool:
            status = Path(f"/proc/{pid}/status").read_text()
            caught = int(
                next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16
            )
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            return b"import json, os, pty" not in words and (
                words.split(b"\0")[1:2] != [bytes(self.server)] or bool(caught & 1)
            )

        until(runs, f"{name} has started")

    # -- looking
    def find(self, ours: Ours | None = None, young: float = 0.0) -> list[Leftover]:
        """What the finder says of this zoo."""
        sources = Scoped(self.mark)
        return find(sources, sources.table(), ours or Ours(), young=young)

    def why_not(self, name: str, ours: Ours | None = None, young: float = 0.0) -> str:
        """Why an animal is no leftover."""
        sources = Scoped(self.mark)
        return why_not(sources, sources.table(), ours or Ours(), self.pids[name], young=young)

    def close(self) -> None:
        """End every animal."""
        for link in self.kept:
            link.close()
        for fd in self.fds:
            os.close(fd)
        for child in self._started:
            if child.poll() is None:
                child.kill()
            child.wait()
            for end in (child.stdin, child.stdout):
                if end is not None:
                    end.close()
        for _ in range(20):
            left = [one for one in psutil.process_iter() if self._mine(one)]
            if not left:
                return
            for one in left:
                try:
                    one.send_signal(signal.SIGKILL)
                except psutil.Error:
                    continue
            time.sleep(0.05)

    def _mine(self, one: psutil.Process) -> bool:
        try:
            return one.status() != psutil.STATUS_ZOMBIE and one.environ().get("ZOO") == self.mark
        except psutil.Error:
            return False


def until(met: Any, what: str, seconds: float = 20.0) -> Any:
    """Bounded waiting."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found := met():
                return found
        except OSError:
            pass
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.01)


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[Zoo]:
    """A zoo of this test alone. For conftest.py files: `from tests.inspect.zoo import zoo as zoo`."""
    made = Zoo(tmp_path)
    yield made
    made.close()
