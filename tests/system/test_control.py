"""A hostile or broken client of the control socket: it is answered or turned away, said once, and nobody else notices.

After every attack the daemon still answers `ps` and its service has the process it had before.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from tests.system.conftest import PATIENCE, Instance

from midwatch.policy import defaults

NOBODY = 65534


class Line:
    """One raw connection. Every read is bounded."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(path))
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self) -> dict[str, Any] | None:
        """The next line; None when the other side has hung up."""
        while b"\n" not in self._rest:
            try:
                piece = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not piece:
                return None
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, body: object) -> dict[str, Any]:
        """Send a JSON value (or these bytes) as a line and read the answer."""
        self.send((body if isinstance(body, bytes) else json.dumps(body).encode()) + b"\n")
        answer = self.read()
        assert answer is not None, f"hung up on {str(body)[:80]}"
        return answer


@pytest.fixture
def up(instance: Instance) -> Iterator[Instance]:
    """A daemon with one service; afterwards the same service has the same pid and `ps` is answered."""
    instance.up('[service.a]\ncommand = ["sleep", "1000"]\n')
    before = instance.ps()["a"]["pid"]
    engine = instance.daemon()["pid"]
    yield instance
    assert instance.ps()["a"]["pid"] == before
    assert instance.daemon()["pid"] == engine, "the engine did not survive the client"
    assert "Traceback" not in (instance.home / "daemon.log").read_text()
    assert len(instance.journal("run.spawned")) == 1


def line(instance: Instance) -> Line:
    """A connection that has been greeted."""
    made = Line(instance.home / "run" / "control.sock")
    hello = made.read()
    assert hello is not None
    assert hello["protocol"] == 1
    return made


def refusals(instance: Instance) -> list[str]:
    """What the journal says about clients that were turned away."""
    return [entry["reason"] for entry in instance.journal("control.refused")]


def test_an_oversized_line_is_refused_and_said_once(up: Instance) -> None:
    """H: a request longer than the limit ends that connection; two of them are one line in the journal."""
    for _ in range(2):
        with line(up) as client:
            try:
                client.send(b"x" * (defaults.CONTROL_LINE_BYTES + (1 << 20)))
                answer = client.read()
            except (ConnectionError, TimeoutError):
                continue  # it hung up before it had all of it: also an answer
            assert answer is None or answer["error"]["code"] == -32600
    assert refusals(up) == [f"a request longer than {defaults.CONTROL_LINE_BYTES} bytes"]


JUNK = (
    b"hello", b"{", b'{"jsonrpc":"2.0","id":1,"method":', bytes(range(1, 10)) + bytes(range(11, 256)),
    b'{"id":1,"method":"\xff\xfe"}', b"\0" * 500, b"GET / HTTP/1.1\r", b"[" * 100_000, b'{"id":' * 50_000,
)  # fmt: skip


def test_what_is_not_json_is_answered_and_said_once(up: Instance) -> None:
    """JSON-RPC -32700; the connection is still good for a real question."""
    with line(up) as client:
        for junk in JUNK * 2:
            assert client.ask(junk)["error"]["code"] == -32700, junk[:40]
            assert client.ask({"jsonrpc": "2.0", "id": 7, "method": "ping"})["id"] == 7
    assert refusals(up) == ["a request that is not JSON"]


NO_REQUEST: tuple[object, ...] = ([], 5, None, "ps", {}, {"method": 5}, {"method": None, "id": 1}, [{"method": "ps"}])

WRONG: tuple[tuple[str, object, str], ...] = (
    ("stop", {"services": "p/a"}, "services"),
    ("stop", {}, "services"),
    ("stop", {"services": [1]}, "services"),
    ("stop", {"services": ["p/a"], "now": "yes"}, "now"),
    ("stop", {"services": ["p/a"], "nwo": True}, "nwo"),
    ("ps", {"x": 1}, "x"),
    ("ps", "x", "object"),
    ("job", {"id": 5}, "id"),
    ("job", {"id": "x", "wait": "long"}, "wait"),
    ("wait", {"services": ["p/a"], "until": "doomsday"}, "until"),
    ("apply", {"project": "p", "source": "s", "specs": [{}]}, "specs"),
    ("apply", {"project": "p", "source": "s", "specs": None}, "specs"),
    ("down", {"all": 1}, "all"),
)


def test_json_that_is_no_valid_request_is_answered_and_does_nothing(up: Instance) -> None:
    """JSON-RPC -32600 for no request, -32601 for no such method (naming those there are), -32602 for wrong
    parameters (naming them)."""
    with line(up) as client:
        for value in NO_REQUEST:
            assert client.ask(value)["error"]["code"] == -32600, value
        unknown = client.ask({"jsonrpc": "2.0", "id": 1, "method": "restrat"})["error"]
        assert unknown["code"] == -32601
        assert "'restrat'" in unknown["message"]
        assert "restart" in unknown["message"]
        for method, params, name in WRONG:
            error = client.ask({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})["error"]
            assert error["code"] == -32602, (method, params)
            assert name in error["message"], (method, params)
    assert not up.journal("stop.begin")


def test_an_unknown_service_names_the_nearest(up: Instance) -> None:
    """-32001, and the other services of the same request are not touched."""
    with line(up) as client:
        request = {"id": 1, "method": "stop", "params": {"services": ["p/a", "p/b"]}}
        error = client.ask(request)["error"]
        assert (error["code"], "'p/a'" in error["message"]) == (-32001, True)
        assert client.ask({"id": 2, "method": "job", "params": {"id": "nope"}})["error"]["code"] == -32001


def test_each_answer_carries_the_id_of_its_question(up: Instance) -> None:
    """Numbers, words and null come back as they were; questions sent in one go are answered in order."""
    ids: list[object] = [1, "one", 2**40, -3, 1.5, "ü"]
    with line(up) as client:
        client.send(b"".join(json.dumps({"id": n, "method": "ping"}).encode() + b"\n" for n in ids))
        assert [(client.read() or {}).get("id") for _ in ids] == ids
        client.send(b'{"method":"ping"}\n')  # a notification: no answer
        assert client.ask({"id": 99, "method": "ping"})["id"] == 99


def test_a_hundred_connections_are_bounded_and_do_not_lock_others_out_for_good(up: Instance) -> None:
    """No more than the limit at once, said once; when they leave, everybody is served again."""
    path = up.home / "run" / "control.sock"
    clients = [Line(path) for _ in range(100)]
    greeted = [client.read() is not None for client in clients]
    assert sum(greeted) == defaults.CONTROL_CLIENTS
    for client in clients:
        client.socket.close()
    up.until(lambda rows: rows["a"]["state"] == "up", "it is answered again")
    assert refusals(up) == [f"more than {defaults.CONTROL_CLIENTS} clients at once"]


def test_half_open_and_slow_clients_give_their_places_back(up: Instance) -> None:
    """Who connects and says nothing, or sends an endless request byte by byte, is cut off in time; others are
    served meanwhile, also a slow but honest one."""
    quiet = [line(up) for _ in range(5)]
    with line(up) as honest, line(up) as endless:
        for byte in b'{"id":1,"method":"ping"}':
            honest.send(bytes([byte]))
            time.sleep(0.005)
        assert honest.ask(b"")["id"] == 1
        assert up.cli("ps").returncode == 0
        limit = time.monotonic() + defaults.CONTROL_FIRST_REQUEST + PATIENCE
        with pytest.raises(OSError):  # noqa: PT012  reset or broken pipe, whichever comes first
            while time.monotonic() < limit:
                endless.send(b"x")
                time.sleep(0.05)
        assert honest.ask({"id": 2, "method": "ping"})["id"] == 2
    for client in quiet:
        assert client.read() is None
        client.socket.close()


def test_a_client_that_never_reads_holds_nobody_up(up: Instance) -> None:
    """Questions without end whose answers pile up: it is held back or cut off, the daemon is not."""
    with line(up) as deaf:
        deaf.socket.settimeout(0.3)
        with pytest.raises(OSError):  # noqa: PT012  our side is full (a timeout), or it hung up
            for _ in range(1000):
                deaf.send(b'{"id":1,"method":"ps"}\n' * 2000)
        assert up.cli("ps").returncode == 0


def test_a_client_that_vanishes_in_the_middle_leaves_nothing(up: Instance) -> None:
    """Half a line, or a question whose answer nobody waits for."""
    waiting = {"id": 1, "method": "wait", "params": {"services": ["p/a"], "until": "stopped", "wait": 2}}
    for data in (b'{"id":1,"meth', json.dumps(waiting).encode() + b"\n"):
        client = line(up)
        client.send(data)
        client.socket.close()
    assert up.cli("ps").returncode == 0


def as_user(uid: int, what: Callable[[], str]) -> str:
    """Run `what` as another user in a child; its words."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            words = what()
        except BaseException as error:  # noqa: BLE001  told to the parent
            words = f"{type(error).__name__}"
        os.write(write, words.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        words = file.read()
    os.waitpid(pid, 0)
    return words


@pytest.mark.root("to become another user")
class TestOtherUser:
    def test_another_user_cannot_even_connect(self, up: Instance) -> None:
        """Folder 0700 and socket 0600."""
        path = up.home / "run" / "control.sock"
        assert as_user(NOBODY, lambda: str(Line(path))) == "PermissionError"

    def test_another_user_is_refused_by_the_kernels_word_where_permissions_fail(self, up: Instance) -> None:
        """Peer credentials: with the permissions wide open it is turned away unheard, said once with its uid."""
        path = up.home / "run" / "control.sock"
        if any(not folder.stat().st_mode & 0o001 for folder in up.home.parents):
            pytest.skip("the folder of the tests' homes is closed to other users")
        up.home.chmod(0o755)
        (up.home / "run").chmod(0o755)
        path.chmod(0o666)

        def attack() -> str:
            words = []
            for _ in range(3):
                with Line(path) as client:
                    try:
                        client.send(b'{"id":1,"method":"down","params":{"all":true}}\n')
                    except ConnectionError:
                        pass  # it had hung up already
                    words.append(str(client.read()))
            return " ".join(words)

        assert as_user(NOBODY, attack) == "None None None"
        assert refusals(up) == [f"user {NOBODY} is not the owner 0"]
        with Line(path) as owner:
            assert owner.read() is not None


def test_the_socket_is_for_its_owner_only(up: Instance) -> None:
    """0600, in a folder 0700."""
    socket_path = up.home / "run" / "control.sock"
    assert socket_path.stat().st_mode & 0o777 == 0o600
    assert socket_path.parent.stat().st_mode & 0o777 == 0o700


def test_questions_during_a_slow_stop_are_answered_at_once(instance: Instance) -> None:
    """Status never waits for a stop: `ps` and a second connection are served while a job runs."""
    stubborn = 'trap "" TERM; while :; do sleep 0.2; done'
    instance.up(f"[service.a]\ncommand = [\"sh\", \"-c\", '{stubborn}']\nstop = {{ grace = \"1.5s\" }}\n")
    with line(instance) as client:
        job = client.ask({"id": 1, "method": "stop", "params": {"services": ["p/a"]}})["result"]["job"]
        assert instance.ps()["a"]["state"] in ("stopping", "killing")
        assert client.ask({"id": 2, "method": "job", "params": {"id": job}})["result"]["state"] == "running"
        done = client.ask({"id": 3, "method": "job", "params": {"id": job, "wait": 30}})["result"]
    assert done["state"] == "done"
