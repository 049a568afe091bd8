"""A real systemd in namespaces of its own, booted once for all tests that need it, and how to talk to it.

Each test gets a folder (`Place`) with a home and a configuration of its own, visible inside under the same path. Skips
with the reason where the machine lacks something. Must not hold a claim.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "systemd" / "nested-systemd"
ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
PATIENCE = 30.0  # seconds for anything to become true on a loaded machine; ends early
MIDWATCH = [sys.executable, "-P", "-m", "midwatch"]


class Nested:
    """The booted systemd."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shared = folder / "shared"
        self._count = 0

    def run(self, *command: str, check: bool = True, **env: str) -> str:
        """A command inside; its stdout. Bounded."""
        words = [str(SCRIPT), "run", str(self.folder), "env", *(f"{k}={v}" for k, v in env.items()), *command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def show(self, unit: str) -> dict[str, str]:
        """What systemd says about a unit."""
        names = "ActiveState,SubState,Result,NRestarts,MainPID,ExecMainStatus,ExecMainCode,StatusText,NotifyAccess"
        lines = self.run("systemctl", "show", unit, "-p", names).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def until(self, unit: str, met: Callable[[dict[str, str]], Any], what: str) -> dict[str, str]:
        """Wait for systemd to say so."""
        deadline = time.monotonic() + PATIENCE
        while not met(found := self.show(unit)):
            assert time.monotonic() < deadline, f"waited in vain until {what}: {found}\n{self.journal(unit)}"
            time.sleep(0.1)
        return found

    def journal(self, unit: str) -> str:
        """What the journal has of a unit: systemd's own words about it too."""
        self.run("journalctl", "--sync", check=False)
        return self.run("journalctl", "-u", unit, "-o", "cat", "--no-pager", check=False)

    def stopwatch(self, *command: str) -> float:
        """Seconds that a command inside took."""
        begin = time.monotonic()
        self.run(*command)
        return time.monotonic() - begin

    def place(self) -> Place:
        """A folder for one test."""
        self._count += 1
        return Place(self, self.shared / f"p{self._count}", self._count)


class Place:
    """One configuration with a home of its own, and the units made from it."""

    def __init__(self, nested: Nested, folder: Path, number: int) -> None:
        self.nested = nested
        self.folder = folder
        self.home = folder / "h"
        self.file = folder / "midwatch.toml"
        self.number = number
        self.units: list[str] = []
        folder.mkdir()

    def configure(self, text: str) -> None:
        """Write the configuration."""
        self.file.write_text(f'[midwatch]\nproject = "p{self.number}"\n{text}')

    def unit(self, *arguments: str, **settings: str) -> str:
        """Make a unit by the command line, install it with these settings changed; its name."""
        words = [*MIDWATCH, "unit", "systemd", *arguments, "-f", str(self.file)]
        made = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=self.env)
        assert made.returncode == 0, made.stderr
        name = f"t{self.number}-{len(self.units)}.service"
        self.install(name, made.stdout, PYTHONPATH=str(SRC), **settings)
        return name

    def install(self, name: str, text: str, **settings: str) -> None:
        """Put a unit file there; settings go into a drop-in, upper-case ones are variables."""
        (self.folder / name).write_text(text)
        lines = [f"Environment={k}={v}" if k.isupper() else f"{k}={v}" for k, v in settings.items()]
        (self.folder / "drop-in.conf").write_text("[Service]\n" + "".join(f"{line}\n" for line in lines))
        target = f"/etc/systemd/system/{name}"
        self.nested.run(
            "sh", "-c", f"cp '{self.folder / name}' '{target}' && mkdir -p '{target}.d' && "
            f"cp '{self.folder / 'drop-in.conf'}' '{target}.d/test.conf' && systemctl daemon-reload",
        )  # fmt: skip
        self.units.append(name)

    @property
    def env(self) -> dict[str, str]:
        """The environment of a command line about this instance."""
        return {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "MIDWATCH_HOME": str(self.home), "PYTHONPATH": str(SRC)}

    def cli(self, *arguments: str, check: bool = True) -> str:
        """`midwatch ARGUMENTS` inside, for this instance."""
        return self.nested.run(*MIDWATCH, *arguments, check=check, **self.env)

    def ps(self) -> dict[str, Any]:
        """`ps --json`, the services by name, and the daemon as "daemon"."""
        answer: dict[str, Any] = json.loads(self.cli("ps", "-a", "--json", check=False))
        return {**{row["name"]: row for row in answer["services"]}, "daemon": answer["daemon"]}

    def until(self, met: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """Wait for the services to be so."""
        deadline = time.monotonic() + PATIENCE
        while not met(found := self.ps()):
            assert time.monotonic() < deadline, f"waited in vain until {what}: {found}"
            time.sleep(0.1)
        return found

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Our own journal's lines with these events, oldest first: of the daemon and of every `run`."""
        lines = []
        for path in sorted(self.home.rglob("journal/*.jsonl")):
            for raw in path.read_text().splitlines():
                line = json.loads(raw)
                if line["event"] in names:
                    lines.append(line)
        return lines

    def inside(self, pid: int) -> bool:
        """Is there a process with this number inside, which is no zombie?"""
        script = f"grep -q '^State:[[:space:]]*[^Z[:space:]]' /proc/{pid}/status 2>/dev/null && echo yes"
        return self.nested.run("sh", "-c", script, check=False).strip() == "yes"

    def close(self) -> None:
        """End whatever is left of the units, and what outlived them."""
        for unit in self.units:
            self.nested.run("systemctl", "stop", unit, check=False)
        for unit in self.units:
            self.nested.run("systemctl", "kill", "-s", "KILL", unit, check=False)
            self.nested.run("systemctl", "reset-failed", unit, check=False)


@pytest.fixture(scope="session")
def systemd() -> Iterator[Nested]:
    """The nested systemd, or a skip with the reason."""
    missing = subprocess.run([str(SCRIPT), "missing"], capture_output=True, text=True, check=False).stdout.strip()
    if missing:
        pytest.skip(f"no nested systemd: {missing}")
    folder = Path(tempfile.mkdtemp(prefix="mw-systemd-", dir="/tmp"))
    trees = [str(ROOT), sys.prefix, sys.base_prefix]
    done = subprocess.run([str(SCRIPT), "start", str(folder), *trees], capture_output=True, text=True, check=False)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield Nested(folder)
    finally:
        subprocess.run([str(SCRIPT), "stop", str(folder)], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def place(systemd: Nested) -> Iterator[Place]:
    """A configuration's folder inside the nested systemd; its units are ended afterwards."""
    made = systemd.place()
    yield made
    made.close()
