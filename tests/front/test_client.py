"""The control socket's client: clear words for everything that can be at the other end, and no endless wait."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from tests.front.conftest import Daemon

from midwatch.engine.client import REQUEST_BYTES, Client, ClientError, DaemonDown, Refused
from midwatch.engine.layout import Layout


def test_it_asks_and_gets_the_result(daemon: Daemon, layout: Layout) -> None:
    """Several questions go over one connection, each answered by its id."""
    with Client(layout.control) as client:
        assert client.version == "0.1.0"
        assert client.call("ping")["keeper_pid"] == 2
        assert len(client.call("ps")["services"]) == 2


def test_nobody_there_is_said_with_the_way_out(layout: Layout) -> None:
    """No socket, or a dead one: DaemonDown, and the words name `midwatch up`."""
    with pytest.raises(DaemonDown, match="midwatch up"):
        Client(layout.control)
    layout.control.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(layout.control))
    with pytest.raises(DaemonDown, match="midwatch up"):
        Client(layout.control)


def test_a_refusal_carries_code_and_words(daemon: Daemon, layout: Layout) -> None:
    """A JSON-RPC error becomes Refused; an unknown service is a usage error (2)."""
    daemon.answers["stop"] = {"error": {"code": -32001, "message": "no service 'wbe'; did you mean 'web'?"}}
    with Client(layout.control) as client, pytest.raises(Refused, match="did you mean") as caught:
        client.call("stop", services=["wbe"])
    assert (caught.value.code, caught.value.exit_code) == (-32001, 2)


def test_another_protocol_can_be_read_and_stopped(layout: Layout) -> None:
    """A daemon of another protocol answers ps and stop; what may have changed its meaning is not sent."""
    newer = Daemon(layout, {"protocol": 9, "version": "9.0"})
    newer.services()
    newer.answers["stop"] = {"job": "j"}
    try:
        with Client(layout.control) as client:
            assert client.call("ps")["services"] == []
            assert client.call("stop", services=[]) == {"job": "j"}
            with pytest.raises(ClientError, match=r"9\.0 \(protocol 9\)"):
                client.call("apply", specs=[])
        assert newer.of("apply") == []
    finally:
        newer.close()


@pytest.mark.parametrize("greeting", [{}, {"hello": 1}], ids=["empty", "stranger"])
def test_a_stranger_on_the_socket_is_named(layout: Layout, greeting: dict[str, int]) -> None:
    """A program that is not midwatch is not talked to."""
    stranger = Daemon(layout, greeting)
    try:
        with pytest.raises(ClientError, match="not answered by midwatch"):
            Client(layout.control)
    finally:
        stranger.close()


def test_a_silent_daemon_does_not_hold_us(layout: Layout) -> None:
    """Somebody accepts and never speaks: the wait ends, and the words say that services are not affected."""
    layout.control.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(layout.control))
        mute.listen(1)
        with pytest.raises(ClientError, match=r"did not answer in 0\.05 s; your services are not affected"):
            Client(layout.control, timeout=0.05)


def test_hanging_up_midway_is_said(layout: Layout) -> None:
    """The daemon goes away between greeting and answer."""
    layout.control.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(layout.control))
        server.listen(1)

        def greet_and_go() -> None:
            link, _ = server.accept()
            link.sendall(b'{"protocol":1,"version":"0"}\n')
            link.close()

        thread = threading.Thread(target=greet_and_go)
        thread.start()
        with Client(layout.control) as client:
            thread.join(5)
            with pytest.raises(ClientError, match="hung up"):
                client.call("ps")


def test_too_much_to_send_is_not_sent(daemon: Daemon, layout: Layout) -> None:
    """A request over the server's limit is refused here, with the two ways out."""
    with Client(layout.control) as client, pytest.raises(ClientError, match="split the configuration"):
        client.call("apply", specs=["x" * REQUEST_BYTES])
    assert daemon.asked == []


def test_a_path_longer_than_an_address_is_reached(tmp_path: Path) -> None:
    """AF_UNIX ends at 107 bytes; the client goes through the folder's descriptor."""
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    here = os.open(".", os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        try:
            os.chdir(folder)
            server.bind("control.sock")
        finally:
            os.fchdir(here)
            os.close(here)
        server.listen(1)

        def greet() -> None:
            link, _ = server.accept()
            link.sendall(b'{"protocol":1,"version":"0"}\n')
            link.close()

        thread = threading.Thread(target=greet)
        thread.start()
        Client(folder / "control.sock").close()
        thread.join(5)
