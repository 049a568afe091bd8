"""Hosts of an embedded Supervisor as programs of their own, and what is left of them. Must not know a scenario."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from tests.system.conftest import PATIENCE, alive, wait_for

import midwatch
from midwatch.engine.layout import Layout

# Ignores the polite signal and has a child in another session: what a careless end would leave.
STUBBORN = textwrap.dedent(
    """
    import os, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if len(sys.argv) == 1:
        subprocess.Popen([sys.executable, __file__, "child"], start_new_session=True)
    print(os.getpid(), flush=True)
    time.sleep(300)
    """
)
HOST = textwrap.dedent(
    """
    import asyncio, os, signal, sys, threading, time
    import midwatch
    HOME, WORKER = sys.argv[1:3]
    SERVICES = {"w": {"command": [sys.executable, WORKER], "stop": {"grace": "500ms"}}}
    def make(**more):
        return midwatch.Supervisor(home=HOME, services=SERVICES, **more)
    def say(*words):  # in one write: a fork may speak at the same time
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())
    """
)


class Program:
    """One host program and what it says."""

    def __init__(self, home: Path, body: str) -> None:
        self.home = home
        worker = home / "worker.py"
        worker.write_text(STUBBORN)
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOST + textwrap.dedent(body), str(home), str(worker)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def until(self, word: str) -> str:
        """Read on to the line that begins so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line
        raise AssertionError(f"it ended without saying {word}: {self.end()}")

    def end(self) -> tuple[int, str]:
        """Its exit code and stderr."""
        _, words = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, words


def ours(home: Path) -> list[int]:
    """Everything that bears a marker of this home's instance, and its keeper."""
    marker = f"MIDWATCH_RUN={Layout.for_home(home).instance}:".encode()
    plan = str(home / "keeper.json").encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and alive(int(entry.name)):
            with contextlib.suppress(OSError):
                if marker in (entry / "environ").read_bytes() or plan in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def nothing_left(home: Path) -> None:
    """No process and no lock: the next one starts at once."""
    wait_for(lambda: not ours(home), "nothing of the tree is left")
    with supervisor(home) as again:
        assert again.wait("w", timeout=PATIENCE)
        assert len(again.status()) == 1
    assert not ours(home)


def supervisor(home: Path, **more: Any) -> midwatch.Supervisor:
    services = {"w": {"command": [sys.executable, str(home / "worker.py")], "stop": {"grace": "500ms"}}}
    (home / "worker.py").write_text(STUBBORN)
    return midwatch.Supervisor(home=home, **{"services": services, **more})


def both_run(home: Path) -> list[int]:
    """The worker, its child and the keeper."""
    wait_for(lambda: len(ours(home)) >= 3, "worker, child and keeper run")
    return ours(home)
