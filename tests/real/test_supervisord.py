"""A real supervisord runs the sections that `unit supervisord` makes.

UNI-4, SVC-9, SVC-10, ORP-9, scenario 10. `startsecs` is shortened where a test would wait; nothing else is changed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

PATIENCE = 30.0
SRC = Path(__file__).parents[2] / "src"
CONF = """\
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/pid
childlogdir={folder}
{user}
[unix_http_server]
file={folder}/sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/sock
[include]
files={folder}/*.conf
"""


class Supervisord:
    """One supervisord with an instance of ours below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tools = Path(sys.executable).parent
        self.env = {**os.environ, "PYTHONPATH": str(SRC)}
        self.process: subprocess.Popen[str] | None = None

    def configure(self, text: str) -> None:
        (self.folder / "midwatch.toml").write_text(f'[midwatch]\nproject = "p"\n{text}')

    def section(self, *arguments: str, startsecs: int = 1) -> None:
        """Make a section by the command line and install it."""
        words = [sys.executable, "-m", "midwatch", "unit", "supervisord", *arguments]
        words += ["-f", str(self.folder / "midwatch.toml")]
        made = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=self.env)
        assert made.returncode == 0, made.stderr
        assert "startsecs=10\n" in made.stdout
        text = made.stdout.replace("startsecs=10\n", f"startsecs={startsecs}\n")
        name = arguments[0] if arguments and arguments[0][0] != "-" else "midwatch"
        (self.folder / f"{name}.conf").write_text(text.replace("environment=", f'environment=PYTHONPATH="{SRC}",'))

    def start(self) -> None:
        user = "user=root" if os.geteuid() == 0 else ""
        conf = self.folder / "supervisord.ini"
        conf.write_text(CONF.format(folder=self.folder, user=user))
        words = [str(self.tools / "supervisord"), "-n", "-c", str(conf)]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, text=True)

    def ctl(self, *words: str) -> str:
        command = [str(self.tools / "supervisorctl"), "-c", str(self.folder / "supervisord.ini"), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout

    def until(self, name: str, met: Callable[[str], bool], what: str) -> str:
        """Wait for supervisord to say so."""
        deadline = time.monotonic() + PATIENCE
        while not met(status := self.ctl("status", name)):
            assert time.monotonic() < deadline, f"waited in vain until {what}: {status}{self.said()}"
            time.sleep(0.1)
        return status

    def number(self, name: str) -> int:
        """What a service has written there, once it has."""
        deadline = time.monotonic() + PATIENCE
        while not (self.folder / name).exists() or not (text := (self.folder / name).read_text()).strip():
            assert time.monotonic() < deadline, f"waited in vain for {name}: {self.said()}"
            time.sleep(0.05)
        return int(text)

    def said(self) -> str:
        """What it and its programs wrote."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def cli(self, *words: str) -> str:
        command = [sys.executable, "-m", "midwatch", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=self.env).stdout

    def close(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)


@pytest.fixture
def supervisord(home: Path) -> Iterator[Supervisord]:
    """A folder for one supervisord, which is ended afterwards."""
    if not (Path(sys.executable).parent / "supervisord").exists():
        pytest.skip("supervisor is not installed (it is in the dev group)")
    folder = home / "s"
    folder.mkdir()
    made = Supervisord(folder)
    yield made
    made.close()


def test_run_and_stop(supervisord: Supervisord) -> None:
    """UNI-4, SVC-10: the service runs without a trace of supervisord in its environment; `stop` ends its whole tree."""
    supervisord.configure(
        """
[service.web]
command = ["sh", "-c", "env >env; sleep 1000 & sleep 1001 & echo $! >grandchild; wait"]
"""
    )
    supervisord.section("web")
    supervisord.start()
    supervisord.until("web", lambda status: "RUNNING" in status, "it runs")
    grandchild = supervisord.number("grandchild")
    assert psutil.pid_exists(grandchild)
    assert "SUPERVISOR_" not in (supervisord.folder / "env").read_text()
    assert "stopped" in supervisord.ctl("stop", "web")
    assert "STOPPED" in supervisord.ctl("status", "web")
    assert not psutil.pid_exists(grandchild)


def test_an_end_that_was_meant_is_not_restarted(supervisord: Supervisord) -> None:
    """UNI-4, SVC-4: exit 0 and what `run` calls hopeless (3) stay down, and nothing is "unexpected"."""
    supervisord.configure(
        """
[service.done]
command = ["sh", "-c", "echo x >>done; sleep 1.5"]
restart = { on_clean = "stop" }
[service.wrong]
command = ["sh", "-c", "echo x >>wrong; sleep 1.5; exit 78"]
"""
    )
    for name in ("done", "wrong"):
        supervisord.section(name)
    supervisord.start()
    for name in ("done", "wrong"):
        supervisord.until(name, lambda status: "EXITED" in status, "it has ended")
        assert (supervisord.folder / name).read_text() == "x\n"
    log = (supervisord.folder / "supervisord.log").read_text()
    assert "(exit status 0; expected)" in log
    assert "(exit status 3; expected)" in log


def test_the_daemon_is_recognised_as_its_child(supervisord: Supervisord) -> None:
    """SVC-2, SVC-9: `up` runs under supervisord; `up -d` would leave it at once and is refused with 78."""
    supervisord.configure('[service.web]\ncommand = ["sleep", "1000"]\n')
    supervisord.section()
    supervisord.start()
    supervisord.until("midwatch", lambda status: "RUNNING" in status, "the daemon runs")
    assert "web" in supervisord.cli("ps", "-a")
    supervisord.ctl("stop", "midwatch")
    conf = supervisord.folder / "midwatch.conf"
    conf.write_text(conf.read_text().replace(" up -f ", " up -d -f "))
    supervisord.ctl("reread")
    supervisord.ctl("update", "midwatch")
    supervisord.until("midwatch", lambda _: "midwatch (exit status 78; " in supervisord.said(), "it is refused")
    assert "supervisord" in supervisord.said().rpartition("midwatch up:")[2]


def test_the_daemonising_bug_without_midwatch(supervisord: Supervisord) -> None:
    """ORP-9: a launcher that leaves: supervisord sees EXITED 0, expected, and the server lives on as an orphan."""
    supervisord.configure(
        '[service.web]\ncommand = ["sh", "-c", "setsid sleep 1002 & echo $! >server; sleep 1.5"]\n'
    )
    supervisord.section("web", "--direct")
    supervisord.start()
    supervisord.until("web", lambda status: "EXITED" in status, "the launcher has left")
    server = psutil.Process(supervisord.number("server"))
    assert "(exit status 0; expected)" in (supervisord.folder / "supervisord.log").read_text()
    assert server.is_running()
    server.send_signal(signal.SIGKILL)
