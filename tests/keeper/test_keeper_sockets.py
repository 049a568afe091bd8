"""Listening sockets that services inherit, and the word to the outer manager."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
from tests.keeper.conftest import Make
from tests.keeper.harness import ENTRY, Keeper, descriptors, until

pytestmark = pytest.mark.system
# Serves its own name on every socket passed, as sd_listen_fds demands; then what systemd's clients look at.
SERVER = """
import os, selectors, socket, sys
assert os.environ["LISTEN_PID"] == str(os.getpid()), os.environ["LISTEN_PID"]
ready = selectors.DefaultSelector()
for i in range(int(os.environ["LISTEN_FDS"])):
    s = socket.socket(fileno=3 + i)
    assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and s.getblocking()
    ready.register(s, selectors.EVENT_READ, os.environ["LISTEN_FDNAMES"].split(":")[i])
print(os.environ["LISTEN_FDS"], sorted(os.listdir("/proc/self/fd"), key=int)[:-1], flush=True)
while True:
    for key, _ in ready.select():
        peer, _ = key.fileobj.accept()
        with peer:
            peer.sendall(f"{sys.argv[1]} {key.data}".encode())
"""


def server(name: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", SERVER, name]


def asked(address: str) -> str:
    """What the service behind this address says."""
    family = socket.AF_UNIX if address[0] == "/" else socket.AF_INET6 if address[0] == "[" else socket.AF_INET
    host, _, port = address.rpartition(":")
    with socket.socket(family) as client:
        client.settimeout(30)
        client.connect(address if address[0] == "/" else (host.strip("[]"), int(port)))
        return client.recv(100).decode()


@pytest.mark.parametrize("gate", [False, True])
def test_a_service_gets_its_sockets(keeper: Keeper, gate: bool) -> None:
    """LISTEN_FDS: v4, v6 and a path, from 3 in the order asked for, LISTEN_PID its own pid, nothing else inherited."""
    names = {"web": "127.0.0.1:0", "six": "[::1]:0", "path": str(keeper.folder / "sock")}
    if not _six():
        names["six"] = "127.0.0.2:0"
    actual = {name: keeper.ask("listen", name=name, address=address)["address"] for name, address in names.items()}
    assert keeper.ask("listen", name="web", address="127.0.0.1:0")["address"] == actual["web"], "idempotent"
    pid = keeper.spawn("p.a.1", server("a"), listen=list(names), gate=gate)["pid"]
    if gate:
        keeper.ask("release", run="p.a.1")
    until(lambda: keeper.output("p.a.1").endswith(b"\n"), "it serves")
    assert keeper.output("p.a.1") == b"3 ['0', '1', '2', '3', '4', '5', '6']\n", "the last is its selector"
    assert {asked(address) for address in actual.values()} == {f"a {name}" for name in names}
    os.killpg(pid, signal.SIGKILL)
    keeper.event("exited")
    keeper.spawn("p.b.1", ["ls", "/proc/self/fd"])
    keeper.event("drained", "p.b.1")
    assert keeper.output("p.b.1").split() == [b"0", b"1", b"2", b"3"], "3 is ls's own"


def test_no_connection_is_refused_through_a_restart(keeper: Keeper) -> None:
    """The service is gone, the engine dies, the keeper re-executes itself: callers wait, none is refused."""
    address = keeper.ask("listen", name="web", address="127.0.0.1:0")["address"]
    pid = keeper.spawn("p.a.1", server("a"), listen=["web"])["pid"]
    assert asked(address) == "a web"
    answers: list[str] = []
    os.killpg(pid, signal.SIGKILL)
    keeper.event("exited")
    callers = [threading.Thread(target=lambda: answers.append(asked(address))) for _ in range(5)]
    for caller in callers:
        caller.start()
    os.kill(keeper.engine_pid, signal.SIGKILL)
    assert keeper.meet()["sockets"] == {"web": address}
    argv = [sys.executable, "-I", "-S", str(ENTRY), str(keeper.folder / "plan.json")]
    keeper.send(op="reexec", argv=argv)
    assert keeper.meet()["sockets"] == {"web": address}
    assert keeper.ask("listen", name="web", address="127.0.0.1:0")["address"] == address
    keeper.spawn("p.a.2", server("b"), listen=["web"])
    for caller in callers:
        caller.join(30)
    assert answers == ["b web"] * 5


def test_addresses_that_cannot_be_had_are_answers(keeper: Keeper) -> None:
    """In use, another address for the name, a host name, a bad port, a file in the way, an unknown or sixth socket."""
    path = keeper.folder / "sock"
    before = descriptors(keeper.process.pid)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        assert keeper.ask("listen", name="a", address=taken)["errno"] == "EADDRINUSE"
    for wrong in ("localhost:0", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":80", "", "/" + "x" * 200):
        assert keeper.ask("listen", name="a", address=wrong)["error"], wrong
    path.write_text("mine")
    assert keeper.ask("listen", name="a", address=str(path))["errno"] == "EADDRINUSE"
    assert path.read_text() == "mine"
    assert descriptors(keeper.process.pid) == before
    assert keeper.ask("listen", name="a", address="127.0.0.1:0")["ok"]
    assert keeper.ask("listen", name="a", address="127.0.0.1:1")["errno"] == "EEXIST"
    assert keeper.spawn("p.a.1", ["true"], listen=["b"])["errno"] == "ENOENT"
    for name in "bcdef":
        assert keeper.ask("listen", name=name, address="127.0.0.1:0")["ok"]
    assert keeper.spawn("p.a.1", ["true"], listen=list("abcdef"))["errno"] == "E2BIG"
    assert not list(keeper.folder.glob("p.a.*"))
    for name in "abcdef":
        assert keeper.ask("unlisten", name=name)["ok"]
    assert descriptors(keeper.process.pid) == before


def test_only_a_dead_socket_is_unlinked(keeper: Keeper) -> None:
    """A path that somebody listens on is in use; one that nobody listens on any more is taken over."""
    path = str(keeper.folder / "sock")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen(0)
        assert keeper.ask("listen", name="a", address=path)["errno"] == "EADDRINUSE"
    assert keeper.ask("listen", name="a", address=path)["address"] == path
    assert keeper.ask("unlisten", name="a")["ok"]
    assert not os.path.exists(path)


@pytest.mark.parametrize("abstract", [False, True])
def test_the_outer_manager_is_told_by_the_keeper(make_keeper: Make, tmp_path: Path, abstract: bool) -> None:
    """SVC: NotifyAccess=main: the datagram comes from the keeper's pid; a manager that is not there is no error."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = f"@midwatch-{os.getpid()}" if abstract else str(tmp_path / "notify")
        keeper = make_keeper(plan={"notify": address})
        assert keeper.ask("notify", text="nobody hears this")["ok"]
        manager.bind("\0" + address[1:] if abstract else address)
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        manager.settimeout(30)
        assert keeper.ask("notify", text="READY=1\nSTATUS=Ä")["ok"]
        text, control, _, _ = manager.recvmsg(1000, 100)
        assert text.decode() == "READY=1\nSTATUS=Ä"
        assert int.from_bytes(control[0][2][:4], sys.byteorder) == keeper.process.pid
        os.kill(keeper.engine_pid, signal.SIGKILL)
        keeper.meet()
        assert manager.recv(100) == b"STATUS=engine restarted"
    assert keeper.ask("notify", text="WATCHDOG=1")["ok"]


def _six() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            return True
    except OSError:
        return False
