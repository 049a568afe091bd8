"""The control socket: JSON-RPC 2.0, one object a line, for the same user (and root) only.

Bounded against a hostile client: number of clients, length of a line, time to the first request, bytes waiting to be
sent. Must not know what the methods do (methods.py).
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from midwatch import __version__
from midwatch.engine.methods import Methods, RpcError
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine

PROTOCOL = 1


class Control:
    """The listening side. Refusals are said in the journal once per reason and minute."""

    def __init__(self, engine: Engine, methods: Methods) -> None:
        self._engine = engine
        self._methods = methods
        self._server: asyncio.AbstractServer | None = None
        self._clients = 0
        self._said: dict[str, float] = {}

    async def open(self) -> None:
        """Bind 0600 at the layout's path; a leftover socket of a dead engine is replaced (we hold the lock)."""
        path = str(self._engine.layout.control)
        if os.path.lexists(path):
            os.unlink(path)
        # Its folder is ours alone, so nobody is quicker than the chmod; a umask would be the whole process's, and that
        # is somebody else's program when we are embedded.
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(path)
            os.chmod(path, 0o600)
            self._server = await asyncio.start_unix_server(
                self._client, sock=sock, limit=defaults.CONTROL_LINE_BYTES
            )
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Stop listening and take the socket away."""
        if self._server is not None:
            self._server.close()
            try:
                self._engine.layout.control.unlink(missing_ok=True)
            except OSError:
                pass  # a disk that became read-only must not keep the daemon from ending

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._clients >= defaults.CONTROL_CLIENTS:
            self._refuse(f"more than {defaults.CONTROL_CLIENTS} clients at once")
            writer.close()
            return
        uid = peer_uid(writer.get_extra_info("socket"))
        if uid not in (None, os.geteuid(), 0):
            self._refuse(f"user {uid} is not the owner {os.geteuid()}")
            writer.close()
            return
        self._clients += 1
        try:
            writer.write(b'{"protocol":%d,"version":"%s"}\n' % (PROTOCOL, __version__.encode()))
            await self._serve(reader, writer)
        except (ConnectionError, TimeoutError):
            pass
        finally:
            self._clients -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        patience = defaults.CONTROL_FIRST_REQUEST
        while True:
            try:
                line = await asyncio.wait_for(reader.readline(), patience)
            except (ValueError, asyncio.LimitOverrunError):
                self._refuse(f"a request longer than {defaults.CONTROL_LINE_BYTES} bytes")
                writer.write(_error(None, RpcError(-32600, "request too long; split it")))
                return
            if not line:
                return
            patience = defaults.CONTROL_IDLE
            answer = await self._answer(line)
            if answer is not None:
                writer.write(answer)
                await asyncio.wait_for(writer.drain(), defaults.CONTROL_FIRST_REQUEST)

    async def _answer(self, line: bytes) -> bytes | None:
        try:
            request = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # torn, not UTF-8, nested too deep
            self._refuse("a request that is not JSON")
            return _error(None, RpcError(-32700, f"not JSON: {error}"))
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _error(None, RpcError(-32600, "a request is an object with a method"))
        number = request.get("id")
        try:
            result = await self._methods.call(request["method"], request.get("params") or {})
        except RpcError as error:
            return _error(number, error)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end supervision (G11)
            self._refuse(f"own fault in {request['method']}: {error!r}")
            return _error(number, RpcError(-32603, f"midwatch's own fault: {error!r}; please report it"))
        if number is None:
            return None
        return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "result": result}) + b"\n"

    def _refuse(self, reason: str) -> None:
        now = self._engine.machine.now().awake
        if now - self._said.get(reason, -1e9) >= defaults.SAY_AGAIN:
            if len(self._said) > defaults.CONTROL_CLIENTS:
                self._said.clear()
            self._said[reason] = now
            self._engine.write("control.refused", fields={"reason": reason})


def _error(number: Any, error: RpcError) -> bytes:
    body = {"jsonrpc": "2.0", "id": number, "error": {"code": error.code, "message": error.message}}
    return msgspec.json.encode(body) + b"\n"


def peer_uid(peer: socket.socket) -> int | None:
    """The user at the other end, from the kernel; None where this system does not tell (the socket is 0600 anyway)."""
    if sys.platform == "linux":
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", raw)[1])
    if sys.platform == "darwin":
        # struct xucred {u_int version; uid_t uid; ...} by LOCAL_PEERCRED (0x001) at SOL_LOCAL (0)
        raw = peer.getsockopt(0, 0x001, 76)
        return int(struct.unpack_from("=II", raw)[1])
    return None
