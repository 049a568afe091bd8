"""Sockets that are passed on, with a real server and real clients: a restart drops no connection; what each death does.

Issue 3, item 5, and the figure "connections dropped in a socket-passing restart under load" (goal 0).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.system.conftest import Instance, kill, wait_for
from tests.system.listening import ask

PROGRAM = Path(__file__).with_name("listening.py")
RESTARTS = 10


def config(*listen: str, more: str = "") -> str:
    command = json.dumps([sys.executable, str(PROGRAM), "serve"])
    return f"[service.web]\ncommand = {command}\nlisten = {json.dumps(listen)}\n{more}"


@contextmanager
def hammering(where: str) -> Iterator[dict[str, Any]]:
    """A second process asks all the time; what it counted is there at the end."""
    command = [sys.executable, str(PROGRAM), "hammer", where, "4"]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    counted: dict[str, Any] = {}
    try:
        assert client.stdout is not None
        assert client.stdout.readline() == "hammering\n"
        yield counted
    finally:
        said, _ = client.communicate("", timeout=60)
        counted.update(json.loads(said))


def test_ten_restarts_under_load_drop_no_connection(instance: Instance, free_port: int) -> None:
    """Clients on TCP and on the Unix socket; the server changes ten times; every request is answered whole."""
    path = instance.folder / "app.sock"
    more = f"restart.killed = 'off'\nport = {free_port}\n"  # HLT-2, ORP: the keeper's listener is no stranger's
    instance.up(config(f"127.0.0.1:{free_port}", "app.sock", more=more))
    with hammering(f"127.0.0.1:{free_port}") as tcp, hammering(str(path)) as unix:
        for number in range(RESTARTS):
            if number % 2:
                instance.ok("restart", "web")
            else:  # by itself: exit 0
                pid = instance.ps()["web"]["pid"]
                os.kill(pid, 15)
                instance.until(lambda rows, old=pid: rows["web"]["pid"] not in (None, old), "the next one runs")  # type: ignore[misc]
    for counted in (tcp, unix):
        assert counted["failures"] == 0, counted["failed"]
        assert counted["asked"] > counted["servers"] >= RESTARTS // 2
    assert len(instance.journal("run.spawned")) == RESTARTS + 1
    assert instance.journal("port.conflict", "health.failed", "health.warn") == []


def test_an_upgrade_and_every_death_drop_no_connection_either(instance: Instance, free_port: int) -> None:
    """The keeper holds the socket; without it the adopted service does, until its next restart, and that is said."""
    where = f"127.0.0.1:{free_port}"
    instance.up(config(where))
    with hammering(where) as counted:
        instance.ok("upgrade")
        instance.ok("restart", "web")
        kill(instance.daemon()["pid"])
        assert instance.daemon()["pid"]
        instance.ok("restart", "web")
        daemon = instance.daemon()
        kill(daemon["keeper_pid"])
        wait_for(lambda: not Path(f"/proc/{daemon['pid']}").exists() or None, "the engine has left too")
        instance.ok("up", "-d")
    assert counted["failures"] == 0, counted["failed"]
    assert [line["addresses"] for line in instance.journal("listen.lost")] == [[where]]
    instance.ok("restart", "web")  # the queue of the lost socket is lost with it: a moment without anybody
    assert wait_for(lambda: ask(where), "it serves again")
    with hammering(where) as counted:
        instance.ok("restart", "web")
    assert counted["failures"] == 0, counted["failed"]


def test_other_addresses_restart_it_and_a_stop_closes_them(instance: Instance, free_port: int) -> None:
    """A reload opens the new and closes the old; after a stop clients are refused at once, the path is gone."""
    where, path = f"127.0.0.1:{free_port}", instance.folder / "run.sock"
    instance.up(config(where))
    first = ask(where)
    (instance.folder / "midwatch.toml").write_text(config("run.sock", where))
    instance.ok("reload")
    assert wait_for(lambda: ask(str(path)), "the new socket is served") != first
    assert ask(where) == ask(str(path))
    instance.ok("stop", "web")
    assert not path.exists()
    assert refused(where)
    instance.ok("start", "web")
    assert wait_for(lambda: ask(str(path)), "it serves again")


def test_instances_share_one_socket(instance: Instance, free_port: int) -> None:
    """Each serves; nobody is refused while they restart one by one. HLT-2: the shared listener is each one's own."""
    where = f"127.0.0.1:{free_port}"
    health = f'{{ http = "http://{where}/", every = "500ms", failures = 1 }}'
    instance.up(config(where, more=f"instances = 2\nready = {{ http = 'http://{where}/' }}\nhealth = {health}\n"))
    with hammering(where) as counted:
        instance.ok("restart", "web-1")
        instance.ok("restart", "web-2")
    assert counted["failures"] == 0, counted["failed"]
    assert counted["servers"] >= 2
    assert {row["health"] for row in instance.ps().values()} <= {"ok", "unknown"}
    assert instance.journal("health.failed") == []


def test_a_taken_address_is_waited_for_and_its_holder_named(instance: Instance, free_port: int) -> None:
    """ORP-6: no crash; it starts when the port is free."""
    code = f"import socket, sys; s = socket.create_server(('127.0.0.1', {free_port})); print(flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        (instance.folder / "midwatch.toml").write_text(config(f"127.0.0.1:{free_port}", more="backoff.port = '1s'\n"))
        instance.cli("up", "-d")
        row = instance.until(lambda rows: rows["web"]["state"] == "waiting", "it waits for its port")["web"]
        assert str(holder.pid) in row["decision"]
        assert row["crash_count"] == 0
    finally:
        holder.communicate(timeout=20)
    instance.until(lambda rows: rows["web"]["state"] == "up", "it has its port")
    assert ask(f"127.0.0.1:{free_port}")


def refused(where: str) -> bool:
    try:
        ask(where)
    except ConnectionRefusedError:
        return True
    return False
