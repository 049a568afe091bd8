"""Real leftovers are found, each with its proof; real processes, started and orphaned here."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from tests.inspect.zoo import KEEPER, Zoo, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes are looked at through /proc")


def test_an_mcp_server_whose_agent_was_killed(zoo: Zoo) -> None:
    """Story 1, DOC-12: pipes without another end, no parent: a certain leftover, proven in sentences with facts."""
    pid = zoo.orphan("server")
    (left,) = zoo.find()
    assert (left.proc.pid, left.certain) == (pid, True)
    assert left.reason == "MCP server without a client"
    text = " ".join(left.proof)
    assert "its parent is now pid 1" in text
    assert "stdin, stdout, stderr: nobody holds the other end" in text
    assert "nobody is connected to it" in text
    assert "started 20" in text


def test_a_whole_chain_of_wrappers_is_one_leftover(zoo: Zoo) -> None:
    """Trap 3: npm exec -> sh -> node; the wrapper is the root, and everything below it goes with it."""
    pid = zoo.orphan("chain", ["sh", "-c", f"{sys.executable} {zoo.server} & wait"])
    until(lambda: len(zoo.find()) == 2, "the wrapper and the server are there")
    left = zoo.find()
    assert left[0].proc.pid == pid
    assert left[1].proc.ppid == pid
    assert f"child of pid {pid}" in left[1].proof[0]


def test_streams_may_be_sockets(zoo: Zoo) -> None:
    """Node gives its children socket pairs instead of pipes."""
    pid = zoo.orphan("server", streams=("socket", "socket", "null"))
    assert [left.proc.pid for left in zoo.find()] == [pid]


def test_a_language_server_whose_editor_is_gone(zoo: Zoo) -> None:
    """OC#17287: also one that leads a session of its own."""
    pid = zoo.orphan("lsp", setsid=True, **zoo.named("pyright-langserver", "--stdio"))
    assert pid in {left.proc.pid for left in zoo.find()}
    assert zoo.find()[0].reason == "language server without a client"


def test_an_agent_whose_terminal_was_closed(zoo: Zoo) -> None:
    """Story 1 (OC#14504): it caught the SIGHUP and lives on at a terminal that does not exist."""
    pid = zoo.orphan("agent", streams=("pty", "pty", "pty"), setsid=True, **zoo.named("claude"))
    left = zoo.find()[0]
    assert left.proc.pid == pid
    assert "whose terminal is closed" in left.reason
    assert "a terminal that was closed" in " ".join(left.proof)


def test_a_headless_browser_tree(zoo: Zoo) -> None:
    """Pain 27: no window, a profile made for it, its driver gone."""
    named = zoo.named(
        "chrome-headless-shell", "--headless", "--user-data-dir=/tmp/playwright_chromiumdev_profile-x"
    )
    pid = zoo.orphan("browser", streams=("null", "pipe", "pipe"), **named)
    found = zoo.find()
    assert found[0].proc.pid == pid
    assert found[0].reason == "headless browser without a driver"
    until(lambda: len(zoo.find()) == 2, "its child is there, too")


def test_a_task_of_an_agent_that_ended(zoo: Zoo) -> None:
    """CC#93794: what an agent's shell left running, told by the agent's mark in its environment."""
    pid = zoo.orphan(
        "task", ["sh", "-c", "sleep 600; :"], streams=("null", "pipe", "pipe"), env={"CLAUDECODE": "1"}
    )
    found = zoo.find()
    assert found[0].proc.pid == pid
    assert found[0].certain
    assert "task of claude" in found[0].reason


def test_a_task_that_writes_a_file_is_offered_apart(zoo: Zoo) -> None:
    """`make > build.log &` in an agent's shell: its agent has ended, but somebody may want the file."""
    zoo.orphan(
        "task", ["sh", "-c", "sleep 600; :"], ("null", str(zoo.folder / "build.log"), "pipe"), env={"CLAUDECODE": "1"}
    )
    found = zoo.find()
    assert found
    assert not any(left.certain for left in found)
    assert "somebody may want it" in " ".join(found[0].proof)


def test_an_orphan_below_a_subreaper(zoo: Zoo) -> None:
    """Scenario 23: its parent is not process 1, and it is found; the subreaper's own children are not."""
    reaper = (
        "import ctypes, os, subprocess, sys, time\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
        "child = subprocess.Popen(sys.argv[1:], start_new_session=True, stdout=subprocess.PIPE, stdin=-3)\n"
        "print(child.stdout.readline().decode().strip(), child.pid, os.getpid(), flush=True)\n"
        "time.sleep(600)\n"
    )
    spec: dict[str, object] = {
        "argv": [sys.executable, str(zoo.server)], "exe": None, "streams": ["pipe", "pipe", "null"], "setsid": False,
        "nohup": False, "env": {}, "pass": [],
    }  # fmt: skip
    owner_words = [sys.executable, "-c", KEEPER, json.dumps(spec)]
    above = zoo.start(
        ["sh", "-c", '"$@" &', "sh", sys.executable, "-c", reaper, *owner_words],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert above.stdout is not None
    server, owner, reaper_pid = map(int, above.stdout.readline().split())
    zoo.pids["server"] = server
    zoo.settle("server")
    assert zoo.find() == []
    os.kill(owner, signal.SIGKILL)
    until(
        lambda: [left.proc.pid for left in zoo.find()] == [server], "the orphan below the subreaper is found"
    )
    assert f"its parent is now pid {reaper_pid}" in zoo.find()[0].proof[0]


def test_what_listens_is_offered_apart(zoo: Zoo) -> None:
    """Pain 43: a server that its agent left behind may still be somebody's; never swept unasked."""
    listening = zoo.bin / "dev-mcp"
    listening.write_text(
        "import signal, socket\nsignal.signal(signal.SIGHUP, lambda *_: None)\n"
        "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\nwhile True: s.accept()\n"
    )
    zoo.server = listening
    zoo.orphan("server")
    (left,) = zoo.find()
    assert not left.certain
    assert "but it listens (port" in " ".join(left.proof)


LISTENERS = {
    "UDP port": "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))",
    "a Unix socket": "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1])",
    "the named pipe": "os.mkfifo(sys.argv[1]); s = open(sys.argv[1], 'r+b', 0)",
}


@pytest.mark.parametrize("words", LISTENERS)
def test_what_can_be_reached_without_a_connection_is_offered_apart(zoo: Zoo, words: str) -> None:
    """A server for datagrams or at a named pipe has no client between two messages."""
    zoo.server.write_text(
        f"import os, signal, socket, sys, time\n{LISTENERS[words]}\nsignal.signal(signal.SIGHUP, lambda *_: None)\n"
        "time.sleep(600)\n"
    )
    zoo.orphan("server", [sys.executable, str(zoo.server), str(zoo.folder / "at")])
    (left,) = zoo.find()
    assert not left.certain
    assert f"it listens ({words}" in " ".join(left.proof)


CHOSEN = {"--remote-debugging-port=9222": False, "--remote-debugging-port=0": True, "--remote-debugging-pipe": True}


@pytest.mark.parametrize("option", CHOSEN)
def test_a_browser_at_a_port_that_somebody_chose_is_offered_apart(zoo: Zoo, option: str) -> None:
    """Several may connect to it, one after the other; the port of a driver is one that the system gave."""
    code = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); time.sleep(600)"
    words = ["chrome", "-c", code, "--headless", "--user-data-dir=/tmp/x", option]
    pid = zoo.orphan("browser", words, ("null", "pipe", "pipe"), exe=sys.executable)
    until(lambda: any("LISTEN" in one.status for one in psutil.Process(pid).net_connections()), "it listens")
    (left,) = zoo.find()
    assert left.certain is CHOSEN[option]


def test_a_server_that_was_told_to_connect_is_offered_apart(zoo: Zoo) -> None:
    """A language server with --socket reaches its editor over TCP: its streams say nothing about its client."""
    with socket.create_server(("127.0.0.1", 0)) as editor:
        port = editor.getsockname()[1]
        zoo.server.write_text(
            f"import signal, socket, time\ns = socket.create_connection(('127.0.0.1', {port}))\n"
            "signal.signal(signal.SIGHUP, lambda *_: None)\ntime.sleep(600)\n"
        )
        zoo.orphan("told", [sys.executable, str(zoo.server), f"--socket={port}"])
        untold = zoo.orphan("untold")
        assert [left.proc.pid for left in zoo.find() if left.certain] == [untold]
        assert len(zoo.find()) == 2


def test_what_a_pid_file_names_is_offered_apart(zoo: Zoo) -> None:
    """A daemon that kept its starter's pipes."""
    pid = zoo.orphan("server", options={"cwd": zoo.folder})
    (zoo.folder / "server.pid").write_text(f"{pid}\n")
    (left,) = zoo.find()
    assert not left.certain
    assert f"{zoo.folder}/server.pid names it" in " ".join(left.proof)
