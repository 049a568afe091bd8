"""The port of a service with real processes: its holder is named, nobody is touched, it starts when it is free."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.system.conftest import Instance, alive, wait_for
from tests.system.watching import PYTHON, call, events, finished, free_ports, job, rows, seen, shell, until

SQUATTER = r"""
import socket, sys
host, port, answer = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if ":" in host:
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
sock.bind((host, port))
sock.listen(16)
print("there", flush=True)
kept = []
while True:
    peer, _ = sock.accept()
    kept.append(peer)
    if answer != "silence":
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n" % answer.encode())
        peer.close()
"""
SERVER = r"""
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
QUICK = 'backoff = { port = "200ms", port_most = "400ms" }'
Squat = Callable[..., int]


@pytest.fixture
def squat(tmp_path: Path) -> Iterator[Squat]:
    """Start processes of the test's own that hold a port; they are ended afterwards."""
    started: list[subprocess.Popen[str]] = []
    (tmp_path / "squatter.py").write_text(SQUATTER)

    def start(port: int, answer: str = "404", host: str = "127.0.0.1", **options: object) -> int:
        made = subprocess.Popen(
            [sys.executable, "-S", "-E", str(tmp_path / "squatter.py"), host, str(port), answer],
            stdout=subprocess.PIPE, text=True,
            **options,  # type: ignore[call-overload]
        )  # fmt: skip
        started.append(made)
        assert made.stdout is not None
        assert made.stdout.readline() == "there\n"
        return int(made.pid)

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def served(instance: Instance, port: int, *lines: str, name: str = "web") -> str:
    """The table of a service that really serves."""
    (instance.folder / "server.py").write_text(SERVER)
    command = f'command = [{PYTHON}, "server.py", "{port}"]'
    return "\n".join([f"[service.{name}]", command, f"port = {port}", QUICK, *lines, ""])


def put(instance: Instance, text: str) -> None:
    """`up` of a configuration in which something has to wait (it ends with 1 and says so)."""
    (instance.folder / "midwatch.toml").write_text(text)
    instance.cli("up", "-d")


def answers(port: int) -> bool:
    """Does somebody serve there?"""
    with socket.socket() as sock:
        sock.settimeout(5)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_15_run_ends_with_78_and_names_the_owner(instance: Instance, squat: Squat) -> None:
    """Scenario 15, ORP-2, ORP-6: a 404 is an answer; 78 at once, the owner's pid and the command that frees the port;
    the owner lives on, no run record is written."""
    [port] = free_ports(1)
    owner = squat(port, "404")
    began = time.monotonic()
    done = instance.cli("run", "--port", str(port), "--name", "web", "--", "sleep", "1000")
    assert done.returncode == 78, done.stderr
    assert time.monotonic() - began < 30
    [line] = done.stderr.splitlines()
    assert f"port {port} is held by" in line
    assert f"(pid {owner}, " in line
    assert "a stranger; nothing was started" in line
    assert line.endswith(f"kill {owner}")
    assert alive(owner)
    assert [path.name for path in instance.home.rglob("runs/*")] == []


def test_16_who_accepts_and_never_answers_is_wedged(instance: Instance, squat: Squat) -> None:
    """Scenario 16: class wedged, exit 78, and in words what that rests on."""
    [port] = free_ports(1)
    squat(port, "silence")
    done = instance.cli("run", "--port", str(port), "--name", "web", "--", "sleep", "1000")
    assert done.returncode == 78
    assert "accepts connections and answers nothing within 2 s: wedged" in done.stderr


def test_orp1_up_waits_costs_nothing_and_starts_by_itself(instance: Instance, squat: Squat) -> None:
    """ORP-1, ORP-6, ORP-10: waiting with the owner in ps and why; no crash; up once the port is free."""
    [port] = free_ports(1)
    owner = squat(port)
    put(instance, served(instance, port))
    row = until(instance, lambda r: r["web"]["state"] == "waiting", "it waits")["web"]
    assert f"(pid {owner}, " in row["decision"]
    assert row["retry_at"] is not None
    conflict = seen(instance, "port.conflict", "web")[0]
    assert (conflict["pid"], conflict["class"], conflict["do"]) == (owner, "stranger", f"kill {owner}")
    assert re.search(r"\(pid \d+, [0-9. a-z]+ old, user \S+\), a stranger$", conflict["owner"])
    told = instance.cli("why", "web")
    assert told.returncode == 0
    assert str(owner) in told.stdout
    assert f"kill {owner}" in told.stdout
    time.sleep(1.0)
    assert len(events(instance, "port.conflict", "web")) == 1, "the same owner is told once, however old it grows"
    assert events(instance, "run.spawned", "web") == []
    assert alive(owner)
    os.kill(owner, 9)
    until(instance, lambda r: r["web"]["state"] == "up", "it starts by itself")
    wait_for(lambda: answers(port), "it serves")
    assert rows(instance)["web"]["crash_count"] == 0


def test_orp1_another_service_of_ours_is_named(instance: Instance) -> None:
    """Class ours: its run and the command that stops it; a stop of it lets the other one start."""
    [port] = free_ports(1)
    first = served(instance, port, name="first")
    instance.up(first)
    until(instance, lambda r: r["first"]["state"] == "up", "the first is up")
    wait_for(lambda: answers(port), "it serves")
    put(instance, first + served(instance, port))
    conflict = seen(instance, "port.conflict", "web")[0]
    assert (conflict["class"], conflict["do"]) == ("ours", "midwatch stop p/first")
    assert "run p.first.1" in conflict["owner"]
    assert finished(instance, job(instance, "stop", "first"))["state"] == "done"
    until(instance, lambda r: r["web"]["state"] == "up", "the second starts")


def test_orp7_a_survivor_of_a_run_that_is_over_is_an_orphan(instance: Instance, squat: Squat) -> None:
    """Class orphan: it bears our marker and no run of that name lives, whoever its parent is (scenario 23)."""
    [port] = free_ports(1)
    instance.up(shell("other", "env >seen; exec sleep 1000"))
    wait_for((instance.folder / "seen").exists, "it has started")
    wait_for(lambda: "MIDWATCH_RUN=" in (instance.folder / "seen").read_text(), "it has written")
    marker = next(
        line for line in (instance.folder / "seen").read_text().splitlines() if line.startswith("MIDWATCH_RUN=")
    )
    bygone = marker.partition("=")[2].replace("p.other.1", "p.bygone.4")
    owner = squat(port, env={"MIDWATCH_RUN": bygone})
    put(instance, shell("other", "env >seen; exec sleep 1000") + served(instance, port))
    conflict = seen(instance, "port.conflict", "web")[0]
    assert (conflict["class"], conflict["pid"]) == ("orphan", owner)
    assert "left over from p/bygone" in conflict["owner"]
    assert alive(owner)


def test_17_a_listener_on_v6_only_is_a_warning(instance: Instance, squat: Squat) -> None:
    """Scenario 17: the service binds 127.0.0.1 and is asked at localhost; told with its owner, and started."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    [port] = free_ports(1)
    owner = squat(port, "404", host="::1")
    probe_line = f'ready = {{ http = "http://localhost:{port}/", any_owner = true, within = "60s", every = "100ms" }}'
    instance.up(served(instance, port, probe_line))
    until(instance, lambda r: r["web"]["pid"], "it was started")
    [line] = seen(instance, "limit.warning", "web")
    assert f"port {port} is also served on [::1]" in line["message"]
    assert f"(pid {owner}, " in line["message"]


def test_orp8_a_stop_says_who_still_answers(instance: Instance, squat: Squat) -> None:
    """ORP-8: the service is stopped, its port is not quiet: said in the job's answer, with the holder."""
    [port] = free_ports(1)
    instance.up(shell("web", "exec sleep 1000", f"port = {port}"))
    until(instance, lambda r: r["web"]["state"] == "up", "it is up")
    owner = squat(port)
    done = instance.ok("stop", "web")
    assert "stopped" in done
    assert f"port {port} is still served, by" in done
    assert f"(pid {owner}, " in done
    assert "not managed by midwatch" in done
    assert alive(owner)


def test_orp11_a_start_that_lost_the_race_waits(instance: Instance, squat: Squat) -> None:
    """ORP-11: somebody takes the port between our look and the service's bind: a conflict, not a crash."""
    [port] = free_ports(1)
    gate = instance.folder / "gate"
    (instance.folder / "server.py").write_text(SERVER)
    script = f'while [ ! -e gate ]; do sleep 0.05; done; exec "{sys.executable}" -S -E server.py {port}'
    instance.up(shell("web", script, f"port = {port}", QUICK))
    until(instance, lambda r: r["web"]["state"] == "up", "it was started")
    owner = squat(port)
    gate.touch()
    exited = seen(instance, "run.exited", "web")[0]
    assert exited["cause"] == "port-conflict", exited
    assert any(f"(pid {owner}, " in words for words in exited["because"])
    row = until(instance, lambda r: r["web"]["state"] == "waiting", "it waits")["web"]
    assert row["crash_count"] == 0
    os.kill(owner, 9)
    until(instance, lambda r: r["web"]["state"] == "up", "it starts by itself")


def test_a_restart_takes_the_port_of_its_last_run(instance: Instance) -> None:
    """The fast path: killed under open connections and started again, five times, without a conflict."""
    [port] = free_ports(1)
    instance.up(served(instance, port))
    for number in range(1, 6):
        run = f"p.web.{number}"
        until(instance, lambda r: (r["web"]["run_id"], bool(r["web"]["pid"])) == (run, True), run)  # noqa: B023
        wait_for(lambda: answers(port), "it serves")
        with socket.create_connection(("127.0.0.1", port)):
            os.kill(rows(instance)["web"]["pid"], 9)
            seen(instance, "run.exited", "web", number)
    until(instance, lambda r: r["web"]["run_id"] == "p.web.6" and r["web"]["pid"], "the last run")
    assert events(instance, "port.conflict") == []


def test_a_waiting_service_can_be_stopped_and_looked_at_again(instance: Instance, squat: Squat) -> None:
    """stop ends the wait at once; reset looks again now."""
    [port] = free_ports(1)
    owner = squat(port)
    slow = served(instance, port).replace(QUICK, 'backoff = { port = "300s", port_most = "300s" }')
    put(instance, slow)
    until(instance, lambda r: r["web"]["state"] == "waiting", "it waits")
    os.kill(owner, 9)
    wait_for(lambda: not answers(port), "the port is free")
    call(instance, "reset", services=["p/web"], by="test")
    until(instance, lambda r: r["web"]["state"] == "up", "it was looked at again")
