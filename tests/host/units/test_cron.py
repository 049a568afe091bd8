"""The watchdog for cron, run for real against a stub of the manager (UNI-5, scenario 46, FDW-10)."""

from __future__ import annotations

import fcntl
import http.server
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.host.units.conftest import daemon, web

from midwatch.host.units import cron
from midwatch.host.units.common import Facts, UnitError, untouched

HOLDER = """
import os, sys
for _ in range(int(sys.argv[1]) - 3): os.open("/dev/null", os.O_RDONLY)
print("ready", flush=True); sys.stdin.read()
"""
# Restarting leaves a service behind, with whatever descriptors it was given.
STUB = """#!/bin/sh
echo "$@" >>{log}
case "$*" in *MainPID*) echo {pid};;
*restart*) ls -l /proc/$$/fd >{log}.fds; sleep 30 >/dev/null 2>&1 & echo $! >>{log}.pids;; esac
"""

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock of util-linux"),
]


class Bench:
    """A process with a number of open files, a stub of systemctl, and the script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls"
        self.started: list[subprocess.Popen[str]] = []

    def service(self, used: int, limit: int) -> None:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(used)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
        )  # fmt: skip
        self.started.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        stub = self.folder / "systemctl"
        stub.write_text(STUB.format(log=self.log, pid=holder.pid))
        stub.chmod(0o755)

    def run(self, facts: Facts) -> str:
        script = self.folder / "watchdog"
        script.write_text(cron.make(facts))
        done = subprocess.run(["sh", str(script)], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout

    def facts(self, **changes: Any) -> Facts:
        path = f"{self.folder}:{os.environ['PATH']}"
        return web(shape="exec", manager="systemd", path=path, state=str(self.folder / "state"), **changes)

    def restarts(self) -> int:
        return self.log.read_text().count("restart web.service") if self.log.exists() else 0

    def close(self) -> None:
        for process in self.started:
            process.communicate()
        pids = self.log.with_name("calls.pids")
        for pid in pids.read_text().split() if pids.exists() else []:
            os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_it_restarts_once_in_a_quarter_of_an_hour(bench: Bench) -> None:
    """Scenario 46: at 900 of 1000 descriptors exactly one restart, with a line; the second run does nothing."""
    bench.service(900, 1000)
    assert "900 of 1000 open files; starting it again" in bench.run(bench.facts())
    assert bench.restarts() == 1
    assert bench.run(bench.facts()) == ""
    assert bench.restarts() == 1
    acted = bench.folder / "state" / "watchdog.web.acted"
    os.utime(acted, (acted.stat().st_mtime - 1000,) * 2)
    bench.run(bench.facts())
    assert bench.restarts() == 2


def test_its_lock_is_not_inherited(bench: Bench) -> None:
    """Scenario 46, 0.1 g: what was restarted does not hold the lock, so that the next look finds it free."""
    bench.service(90, 100)
    bench.run(bench.facts())
    assert "watchdog.web.lock" not in bench.log.with_name("calls.fds").read_text()
    with (bench.folder / "state" / "watchdog.web.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_two_at_a_time_are_one(bench: Bench) -> None:
    """UNI-5: while one holds the lock the other leaves at once."""
    bench.service(90, 100)
    (bench.folder / "state").mkdir()
    with (bench.folder / "state" / "watchdog.web.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert bench.run(bench.facts()) == ""
    assert bench.restarts() == 0


def test_few_descriptors_are_fine(bench: Bench) -> None:
    bench.service(50, 100)
    assert bench.run(bench.facts()) == ""
    assert bench.restarts() == 0


def test_a_service_that_is_stopped_stays_stopped(bench: Bench) -> None:
    """UNI-5: no main process, nothing to judge."""
    bench.service(90, 100)
    stub = bench.folder / "systemctl"
    stub.write_text(f'#!/bin/sh\necho "$@" >>{bench.log}\ncase "$*" in *MainPID*) echo 0;; esac\n')
    assert bench.run(bench.facts()) == ""
    assert bench.restarts() == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_http_variant(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """UNI-5: a good answer is left alone, also with a proxy set; an error restarts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/good" else 503)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    bench.service(10, 100)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            base = f"http://127.0.0.1:{server.server_port}"
            assert bench.run(bench.facts(health_url=f"{base}/good")) == ""
            assert "503" in bench.run(bench.facts(health_url=f"{base}/bad"))
        finally:
            server.shutdown()
            thread.join()
    assert bench.restarts() == 1


FACTS = {
    "midwatch": web(), "daemon": daemon(home="/srv/my home"), "systemd": web(manager="systemd"),
    "user": web(manager="systemd", user_manager=True), "launchd": web(manager="launchd", user_manager=True, uid=501),
    "supervisord": web(manager="supervisord"), "http": web(health_url="http://127.0.0.1/a?b='c'"),
}  # fmt: skip


@pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS)
def test_every_script_is_short_and_valid(facts: Facts, tmp_path: Path) -> None:
    """UNI-5, UNI-7: at most ten lines, read by a POSIX shell, the same twice, nothing found."""
    text = cron.make(facts)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 10
    assert text == cron.make(facts)
    assert untouched(text)
    assert cron.findings(text) == []
    assert text.startswith("#!/bin/sh\n")
    script = tmp_path / "x"
    script.write_text(text)
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0


def test_the_main_process_is_asked_for(tmp_path: Path) -> None:
    """UNI-5: from `ps --json` the service's own pid, not the daemon's; from `launchctl print` the job's."""
    answer = (
        '{"schema_version": 1, "daemon": {"pid": 7, "keeper_pid": 8}, "services": [{"name": "web", "project": "shop", '
        '"state": "up", "pid": 4711, "restarts": {}, "x": {"pid": 9}}]}'
    )
    ask, restart = cron._manager(web(midwatch=(str(tmp_path / "midwatch"),)))
    (tmp_path / "midwatch").write_text(f"#!/bin/sh\necho '{answer}'\n")
    (tmp_path / "midwatch").chmod(0o755)
    assert subprocess.run(["sh", "-c", ask], capture_output=True, text=True, check=False).stdout == "4711\n"
    assert restart == f"{tmp_path}/midwatch restart shop/web"
    recorded = (Path(__file__).parents[1] / "recorded" / "launchctl-print-daemon.txt").read_text()
    (tmp_path / "launchctl").write_text(f"#!/bin/sh\ncat <<'END'\n{recorded}\nEND\n")
    (tmp_path / "launchctl").chmod(0o755)
    ask, restart = cron._manager(web(manager="launchd", user_manager=True, uid=501))
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    found = subprocess.run(["sh", "-c", ask], capture_output=True, text=True, check=False, env=env).stdout
    assert found.strip().isdigit()
    assert f"pid = {found.strip()}" in recorded
    assert restart == "launchctl kickstart -k gui/501/midwatch.shop.web"


def test_findings_in_other_peoples_scripts() -> None:
    """0.1 g, UNI-5."""
    bad = "#!/bin/sh\nexec 9>/tmp/lock; flock -n 9 || exit\npid=$(pgrep server | head -n 1)\nkill -9 $pid\nserver &\n"
    found = " ".join(cron.findings(bad))
    for words in ("inherits its lock", "may be an editor", "kills by itself"):
        assert words in found
    with pytest.raises(UnitError):
        cron.make(web(manager="runit"))
