"""An instance with real processes: the command line as a person types it, in a home of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.inspect.zoo import zoo as zoo  # noqa: PLC0414 (a fixture is found by its name here)

PATIENCE = 30.0  # seconds for anything to become true on a loaded machine; ends early


class Instance:
    """One MIDWATCH_HOME with a project folder in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "p"
        self.folder.mkdir()

    def cli(self, *arguments: str, timeout: float = 60.0, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `midwatch ARGUMENTS` in the project's folder."""
        return subprocess.run(
            [sys.executable, "-m", "midwatch", *arguments], cwd=self.folder, text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=timeout, check=False, **options,
        )  # fmt: skip

    def blind_up(self, **options: Any) -> subprocess.CompletedProcess[str]:
        """`up` as it is when another start is not visible yet: only the lock can stop it."""
        return subprocess.run(
            blind_up(), cwd=self.folder, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
            check=False, **options,
        )  # fmt: skip

    def ok(self, *arguments: str, **options: Any) -> str:
        """The same, and it has to end with 0."""
        done = self.cli(*arguments, **options)
        assert done.returncode == 0, f"midwatch {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def up(self, text: str, *arguments: str) -> None:
        """Write the project's configuration and put it into force."""
        (self.folder / "midwatch.toml").write_text(text)
        self.ok("up", "-d", *arguments)

    def ps(self) -> dict[str, Any]:
        """`ps --json`, the services by name."""
        answer: dict[str, Any] = json.loads(self.cli("ps", "--json").stdout)
        return {row["name"]: row for row in answer["services"]}

    def daemon(self) -> dict[str, Any]:
        """`ps --json`'s daemon; waits for an engine that the keeper is about to start."""

        def answer() -> Any:
            return json.loads(self.cli("ps", "--json").stdout).get("daemon")

        found: dict[str, Any] = wait_for(answer, "an engine answers")
        return found

    def until(self, met: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Wait for the services to be so."""
        deadline = time.monotonic() + PATIENCE
        while True:
            rows = self.ps()
            if met(rows):
                return rows
            assert time.monotonic() < deadline, f"waited in vain until {what}: {rows}"
            time.sleep(0.05)

    def journal(self, *events: str) -> list[dict[str, Any]]:
        """The journal's lines with these events, oldest first."""
        lines = []
        for path in sorted((self.home / "journal").glob("*.jsonl")):
            *whole, _ = path.read_text().split("\n")  # the last one may be half written at this moment
            for raw in whole:
                line = json.loads(raw)
                if not events or line["event"] in events:
                    lines.append(line)
        return lines

    def down(self) -> None:
        """End the daemon, whatever state it is in."""
        self.cli("down", "--all", "--now")


@pytest.fixture
def instance(home: Path) -> Iterator[Instance]:
    """A fresh instance; its daemon is ended afterwards."""
    made = Instance(home)
    yield made
    if (home / "lock").exists():
        made.down()


BLIND = (
    "import sys\nfrom midwatch.front.cli import jobs, main\njobs.daemon_or_none = lambda layout: None\n"
    "sys.exit(main.main(['up']))"
)


def blind_up() -> list[str]:
    """An `up` that sees no daemon: it goes for the lock, whoever answers. Its process becomes the daemon if it wins."""
    return [sys.executable, "-c", BLIND]


def alive(pid: int) -> bool:
    """Is there a process with this number that is not a zombie?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(pid: int) -> None:
    """SIGKILL to a process of this test."""
    os.kill(pid, signal.SIGKILL)


def wait_for(met: Callable[[], Any], what: str) -> Any:
    """Bounded waiting outside an instance."""
    deadline = time.monotonic() + PATIENCE
    while not (found := met()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)
    return found


def quiet(instance: Instance) -> str:
    """daemon.log, without a traceback."""
    text = (instance.home / "daemon.log").read_text()
    assert "Traceback" not in text, text
    return text
