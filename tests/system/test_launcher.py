"""Launchers with real processes: a command that exits 0 while its child serves (hermes-webui's bug), in every form.

The child stays in the session, leaves it (setsid), or forks twice and clears its environment; by sh and by Python.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

import pytest
from tests.system.conftest import Instance, alive, kill, wait_for
from tests.system.watching import events, free_ports, rows, seen, until

SERVER = r"""
import http.server, sys, time
time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 0)
class Fine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Fine).serve_forever()
"""
LAUNCHER = r"""
import os, subprocess, sys
how, *command = sys.argv[1:]
if how == "fork":
    subprocess.Popen(command)
elif how == "setsid":
    subprocess.Popen(command, start_new_session=True)
else:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execve(command[0], command, {})
        os._exit(0)
    os.wait()
os._exit(0)
"""
BY_SH = {
    "fork": "{server} & exit 0",
    "setsid": "setsid {server} & exit 0",
    "double": "( setsid sh -c 'exec env -i {server}' & ) ; exit 0",
}


def config(how: str, by: str, port: int, *lines: str, delay: str = "") -> str:
    """A service whose command is such a launcher."""
    words = [sys.executable, "-S", "-E", "server.py", str(port), *([delay] if delay else [])]
    if by == "sh":
        command = ["sh", "-c", BY_SH[how].format(server=" ".join(words))]
    else:
        command = [sys.executable, "-S", "-E", "launcher.py", how, *words]
    return "\n".join(["[service.web]", f"command = {json.dumps(command)}", *lines, ""])


@pytest.fixture
def scripts(instance: Instance) -> Instance:
    """Launcher and server in the project's folder."""
    (instance.folder / "server.py").write_text(SERVER)
    (instance.folder / "launcher.py").write_text(LAUNCHER)
    return instance


def serves(port: int) -> bool:
    """Does somebody accept there?"""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


FORMS = [(how, by, "auto") for how in ("fork", "setsid", "double") for by in ("sh", "python")]


@pytest.mark.parametrize(("how", "by", "contain"), [*FORMS, ("setsid", "sh", "none"), ("double", "python", "none")])
def test_14_the_child_is_named_followed_and_ended(scripts: Instance, how: str, by: str, contain: str) -> None:
    """Scenario 14: told, no second copy, its death is the run's, a stop ends it; also without cgroups."""
    [port] = free_ports(1)
    scripts.up(config(how, by, port, f"port = {port}", f'contain = "{contain}"'))
    line = seen(scripts, "run.daemonised", "web")[0]
    heir = line["pid"]
    assert (line["action"], line["port"]) == ("followed", port)
    assert line["launcher_pid"] == events(scripts, "run.spawned", "web")[0]["pid"] != heir
    row = until(scripts, lambda r: r["web"]["pid"] == heir, "it is followed")["web"]
    assert (row["state"], row["run_id"]) == ("up", "p.web.1")
    time.sleep(0.5)
    assert len(events(scripts, "run.spawned", "web")) == 1
    assert serves(port)

    kill(heir)
    exited = seen(scripts, "run.exited", "web")[0]
    assert (exited["pid"], exited["signal"], exited["cause"]) == (heir, "SIGKILL", "killed")
    second = seen(scripts, "run.daemonised", "web", 2)[1]["pid"]
    assert alive(second)
    scripts.ok("stop", "web")
    assert not alive(second)
    assert not serves(port)
    assert rows(scripts)["web"]["state"] == "stopped"


def test_a_child_that_listens_after_seconds(scripts: Instance) -> None:
    """The launcher leaves at once; its child binds two seconds later."""
    [port] = free_ports(1)
    scripts.up(config("setsid", "python", port, f"port = {port}", delay="2"))
    line = seen(scripts, "run.daemonised", "web")[0]
    assert line["action"] == "followed"
    assert events(scripts, "run.exited") == []


def test_without_a_port_in_the_configuration(scripts: Instance) -> None:
    """Whoever of the tree listens."""
    [port] = free_ports(1)
    scripts.up(config("fork", "sh", port))
    assert seen(scripts, "run.daemonised", "web")[0]["port"] == port


def test_refused_it_is_ended_and_held_with_the_fix(scripts: Instance) -> None:
    """launcher = "refuse": named, ended, held, and what to do."""
    [port] = free_ports(1)
    scripts.up(config("double", "python", port, f"port = {port}", 'launcher = "refuse"'))
    row = until(scripts, lambda r: r["web"]["state"] == "held", "it is held")["web"]
    line = events(scripts, "run.daemonised", "web")[0]
    assert line["action"] == "refused"
    assert not alive(line["pid"])
    assert not serves(port)
    assert "foreground" in row["decision"]
    assert len(events(scripts, "run.spawned", "web")) == 1


def test_a_followed_run_outlives_the_engine_and_the_daemon(scripts: Instance) -> None:
    """Killed engine: watched on. Killed keeper and engine: adopted again by its record, with its own end."""
    [port] = free_ports(1)
    scripts.up(config("double", "python", port, f"port = {port}"))
    heir = seen(scripts, "run.daemonised", "web")[0]["pid"]
    until(scripts, lambda r: r["web"]["pid"] == heir, "it is followed")
    daemon = scripts.daemon()
    kill(daemon["pid"])
    wait_for(lambda: scripts.daemon()["pid"] != daemon["pid"], "another engine")
    assert rows(scripts)["web"]["pid"] == heir

    daemon = scripts.daemon()
    kill(daemon["keeper_pid"])
    kill(daemon["pid"])
    wait_for(lambda: not alive(daemon["keeper_pid"]) and not alive(daemon["pid"]), "both are gone")
    assert alive(heir)
    scripts.ok("up", "-d")
    row = until(scripts, lambda r: r["web"]["pid"] is not None, "it is up")["web"]
    assert (row["pid"], row["run_id"]) == (heir, "p.web.1")
    scripts.ok("stop", "web")
    assert not alive(heir)


def test_run_follows_as_well(scripts: Instance) -> None:
    """In the foreground: the run goes on with the child, and ends when it is told to."""
    [port] = free_ports(1)
    import subprocess

    process = subprocess.Popen(
        [sys.executable, "-m", "midwatch", "run", "--name", "web", "--port", str(port), "--",
         sys.executable, "-S", "-E", "launcher.py", "setsid", sys.executable, "-S", "-E", "server.py", str(port)],
        cwd=scripts.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_for(lambda: serves(port), "it serves")
        time.sleep(1.0)
        assert process.poll() is None
        os.kill(process.pid, 15)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    assert "serving" in out
    assert "followed as the run" in err
    wait_for(lambda: not serves(port), "nothing serves any more")
