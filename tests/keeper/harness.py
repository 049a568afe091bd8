"""A real keeper whose engine hands its socket to the test, so that the test speaks the protocol itself."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from midwatch.keeper.wire import decode, encode

ENTRY = Path(__file__).parents[2] / "src" / "midwatch" / "keeper" / "__main__.py"
PATIENCE = 30.0
ENGINE = """
import os, socket, sys
fd = int(os.environ["MIDWATCH_KEEPER_FD"])
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
socket.send_fds(s, [b"%d" % os.getpid()], [fd])
os.close(fd)
sys.exit(len(s.recv(100)))
"""
# What the launcher does before it becomes the keeper: orphans fall to it.
SUBREAPER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
Frame = dict[str, Any]


def command(folder: Path, engine: list[str], more: Frame | None = None, wrap: list[str] | None = None) -> list[str]:
    """A keeper's command line, with its plan in the folder."""
    plan = folder / "plan.json"
    plan.write_text(json.dumps({"engine": engine, "env": dict(os.environ), **(more or {})}))
    lean = [sys.executable, "-I", "-S"]
    return [*lean, "-c", SUBREAPER, *(wrap or []), *lean, "-OO", str(ENTRY), str(plan)]


class Keeper:
    """Start it, talk to it, and be sure that it and its children are gone afterwards."""

    def __init__(self, folder: Path, plan: Frame | None = None, wrap: list[str] | None = None, **popen: Any) -> None:
        self.folder = folder
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "s"))
        self.listener.listen(16)
        self.listener.settimeout(PATIENCE)
        script = folder / "engine.py"
        script.write_text(ENGINE)
        engine = [sys.executable, "-I", "-S", str(script), str(folder / "s")]
        self.process = subprocess.Popen(command(folder, engine, plan, wrap), **popen)
        self.link: socket.socket | None = None
        self.control: socket.socket | None = None
        self.engine_pid = 0
        self.frames: list[Frame] = []
        self.number = 0
        self.pids: set[int] = set()
        self.hello = self.meet()

    def meet(self) -> Frame:
        """Become the engine that the keeper has just started; return its hello."""
        for old in (self.link, self.control):
            if old is not None:
                old.close()
        self.control = self.listener.accept()[0]
        data, fds, _, _ = socket.recv_fds(self.control, 100, 1)
        self.engine_pid = int(data)
        self.link = socket.socket(fileno=fds[0])
        self.link.settimeout(PATIENCE)
        self.held = bytearray()
        self.frames = []
        hello = self.next(lambda f: f.get("ev") == "hello")
        assert hello["pid"] == self.process.pid
        return hello

    def table(self) -> list[Frame]:
        """The keeper's runs, as the next engine hears of them."""
        os.kill(self.engine_pid, signal.SIGKILL)
        runs: list[Frame] = self.meet()["runs"]
        return runs

    def send(self, **message: Any) -> None:
        assert self.link
        self.link.sendall(encode(message))

    def next(self, wanted: Callable[[Frame], bool]) -> Frame:
        """The next frame that is wanted; others wait their turn."""
        assert self.link
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for i, frame in enumerate(self.frames):
                if wanted(frame):
                    return self.frames.pop(i)
            piece = self.link.recv(1 << 16)
            assert piece, "the keeper closed the link"
            self.held += piece
            self.frames += decode(self.held)
        raise AssertionError(f"waited in vain; held: {self.frames}")

    def event(self, kind: str, run: str | None = None) -> Frame:
        return self.next(lambda f: f.get("ev") == kind and run in (None, f.get("run")))

    def quiet(self, seconds: float) -> None:
        """Collect frames for a while."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            assert self.link
            if select.select([self.link], [], [], left)[0]:
                self.held += self.link.recv(1 << 16)
                self.frames += decode(self.held)

    def ask(self, op: str, **message: Any) -> Frame:
        self.number += 1
        number = self.number
        self.send(op=op, id=number, **message)
        return self.next(lambda f: f.get("id") == number)

    def streams(self, run: str, *names: str, limit: int | None = None) -> dict[str, Frame]:
        return {
            n: {"fifo": str(self.folder / f"{run}.{n}"), "log": str(self.folder / f"{run}.{n}.0.log"), "limit": limit}
            for n in names
        }

    def spawn(self, run: str, argv: list[str], *names: str, limit: int | None = None, **more: Any) -> Frame:
        message: Frame = {
            "run": run, "argv": argv, "exe": shutil.which(argv[0]) or argv[0], "env": dict(os.environ),
            "cwd": None, "umask": None, "uid": None, "gid": None,
            "groups": None, "gate": False, "stdin": "null", "ctty": False, "keep_group": False,
            "streams": self.streams(run, *(names or ("out",)), limit=limit), **more,
        }  # fmt: skip
        answer = self.ask("spawn", **message)
        self.pids.add(answer.get("pid", 0))
        return answer

    def output(self, run: str, stream: str = "out") -> bytes:
        return b"".join(p.read_bytes() for p in self.files(run, stream))

    def files(self, run: str, stream: str = "out") -> list[Path]:
        found = self.folder.glob(f"{run}.{stream}.*.log")
        return sorted(found, key=lambda p: int(p.name.split(".")[-2]))

    def end(self, code: int = 0) -> int:
        """Ask for the end and return the exit code."""
        answer = self.ask("exit", code=code)
        assert answer.get("ok"), answer
        assert self.control
        self.control.close()
        return self.process.wait(PATIENCE)

    def cleanup(self) -> None:
        pids = self.pids - {0}
        self.process.kill()
        self.process.wait()
        for pid in pids:
            try:
                os.killpg(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        for s in (self.link, self.control, self.listener):
            if s is not None:
                s.close()


def until(met: Callable[[], Any], what: str) -> Any:
    """Wait for something to become true, bounded."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := met():
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited in vain until {what}")


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def start_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def gone(pid: int) -> bool:
    """Dead, perhaps a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
