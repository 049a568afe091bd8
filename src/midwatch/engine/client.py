"""The sync client of the control socket: one connection, one question at a time, every wait bounded.

JSON-RPC 2.0, one object a line; the server speaks first: {"protocol": 1, "version": "..."}. A daemon of
another protocol can still be asked what it runs and be stopped. Stdlib only, because the command line
loads it for `ps`. Must not know what a method means. Tests: tests/front/test_client.py.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROTOCOL = 1
ANY_PROTOCOL = frozenset({"ping", "ps", "stop", "down", "job", "upgrade"})  # what every version has to understand
REQUEST_BYTES = 1 << 20  # the server's limit of one line
ANSWER_BYTES = 16 << 20  # ours
SOCKET_PATH_MAX = 100  # bytes; AF_UNIX ends at 107 (Linux) and 103 (macOS)


class ClientError(Exception):
    """The daemon could not be asked. One line: what, where, what to do."""

    exit_code = 1


class DaemonDown(ClientError):
    """Nobody listens on the control socket."""


class HungUp(ClientError):
    """The connection ended before the answer: that engine died or was replaced; its keeper starts another."""


class Refused(ClientError):
    """The daemon answered with an error. `code` is the JSON-RPC code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.exit_code = 2 if code in {-32001, -32602} else 1


class Client:
    """One connection to one daemon."""

    def __init__(self, control: Path, timeout: float = 5.0) -> None:
        self.control = control
        self.timeout = timeout
        self._buffer = bytearray()
        self._id = 0
        self.reconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def reconnect(self) -> None:
        """Connect, or connect again to a successor of the daemon that hung up."""
        self._buffer.clear()
        self._socket = _connect(self.control, self.timeout)
        try:
            self._greet()
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Hang up; safe to repeat."""
        self._socket.close()

    def call(self, method: str, *, patience: float = 0.0, **params: Any) -> dict[str, Any]:
        """Ask one question. `patience`: seconds that the daemon itself may take before it answers."""
        if self.protocol != PROTOCOL and method not in ANY_PROTOCOL:
            raise ClientError(
                f"the daemon is midwatch {self.version} (protocol {self.protocol}), this is protocol "
                f"{PROTOCOL}: "
                f"{method!r} was not sent; use the daemon's own midwatch, or 'midwatch down --all' and "
                "start again"
            )
        self._id += 1
        request = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        line = json.dumps(request, separators=(",", ":")).encode() + b"\n"
        if len(line) > REQUEST_BYTES:
            raise ClientError(
                f"{method!r} is too large to send ({len(line)} bytes, the daemon takes {REQUEST_BYTES}); "
                "split the configuration into two projects or inherit a smaller environment"
            )
        deadline = time.monotonic() + self.timeout + patience
        self._send(line, deadline)
        while True:
            answer = self._line(deadline)
            if answer.get("id") == self._id or (answer.get("id") is None and "error" in answer):
                return _result(answer)

    def _greet(self) -> None:
        hello = self._line(time.monotonic() + self.timeout)
        protocol = hello.get("protocol")
        if not isinstance(protocol, int):
            raise ClientError(f"{self.control} is not answered by midwatch; end whatever listens there")
        self.protocol = protocol
        self.version = str(hello.get("version", "?"))

    def _send(self, line: bytes, deadline: float) -> None:
        try:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            self._socket.sendall(line)
        except OSError as error:
            raise self._lost(error) from None

    def _line(self, deadline: float) -> dict[str, Any]:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > ANSWER_BYTES:
                raise ClientError(f"the daemon's answer is larger than {ANSWER_BYTES} bytes; it was not read")
            try:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                piece = self._socket.recv(1 << 18)
            except OSError as error:
                raise self._lost(error) from None
            if not piece:
                raise self._lost(None)
            self._buffer += piece
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ClientError(f"{self.control} does not speak our protocol; end whatever listens there")
        return value

    def _lost(self, error: OSError | None) -> ClientError:
        if isinstance(error, TimeoutError):
            return ClientError(
                f"the daemon at {self.control} did not answer in {self.timeout:g} s; your services are not "
                "affected; try again, or look at daemon.log in its home"
            )
        why = f" ({error.strerror})" if error is not None else ""
        return HungUp(f"the daemon at {self.control} hung up{why}; it may be restarting: try again")


def _result(answer: dict[str, Any]) -> dict[str, Any]:
    problem = answer.get("error")
    if isinstance(problem, dict):
        raise Refused(int(problem.get("code", 0)), str(problem.get("message", "refused without a reason")))
    result = answer.get("result")
    return result if isinstance(result, dict) else {}


def _connect(control: Path, timeout: float) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(timeout)
    try:
        _connect_short(link, control)
        return link
    except OSError as error:
        link.close()
        if error.errno in {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR}:
            raise DaemonDown("no midwatch daemon is running; 'midwatch up' starts one") from None
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise ClientError(
                f"{control} belongs to another user; nothing was asked; use that user's account"
            ) from None
        raise ClientError(
            f"cannot reach the daemon at {control}: {error.strerror or error}; try again"
        ) from None


def _connect_short(link: socket.socket, control: Path) -> None:
    """Connect also where the path is longer than a socket address may be."""
    if len(os.fsencode(control)) <= SOCKET_PATH_MAX:
        link.connect(str(control))
        return
    folder = os.open(control.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.path.isdir("/proc/self/fd"):
            link.connect(f"/proc/self/fd/{folder}/{control.name}")
            return
        here = os.open(".", os.O_RDONLY)
        try:
            os.fchdir(folder)
            link.connect(control.name)
        finally:
            os.fchdir(here)
            os.close(here)
    finally:
        os.close(folder)
