"""Wedges with real processes: a stopped server, a full queue, a hang behind HTTP, a silent watchdog; evidence first."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import Instance, wait_for
from tests.system.watching import PYTHON, events, free_ports, rows, seen, shell, until

# Answers until the file `hang` exists; then the next request never ends. USR1 prints the stacks of its threads.
SERVER = r"""
import faulthandler, http.server, os, signal, sys, time
faulthandler.register(signal.SIGUSR1, all_threads=True)

class Fine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if os.path.exists("hang"):
            self.stuck_in_here()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def stuck_in_here(self):
        time.sleep(1000)

    def log_message(self, *words):
        pass

print("API_TOKEN=abcdefghijklmnop1234567890", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Fine).serve_forever()
"""
# Says READY=1, then WATCHDOG=1 at half the interval it was given, until the file `hang` exists.
PINGER = r"""
import os, socket, sys, time
address, half = os.environ["NOTIFY_SOCKET"], int(os.environ["WATCHDOG_USEC"]) / 2e6
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.sendto(b"READY=1\nSTATUS=ready for work", address)
while not os.path.exists("hang"):
    try:
        sock.sendto(b"WATCHDOG=1", address)
    except OSError:  # as sd_notify does: nobody listens while an engine is being replaced
        pass
    time.sleep(half)
time.sleep(1000)
"""


def served(instance: Instance, port: int, *lines: str) -> str:
    """The table of the server."""
    (instance.folder / "server.py").write_text(SERVER)
    command = f'command = [{PYTHON}, "server.py", "{port}"]'
    ready = f'ready = {{ tcp = "127.0.0.1:{port}", within = "60s", every = "100ms" }}'
    return "\n".join(["[service.web]", command, f"port = {port}", ready, *lines, ""])


def evidence(instance: Instance, number: int = 0) -> tuple[dict[str, Any], str]:
    """Facts and tail of a bundle; the files are ours alone."""
    path = Path(seen(instance, "evidence.captured", "web", number + 1)[number]["path"])
    assert path.stat().st_mode & 0o777 == 0o700
    assert {entry.stat().st_mode & 0o777 for entry in path.iterdir()} == {0o600}
    return json.loads((path / "facts.json").read_text()), (path / "tail.txt").read_text()


def order(instance: Instance) -> list[str]:
    """What happened to the first run, in the order of the journal."""
    wanted = ("health.failed", "evidence.captured", "run.exited")
    return [line["event"] for line in instance.journal(*wanted)][:3]


def test_30_a_stopped_server_is_found_by_its_queue(instance: Instance) -> None:
    """HLT-6, scenario 30: SIGSTOP, one connection waits; told by 15 s (and patience), evidence before the restart."""
    [port] = free_ports(1)
    instance.up(served(instance, port, 'backlog = "restart"', 'stop = { grace = "1s" }'))
    pid = until(instance, lambda r: r["web"]["ready"], "it is ready")["web"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    with socket.create_connection(("127.0.0.1", port)):
        failed = seen(instance, "health.failed", "web")[0]
    assert failed["reason"] == "backlog"
    assert f"connection(s) wait at 127.0.0.1:{port}, 3 looks in a row over 10 s" in failed["detail"]
    seen(instance, "run.exited", "web")
    assert order(instance) == ["health.failed", "evidence.captured", "run.exited"]
    facts, _ = evidence(instance)
    [process] = facts["processes"]
    assert (process["pid"], process["state"]) == (pid, "T")
    until(instance, lambda r: r["web"]["run_id"] == "p.web.2" and r["web"]["ready"], "it is started again")


def test_hlt6_by_default_it_is_told_and_left_alone(instance: Instance) -> None:
    """backlog = "warn": a full queue at once; the service lives on, and when it works again that is told, too."""
    [port] = free_ports(1)
    instance.up(served(instance, port))
    pid = until(instance, lambda r: r["web"]["ready"], "it is ready")["web"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    peers = []
    try:
        for _ in range(7):  # http.server's queue is 5: six are let in
            peer = socket.socket()
            peer.setblocking(False)
            peer.connect_ex(("127.0.0.1", port))
            peers.append(peer)
        warned = wait_for(lambda: instance.journal("health.warn", "health.failed"), "it is told")[0]
        assert "is full: 6 connection(s) wait" in json.dumps(warned)
        assert evidence(instance)[0]["reason"] == "backlog"
    finally:
        for peer in peers:
            peer.close()
        os.kill(pid, signal.SIGCONT)
    seen(instance, "health.recovered", "web")
    assert (rows(instance)["web"]["pid"], events(instance, "run.exited")) == (pid, [])


def test_hlt7_a_wedged_server_leaves_its_state_its_sockets_and_its_stacks(instance: Instance) -> None:
    """HLT-4, HLT-7, HLT-8: the deep probe hangs; the declared signal makes it print; `why` names the folder."""
    [port] = free_ports(1)
    instance.up(
        served(
            instance, port, 'dump_signal = "USR1"', 'stop = { grace = "2s" }',
            f'deep = {{ http = "http://127.0.0.1:{port}/", every = "500ms", timeout = "1s", failures = 2 }}',
        )
    )  # fmt: skip
    pid = until(instance, lambda r: r["web"]["ready"], "it is ready")["web"]["pid"]
    (instance.folder / "hang").touch()
    seen(instance, "run.exited", "web")
    (instance.folder / "hang").unlink()
    assert order(instance) == ["health.failed", "evidence.captured", "run.exited"]
    facts, tail = evidence(instance)
    assert (facts["reason"], facts["run_id"], facts["pid"]) == ("deep", "p.web.1", pid)
    assert [answer["ok"] for answer in facts["answers"] if answer["probe"] == "deep"][-2:] == [False, False]
    [process] = facts["processes"]
    assert process["state"] == "S"
    assert process["fds"]["count"] >= 4
    assert any(s["kind"] == "tcp listen" and s["local"] == f"127.0.0.1:{port}" for s in process["sockets"])
    assert "stuck_in_here" in tail
    assert "abcdefghijklmnop" not in tail, "redacted"
    path = events(instance, "evidence.captured", "web")[0]["path"]
    assert path in json.loads(instance.cli("why", "p.web.1", "--json").stdout)["evidence"]["captured"]
    assert "p.web.1-deep-1" in instance.cli("why", "p.web.1").stdout.replace("\n", "").replace(" ", "")
    until(instance, lambda r: r["web"]["run_id"] == "p.web.2" and r["web"]["ready"], "it is started again")


def test_a_silent_watchdog(instance: Instance) -> None:
    """WATCHDOG=1 keeps it, READY and STATUS are shown, an engine's death changes nothing; silence restarts it."""
    (instance.folder / "pinger.py").write_text(PINGER)
    instance.up(
        f'[service.web]\ncommand = [{PYTHON}, "pinger.py"]\nwatchdog = "3s"\n'
        'ready = { notify = true, within = "60s" }\nstop = { grace = "1s" }\n'
    )
    row = until(instance, lambda r: r["web"]["ready"], "it is ready")["web"]
    assert row["status"] == "ready for work"
    engine = instance.daemon()["pid"]
    os.kill(engine, signal.SIGKILL)
    wait_for(lambda: instance.daemon()["pid"] != engine, "another engine")
    assert rows(instance)["web"]["ready"]
    wait_for(lambda: rows(instance)["web"]["uptime_s"] > 7, "it lived on for more than two intervals")
    assert events(instance, "health.failed") == []

    (instance.folder / "hang").touch()
    failed = seen(instance, "health.failed", "web")[0]
    assert (failed["reason"], failed["detail"]) == ("watchdog", "no WATCHDOG=1 within 3 s")
    seen(instance, "run.exited", "web")
    assert order(instance) == ["health.failed", "evidence.captured", "run.exited"]


def test_systemd_notify_from_a_shell_is_heard(instance: Instance) -> None:
    """The usual tool: it lives for a moment only, and waits for its barrier."""
    tool = next((p for p in ("/usr/bin/systemd-notify", "/bin/systemd-notify") if os.path.exists(p)), None)
    if tool is None:
        pytest.skip("needs systemd-notify")
    script = f"{tool} --ready --status=hello; exec sleep 1000"
    instance.up(shell("web", script, 'ready = { notify = true, within = "60s" }'))
    row = until(instance, lambda r: r["web"]["ready"], "it is ready")["web"]
    assert row["status"] == "hello"


def test_an_outsider_is_not_heard(instance: Instance) -> None:
    """A process of the same user, outside the tree, writes to the socket: told, not heard."""
    instance.up(shell("web", "exec sleep 1000", 'ready = { notify = true, within = "1000s" }'))
    until(instance, lambda r: r["web"]["pid"], "it runs")
    path = wait_for(lambda: next(iter(instance.home.rglob("notify/p.web.1")), None), "its socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"READY=1", str(path))
    line = seen(instance, "limit.warning", "web")[0]
    assert f"process {os.getpid()} spoke on its NOTIFY_SOCKET" in line["message"]
    assert rows(instance)["web"]["state"] == "starting"
