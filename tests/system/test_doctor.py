"""`midwatch doctor` beside a real daemon: one service, a stranger on its port, what it leaves alone, a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from typing import Any

import pytest
from tests.system.conftest import Instance, wait_for

WEB = """
[midwatch]
project = "p"
[service.web]
command = ["{python}", "-m", "http.server", "{port}", "-b", "127.0.0.1"]
port = {port}
memory = {{ hard = "512M" }}
stop = {{ grace = "7s" }}
"""
IDLE = '\n[midwatch]\nproject = "p"\n[service.web]\ncommand = ["sleep", "600"]\nport = {port}\n'


def doctor(instance: Instance, *words: str) -> dict[str, Any]:
    done = instance.cli("doctor", *words, "--json")
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def of(found: dict[str, Any], check: str) -> list[dict[str, Any]]:
    return [one for one in found["checks"] if one["id"] == check]


def test_a_service_by_name(instance: Instance, free_port: int) -> None:
    """`doctor web`: state, memory against its line, how long its stop may take; the daemon's rehearsed guards."""
    instance.up(WEB.format(python=sys.executable, port=free_port))
    instance.until(lambda rows: rows["web"]["state"] == "up", "web is up")
    before = instance.ps()["web"]
    found = doctor(instance, "web")
    (mine,) = of(found, "DOC-25")
    assert mine["status"] == "pass"
    assert mine["message"].startswith("p/web is up, holds ")
    assert " of 512 MiB, stops within 14 s" in mine["message"]
    assert "the daemon" in [one["evidence"].get("from") for one in of(found, "DOC-21")]
    assert {one["id"] for one in found["checks"]} <= {"DOC-18", "DOC-21", "DOC-22", "DOC-23", "DOC-24", "DOC-25"}
    after = instance.ps()["web"]
    assert (after["pid"], after["restarts"]) == (before["pid"], before["restarts"])


def test_a_stranger_on_its_port(instance: Instance, free_port: int) -> None:
    """The service lives, its port is somebody else's: named with the pid, and left alone."""
    instance.up(IDLE.format(port=free_port))
    instance.until(lambda rows: rows["web"]["state"] == "up", "web is up")
    bind = f"s.bind(('127.0.0.1', {free_port})); s.listen()"
    code = f"import socket; s = socket.socket(); {bind}; print(1, flush=True); input()"
    pipe = subprocess.PIPE
    stranger = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe)
    try:
        assert stranger.stdout
        stranger.stdout.readline()
        (mine,) = [one for one in of(doctor(instance, "web"), "DOC-25") if one["status"] == "fail"]
        assert mine["offenders"][1]["pid"] == stranger.pid
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.communicate()


def test_a_childs_write_ahead_log_is_its_services(instance: Instance) -> None:
    """A deleted log that a child of the service writes to is found by the service's name."""
    code = (
        "import os,sqlite3,time; a=sqlite3.connect('state.db'); a.execute('pragma journal_mode=wal');"
        "a.execute('create table t(x)'); a.commit(); os.unlink('state.db-wal'); time.sleep(600)"
    )
    shell = f'["sh", "-c", \'{sys.executable} -c "$CODE" & wait\']'
    instance.up(f'[midwatch]\nproject = "p"\n[service.store]\ncommand = {shell}\nenv = {{ CODE = "{code}" }}\n')

    def found() -> list[dict[str, Any]]:
        return [one for one in of(doctor(instance, "store"), "DOC-23") if one["status"] == "fail"]

    (mine,) = wait_for(found, "the deleted log is told")
    assert "state.db-wal, which is deleted" in mine["message"]


def test_it_needs_no_daemon_and_starts_none(instance: Instance) -> None:
    """Without a daemon it looks at the machine, and leaves none behind."""
    found = doctor(instance, "--category", "limits")
    assert "a fresh look" in [one["evidence"].get("from") for one in of(found, "DOC-21")]
    assert instance.cli("ps").returncode != 0


@pytest.mark.skipif(not hasattr(pty, "fork"), reason="needs a terminal")
def test_progress_on_a_terminal_goes_away(instance: Instance) -> None:
    """On a terminal: colours, and a line of progress that is taken away; the screen is the same as in a pipe."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(instance.folder)
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-P", "-m", "midwatch", "doctor", "--category", "limits"])
    text = b""

    def read() -> bool:
        nonlocal text
        ready, _, _ = select.select([terminal], [], [], 0.2)
        if not ready:
            return False
        try:
            block = os.read(terminal, 65536)
        except OSError:
            return True  # its end
        text += block
        return not block

    wait_for(read, "doctor has ended")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (0, 1), text
    said = text.decode()
    assert "\x1b[K" in said
    assert "checks of this machine" in said
    assert said.rstrip().splitlines()[-1].count("\x1b[K") == 0
