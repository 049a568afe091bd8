"""One scene's stage: an instance of its own in a temporary folder, its commands, and its end without leftovers.

Everything goes through the command line in a child process. What the drill started bears the stage's folder in its
environment or command line, runs in it, or bears the instance's marker; only that is looked for and ended, by pid and
start time. Must not know what a scene breaks. Tests: tests/system/test_drill.py.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midwatch.config.environment import of_outer
from midwatch.engine.layout import Layout

if TYPE_CHECKING:
    import psutil

PATIENCE = 20.0  # seconds for one thing to become true; ends early
COMMAND = 30.0  # seconds one command may take
LAST_WAIT = 3.0  # seconds for what was ended to be gone
TOYS = Path(__file__).with_name("toys.py")
Row = dict[str, Any]
Line = dict[str, Any]


class Lost(Exception):
    """The scene was not survived: in words."""


class Missing(Exception):
    """The scene cannot be played here: in words."""


class Stage:
    """A temporary project in its own instance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.project = folder / "drill"
        for path in (self.home, self.project):
            path.mkdir(mode=0o700)
        # Whoever runs the drill is told nothing: a manager's variables would reach it through the scene's daemon.
        mine = {name: value for name, value in os.environ.items() if not of_outer(name)}
        self.env = {**mine, "MIDWATCH_HOME": str(self.home)}
        self._config = '[midwatch]\nproject = "drill"\n'
        self.facts: dict[str, Any] = {}  # what `--json` tells beside the words
        self.undo: list[Callable[[], object]] = []  # done at the end, newest first, before the folder is removed

    # -- the command line ------------------------------------------------------------------------------------------

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command in the project's folder."""
        return subprocess.run(
            [sys.executable, "-m", "midwatch", *words], cwd=self.project, env=self.env, text=True,
            capture_output=True, stdin=subprocess.DEVNULL, timeout=COMMAND, check=False, start_new_session=True,
        )  # fmt: skip

    def ok(self, *words: str) -> str:
        """One command that has to end with 0."""
        done = self.cli(*words)
        if done.returncode:
            raise Lost(f"'midwatch {words[0]}' ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def more(self, text: str) -> None:
        """One more service for the next `up`."""
        self._config += text

    def up(self, text: str = "") -> None:
        """Put these services into force. A key that this version does not know makes the scene unplayable."""
        self.more(text)
        (self.project / "midwatch.toml").write_text(self._config)
        done = self.cli("up", "-d", "--force")
        if done.returncode == 78 and "unknown key" in done.stderr:
            raise Missing(f"not available in this version: {done.stderr.strip().splitlines()[0]}")
        if done.returncode:
            raise Lost(f"'midwatch up' ended with {done.returncode}: {done.stderr.strip()}")

    def toy(self, kind: str, *words: object) -> str:
        """A toy's command as TOML."""
        return json.dumps([sys.executable, "-I", "-S", str(TOYS), kind, *map(str, words)])

    def ps(self) -> dict[str, Any]:
        """`ps --json`: the whole document."""
        try:
            found: dict[str, Any] = json.loads(self.cli("ps", "--json").stdout)
        except ValueError:
            return {"daemon": None, "services": []}
        return found

    def row(self, name: str) -> Row:
        """One service as it stands."""
        return next((row for row in self.ps()["services"] if row["name"] == name), {"state": "unknown", "pid": None})

    def events(self, *names: str, service: str = "") -> list[Line]:
        """The journal's lines of these events, oldest first."""
        lines = []
        for path in sorted((self.home / "journal").glob("*.jsonl")):
            for raw in path.read_bytes().splitlines():
                try:
                    line = json.loads(raw)
                except ValueError:
                    continue  # being written
                if line.get("event") in names and (not service or line.get("service") == f"drill/{service}"):
                    lines.append(line)
        return lines

    def until(self, what: str, met: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait for something to be true; what it was. Bounded."""
        limit = time.monotonic() + patience
        while True:
            found = met()
            if found:
                return found
            if time.monotonic() >= limit:
                raise Lost(f"waited {patience:g} s in vain until {what}")
            time.sleep(0.05)

    def event(self, what: str, name: str, service: str, patience: float = PATIENCE, **wanted: Any) -> Line:
        """Wait for a line of the journal with these fields."""

        def met() -> Line | None:
            lines = self.events(name, service=service)
            return next((x for x in lines if all(x.get(key) == value for key, value in wanted.items())), None)

        found: Line = self.until(what, met, patience)
        return found

    def runs(self, name: str, pid_not: int | None) -> Row:
        """Wait for the service to be up, as another process than `pid_not`."""

        def met() -> Row | None:
            row = self.row(name)
            return row if row["state"] == "up" and row["pid"] not in (None, pid_not) else None

        found: Row = self.until(f"{name} runs again", met)
        return found

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> list[str]:
        """End the instance; what had to be ended by hand is told. Never raises, whatever the scene has done."""
        if (self.home / "lock").exists():
            try:
                self.cli("down", "--all", "--now")
            except (OSError, subprocess.SubprocessError):
                pass
        left = self._ended_by_hand()
        for undo in reversed(self.undo):
            try:
                undo()
            except OSError:
                continue
        shutil.rmtree(Layout.for_home(self.home).runtime, ignore_errors=True)  # elsewhere when the path is long
        shutil.rmtree(self.folder, ignore_errors=True)
        return left

    def _ended_by_hand(self) -> list[str]:
        limit = time.monotonic() + LAST_WAIT
        while (found := ours(self.folder)) and time.monotonic() < limit:
            time.sleep(0.05)
        words = [f"{process.pid} {' '.join(command(process))[:100]}" for process in found]
        for process in found:
            try:
                process.kill()  # psutil compares pid and start time first
            except OSError:
                continue
            except Exception:  # noqa: BLE001 - psutil's own: gone meanwhile
                continue
        return words


def ours(folder: Path) -> list[psutil.Process]:
    """Every living process of this stage: by its marker, its home, or the folder it runs in or was told of."""
    import psutil

    instance = Layout.for_home(folder / "home").instance
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            environ = process.environ()
            marks = environ.get("MIDWATCH_RUN", "").split("/")
            mine = environ.get("MIDWATCH_HOME", "").startswith(f"{folder}/")
            mine = mine or any(mark.startswith(f"{instance}:") for mark in marks)
            if mine or any(str(folder) in word for word in (*process.cmdline(), process.cwd())):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def command(process: psutil.Process) -> list[str]:
    """Its command line; empty when it is gone."""
    try:
        return list(process.cmdline())
    except Exception:  # noqa: BLE001 - psutil's own: gone meanwhile
        return []


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
