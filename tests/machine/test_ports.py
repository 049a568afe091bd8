"""Listeners, their queues and holders, trial binds (ORP-1, ORP-2, ORP-4, HLT-6): real sockets on loopback."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.machine import trial
from midwatch.machine.linux import netlink, procfs, sockets
from midwatch.machine.linux.adapter import LinuxMachine

MACHINE = LinuxMachine("ports", os.getpid())
LOOPBACK4, LOOPBACK6 = "127.0.0.1", "::1"


def a_listener(host: str, *, port: int = 0, backlog: int = 5, v6only: bool | None = None, reuse: bool = True) -> Any:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.socket(family)
        if v6only is not None:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6only))
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError as error:
        if family == socket.AF_INET6:
            pytest.skip(f"no IPv6 here: {error}")
        raise
    sock.listen(backlog)
    return sock


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


@pytest.fixture(params=["netlink", "proc"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to ask the kernel."""
    if request.param == "proc":
        monkeypatch.setattr(netlink, "tcp", lambda family, port, states: None)
    elif netlink.tcp(socket.AF_INET, 1, netlink.EVERY) is None:
        pytest.skip("this kernel does not answer sock_diag")
    return str(request.param)


@pytest.mark.parametrize("host", [LOOPBACK4, LOOPBACK6, "0.0.0.0", "::"])
def test_every_address_is_listed(way: str, host: str) -> None:
    """ORP-1: v4, v6 and both wildcards, with inode, owner and holder."""
    with a_listener(host) as sock:
        (found,) = MACHINE.listeners(port_of(sock))
    assert (found.address, found.family) == (host, "inet6" if ":" in host else "inet")
    assert found.uid == os.geteuid()
    assert found.pids == (os.getpid(),)
    assert MACHINE.listeners(found.port) == []


def test_the_same_port_on_both_families_has_two_listeners(way: str) -> None:
    """ORP-1: 127.0.0.1:P and [::1]:P can belong to two different processes."""
    with a_listener(LOOPBACK4) as four, a_listener(LOOPBACK6, port=port_of(four)):
        found = MACHINE.listeners(port_of(four))
    assert {row.address for row in found} == {LOOPBACK4, LOOPBACK6}
    assert len({row.inode for row in found}) == 2


def test_holders_are_looked_for_only_when_asked(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HLT-6 polls the queues: no walk through /proc then, and none when nobody listens."""
    with a_listener(LOOPBACK4) as sock:
        port = port_of(sock)
        monkeypatch.setattr(sockets, "holders", lambda *_: pytest.fail("walked"))
        assert [row.pids for row in MACHINE.listeners(port, owners=False)] == [()]
    assert MACHINE.listeners(port) == []


def test_our_wildcard_is_ours_beside_a_strangers_specific_address(linux: Any, way: str) -> None:
    """ORP-4: owning a socket is a matter of the socket, not of who would answer at its address."""
    tree = linux.start()
    with a_listener(LOOPBACK4) as sock:
        (found,) = MACHINE.listeners(port_of(sock))
        assert linux.machine.owns(tree, found) is False
    port = linux.tell(tree, "listen", host=LOOPBACK4)
    (found,) = MACHINE.listeners(port)
    assert linux.machine.owns(tree, found) is True
    assert linux.machine.serving(tree) == {tree.main.pid: (port,)}


def crowd(port: int, count: int) -> list[socket.socket]:
    """Connections that are begun and never accepted."""
    found = []
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex((LOOPBACK4, port))
        found.append(sock)
    return found


def settled(look: Callable[[], Any], wanted: Any) -> Any:
    """The queues of loopback are filled by softirqs, a moment later: bounded retries."""
    for _ in range(200):
        if look() == wanted:
            break
        select_a_moment()
    return look()


def select_a_moment() -> None:
    import select

    select.select([], [], [], 0.02)


def test_connections_nobody_accepts_are_counted(way: str) -> None:
    """HLT-6: with a backlog of 5 the kernel lets 6 wait; the seventh hangs, and the queue is full."""
    with a_listener(LOOPBACK4, backlog=5) as sock:
        port = port_of(sock)
        clients = crowd(port, 4)
        assert settled(lambda: MACHINE.listeners(port, owners=False)[0].waiting, 4) == 4
        assert not MACHINE.listeners(port)[0].full
        clients += crowd(port, 4)
        assert settled(lambda: MACHINE.listeners(port, owners=False)[0].waiting, 6) == 6
        (row,) = MACHINE.listeners(port)
        assert (row.backlog, row.full) == ((5, True) if way == "netlink" else (None, False))
        for _ in range(6):
            sock.accept()[0].close()
        for client in clients:
            client.close()


def test_a_stopped_server_shows_in_its_queue() -> None:
    """HLT-6: SIGSTOP, the port still connects, the kernel counts who waits; the holder is the stopped process."""
    import signal

    code = (
        "import socket,sys; s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(50); print(s.getsockname()[1],"
        "flush=True)\nfor _ in range(1000): s.accept()[0].close()"
    )
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        port = int(server.stdout.readline())
        try:
            os.kill(server.pid, signal.SIGSTOP)
            clients = crowd(port, 3)
            settled(lambda: MACHINE.listeners(port, owners=False)[0].waiting >= 2, True)
            (row,) = MACHINE.listeners(port)
            assert row.waiting >= 2  # it may have been inside accept() when it was stopped
            assert row.pids == (server.pid,)
            os.kill(server.pid, signal.SIGCONT)
            assert settled(lambda: MACHINE.listeners(port, owners=False)[0].waiting, 0) == 0
            for client in clients:
                client.close()
        finally:
            server.kill()


def test_a_socket_that_several_hold_names_them_all() -> None:
    """A pre-forking server: one inode, every worker is a holder."""
    with a_listener(LOOPBACK4) as sock:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE, pass_fds=[sock.fileno()],
        )  # fmt: skip
        try:
            (row,) = MACHINE.listeners(port_of(sock))
            assert row.pids == tuple(sorted((os.getpid(), child.pid)))
        finally:
            assert child.stdin
            child.stdin.close()
            child.wait(30)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's process")
def test_somebody_elses_listener_has_no_pids_for_an_unprivileged_user() -> None:
    """ORP-1 "unattributable": the listener is there, its holder may not be looked at: (), never a guess."""
    code = (
        "import os,sys; from midwatch.machine.linux.adapter import LinuxMachine; os.setgroups([]); os.setgid(65534);"
        "os.setuid(65534); m = LinuxMachine('x', 1); r = m.listeners(int(sys.argv[1]))[0];"
        "h = m.holder(int(sys.argv[2])); print(r.pids, r.uid, h.user, h.marker == '')"
    )
    with a_listener(LOOPBACK4) as sock:
        arguments = [sys.executable, "-c", code, str(port_of(sock)), str(os.getpid())]
        out = subprocess.run(arguments, capture_output=True, text=True, timeout=60, env=environment(), check=False)
    assert out.stdout.split() == ["()", "0", "root", "True"], out.stderr


def environment() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PATH": os.environ["PATH"]}


BUSY: dict[str, Callable[[], Any]] = {
    "127.0.0.1": lambda: a_listener(LOOPBACK4),
    "::1": lambda: a_listener(LOOPBACK6),
    "0.0.0.0": lambda: a_listener("0.0.0.0"),
    "::": lambda: a_listener("::"),
    ":: without IPv4": lambda: a_listener("::", v6only=True),
}


@pytest.mark.parametrize("make", BUSY.values(), ids=BUSY)
def test_a_port_somebody_listens_on_is_not_bindable(make: Callable[[], Any]) -> None:
    """ORP-2: whichever single address it is."""
    with make() as sock:
        port = port_of(sock)
        assert MACHINE.bindable(port) is False
    assert MACHINE.bindable(port) is True


def test_a_silent_bind_is_busy_and_named() -> None:
    """ORP-2: bound without listening is in no table of listeners, yet the service could not start."""
    with socket.socket() as sock:
        sock.bind((LOOPBACK4, 0))
        port = port_of(sock)
        assert MACHINE.listeners(port) == []
        assert MACHINE.bindable(port) is False
        words = MACHINE.blockers(port)
    assert words in ("", f"pid {os.getpid()} has bound 127.0.0.1:{port} and does not listen")  # "": Linux < 6.8


def a_finished_connection(reuse: bool) -> int:
    """A server closed first: its port has a connection in TIME_WAIT."""
    with a_listener(LOOPBACK4, reuse=reuse) as server:
        port = port_of(server)
        client = socket.create_connection((LOOPBACK4, port))
        accepted, _ = server.accept()
    accepted.close()
    client.recv(1)
    client.close()
    return port


def test_time_wait_of_a_proper_server_does_not_make_it_busy() -> None:
    """ORP-2: an ordinary restart (SO_REUSEADDR as every server sets it) finds its port free."""
    assert MACHINE.bindable(a_finished_connection(reuse=True)) is True


def test_time_wait_without_reuse_is_busy_and_said() -> None:
    """A server without SO_REUSEADDR leaves its port unusable to anybody for a minute: the kernel refuses, so do we."""
    port = a_finished_connection(reuse=False)
    assert MACHINE.bindable(port) is False
    assert MACHINE.listeners(port) == []
    assert "free within about a minute" in MACHINE.blockers(port) or MACHINE.blockers(port) == ""


def test_an_outgoing_connection_that_uses_the_port_is_named(way: str) -> None:
    """An ephemeral port can be a service's port: who uses it, for what."""
    with a_listener(LOOPBACK4) as server, socket.create_connection((LOOPBACK4, port_of(server))) as client:
        port = port_of(client)
        assert MACHINE.bindable(port) is False
        words = MACHINE.blockers(port)
    assert words == f"pid {os.getpid()} uses it for a connection to 127.0.0.1:{port_of_text(words)}"


def port_of_text(words: str) -> str:
    return words.rpartition(":")[2]


def test_a_port_that_may_not_be_bound_is_not_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """ORP-2: EACCES for a low port, no IPv6 at all: no conflict, the service will say so itself."""

    class Refusing(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Refusing)
    assert trial.bindable(80) is True
    monkeypatch.setattr(socket, "socket", lambda *_: (_ for _ in ()).throw(OSError(97, "no such family")))
    assert trial.bindable(80) is True


def rows(*addresses: str, v6only: bool = False) -> list[procfs.TcpSocket]:
    families = [(socket.AF_INET6 if ":" in text else socket.AF_INET, text) for text in addresses]
    return [
        procfs.TcpSocket(socket.inet_pton(family, text), 80, number, v6only=v6only if ":" in text else None)
        for number, (family, text) in enumerate(families, 1)
    ]


@pytest.mark.parametrize(
    ("listening", "host", "inodes"),
    [
        (rows("0.0.0.0", "127.0.0.1"), "127.0.0.1", {2}),
        (rows("0.0.0.0", "::"), "127.0.0.1", {1}),
        (rows("::"), "127.0.0.1", {1}),
        (rows("::", v6only=True), "127.0.0.1", set()),
        (rows("::", v6only=True), "::1", {1}),
        (rows("::1"), "127.0.0.1", set()),
        (rows("127.0.0.1"), "::1", set()),
        (rows("::ffff:127.0.0.1", "::"), "127.0.0.1", {1}),
        (rows("127.0.0.1", "::1"), "localhost", {1, 2}),
        (rows("127.0.0.1", "10.0.0.1"), "0.0.0.0", {1}),
        (rows("::1"), "::", {1}),
        (rows("::1"), "[::1]", {1}),
        (rows("127.0.0.1"), "::ffff:127.0.0.1", {1}),
        (rows("127.0.0.1"), "some.host.name", set()),
    ],
)
def test_who_answers_a_connection(listening: list[procfs.TcpSocket], host: str, inodes: set[int]) -> None:
    """ORP-3, HLT-2: the most specific address wins; "::" takes IPv4 unless it says not; wildcards mean loopback."""
    assert sockets.answering(listening, host) == inodes


def test_a_listener_on_the_other_family_is_not_ours(linux: Any) -> None:
    """HLT-2, scenario: ours on ::1, a stranger on 127.0.0.1 of the same port; asked by either address and by name."""
    tree = linux.start()
    port = linux.tell(tree, "listen", host="::1")
    with a_listener(LOOPBACK4, port=port):
        assert linux.machine.listener_in_tree(tree, "::1", port) is True
        assert linux.machine.listener_in_tree(tree, "127.0.0.1", port) is False
        assert linux.machine.listener_in_tree(tree, "localhost", port) is None  # the resolver decides


@given(st.binary(max_size=300))
def test_no_bytes_make_a_parser_raise(data: bytes) -> None:
    """Torn or strange answers give nothing (OSError: the caller reads /proc instead)."""
    netlink.diag(data)
    procfs.tcp(data)
    procfs.listeners(data, 80)
    try:
        netlink.messages(data, [])
    except OSError:
        pass


def test_a_refusal_of_sock_diag_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox without netlink: /proc/net/tcp answers."""
    error = struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -1)
    with pytest.raises(OSError, match="sock_diag"):
        netlink.messages(error, [])
    monkeypatch.setattr(socket, "AF_NETLINK", -1)
    assert netlink.tcp(socket.AF_INET, 80, 1) is None
    with a_listener(LOOPBACK4) as sock:
        assert [row.address for row in MACHINE.listeners(port_of(sock))] == [LOOPBACK4]


