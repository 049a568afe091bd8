"""One service's unit under a real systemd: readiness, exit codes, start limits, and the shapes of ORP-9.

UNI-3, UNI-6, ORP-9, SVC-4, scenarios 28, 29, 45. A drop-in shortens the pause between starts, never a limit.
"""

from __future__ import annotations

import sys

import pytest
from tests.real.conftest import Place

pytestmark = pytest.mark.timeout(120)

CODES = """
[service.codes]
command = ["sh", "-c", "echo x >>starts; [ $(wc -l <starts) = 1 ] && exit 75; exit 78"]
"""
# hermes-webui's launcher: it starts the server in a session of its own and leaves with 0
LAUNCHER = """
[service.web]
command = ["sh", "-c", "setsid {python} -m http.server {port} -b 127.0.0.1 >/dev/null 2>&1 & echo $! >pid; sleep 0.7"]
port = {port}
stop = {{ grace = "2s" }}
"""


def test_ready_when_the_service_is(place: Place) -> None:
    """UNI-3, SVC-11: `systemctl start` returns when the service's own ready probe has succeeded; its words are in the
    journal; `stop` leaves nothing and is a success."""
    place.configure(
        """
[service.slow]
command = ["sh", "-c", "trap 'exit 0' TERM; echo one; sleep 0.8; echo listening; while :; do sleep 0.1; done"]
ready = { log = "listening", within = "20s" }
"""
    )
    unit = place.unit("slow")
    took = place.nested.stopwatch("systemctl", "start", unit)
    row = place.ps()["slow"]
    assert (row["state"], row["ready"]) == ("up", True)
    assert took >= 0.8
    assert place.nested.show(unit)["ActiveState"] == "active"
    place.nested.run("systemctl", "stop", unit)
    shown = place.nested.show(unit)
    assert (shown["ActiveState"], shown["Result"]) == ("inactive", "success")
    assert not place.inside(row["pid"])
    assert "listening" in place.nested.journal(unit).splitlines()


def test_a_long_stop_gets_the_time_it_needs(place: Place) -> None:
    """D11: where TimeoutStopSec is too short after all, EXTEND_TIMEOUT_USEC keeps systemd from killing first."""
    place.configure(
        """
[service.slow]
command = ["sh", "-c", "trap 'sleep 4; echo drained; exit 0' TERM; while :; do sleep 0.1; done"]
stop = { grace = "20s" }
"""
    )
    unit = place.unit("slow", TimeoutStopSec="2")
    place.nested.run("systemctl", "start", unit)
    took = place.nested.stopwatch("systemctl", "stop", unit)
    shown = place.nested.show(unit)
    assert took >= 4
    assert (shown["ActiveState"], shown["Result"]) == ("inactive", "success"), place.nested.journal(unit)
    assert "drained" in place.nested.journal(unit).splitlines()


def test_75_is_restarted_and_78_is_not(place: Place) -> None:
    """SVC-4, UNI-3, UNI-6, scenario 45: without Midwatch in between, the unit's own lines do what the codes mean."""
    place.configure(CODES)
    unit = place.unit("codes", "--direct", RestartSec="0.1")
    place.nested.run("systemctl", "start", unit, check=False)
    shown = place.nested.until(unit, lambda shown: shown["ActiveState"] == "failed", "it has failed")
    assert (shown["NRestarts"], shown["ExecMainStatus"]) == ("1", "78")
    assert (place.folder / "starts").read_text() == "x\nx\n"


def test_exec_becomes_the_service(place: Place) -> None:
    """SVC-1, scenario 8: with --exec the unit's main process is the service itself; its own signal ends it."""
    place.configure(
        """
[service.web]
command = ["python3", "-c", "import os, time; print('pid', os.getpid(), flush=True); time.sleep(1000)"]
stop = { signal = "INT", grace = "5s" }
"""
    )
    unit = place.unit("web", "--exec")
    place.nested.run("systemctl", "start", unit)
    main = place.nested.show(unit)["MainPID"]
    place.nested.until(unit, lambda _: f"pid {main}" in place.nested.journal(unit).splitlines(), "it says its pid")
    assert not (place.home / "foreground").exists()
    place.nested.run("systemctl", "stop", unit)
    assert "KeyboardInterrupt" in place.nested.journal(unit)


def test_what_run_calls_hopeless_is_not_retried(place: Place) -> None:
    """SVC-4: a held service ends `run` with 3, a broken configuration with 78, and systemd starts neither again."""
    place.configure('[service.gone]\ncommand = ["/nowhere/program"]\n')
    held = place.unit("gone", RestartSec="0.1")
    place.nested.run("systemctl", "start", held, check=False)
    shown = place.nested.until(held, lambda shown: shown["ActiveState"] == "failed", "it has given up")
    assert (shown["NRestarts"], shown["ExecMainStatus"]) == ("0", "3")
    place.configure('[service.gone]\ncommnd = ["true"]\n')
    place.nested.run("systemctl", "start", held, check=False)
    shown = place.nested.until(held, lambda shown: shown["ExecMainStatus"] == "78", "it has refused the file")
    assert shown["NRestarts"] == "0"
    assert "unknown key (did you mean command?)" in place.nested.journal(held)


def test_the_start_limit_bites(place: Place) -> None:
    """Service-and-doctor 0.1 e, scenario 29: a service that fails at once is given up after five starts."""
    place.configure('[service.broken]\ncommand = ["sh", "-c", "echo x >>starts; exit 1"]\n')
    unit = place.unit("broken", "--direct", RestartSec="0.1")
    place.nested.run("systemctl", "start", unit, check=False)  # it may have failed before systemctl looks
    place.nested.until(unit, lambda shown: shown["ActiveState"] == "failed", "it is given up")
    assert (place.folder / "starts").read_text().count("x") == 5
    assert "Start request repeated too quickly" in place.nested.journal(unit)


def test_a_dead_keeper_takes_its_service_along_and_the_unit_starts_again(place: Place) -> None:
    """UNI-3: in the shape of one service the unit is the service: nothing outlives it, nothing is doubled."""
    place.configure('[service.web]\ncommand = ["sleep", "1000"]\n')
    unit = place.unit("web", RestartSec="0.2")
    place.nested.run("systemctl", "start", unit)
    pid = place.ps()["web"]["pid"]
    keeper = place.nested.show(unit)["MainPID"]
    place.nested.run("kill", "-9", keeper)
    place.nested.until(
        unit, lambda shown: shown["NRestarts"] == "1" and shown["ActiveState"] == "active", "it is started again"
    )
    row = place.until(lambda ps: ps["web"]["state"] == "up", "the service is up")["web"]
    assert row["pid"] != pid
    assert not place.inside(pid)


@pytest.mark.parametrize(("kill_mode", "lives"), [("control-group", False), ("process", True)])
def test_the_daemonising_bug_without_midwatch(place: Place, kill_mode: str, lives: bool) -> None:
    """ORP-9: a launcher that leaves: systemd says inactive and success, and ends the server, or spares an orphan."""
    place.configure(LAUNCHER.format(python=sys.executable, port=18787))
    unit = place.unit("web", "--direct", KillMode=kill_mode)
    place.nested.run("systemctl", "start", unit)
    shown = place.nested.until(unit, lambda shown: shown["ActiveState"] == "inactive", "the launcher has left")
    assert (shown["Result"], shown["ExecMainStatus"]) == ("success", "0")
    server = int((place.folder / "pid").read_text())
    assert place.inside(server) is lives


def test_the_daemonising_bug_under_midwatch(place: Place) -> None:
    """ORP-9: under `run` the same launcher's server is followed as the run: the unit stays active, a stop ends it."""
    place.configure(LAUNCHER.format(python=sys.executable, port=18788))
    unit = place.unit("web")
    place.nested.run("systemctl", "start", unit)
    line = place.nested.until(unit, lambda _: place.events("run.daemonised"), "the launcher is found out")
    assert line["ActiveState"] == "active"
    server = int((place.folder / "pid").read_text())
    row = place.until(lambda ps: ps["web"]["pid"] == server, "the server is the run")["web"]
    assert row["state"] == "up"
    place.nested.run("systemctl", "stop", unit)
    assert not place.inside(server)
