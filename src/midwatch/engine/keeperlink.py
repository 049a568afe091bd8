"""The engine's end of the socketpair to the keeper: frames out, answers and events in.

Requests are answered through callbacks, not awaited: the restart path has no task switch in it. Must not
decide anything.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any, Self

import msgspec

Answer = Callable[[dict[str, Any]], None]

MAX_FRAME = 8 << 20  # bytes; the same bound as the keeper's


class KeeperLink(asyncio.Protocol):
    """Length-prefixed JSON over an inherited socket. `on_event` gets every frame without an id."""

    def __init__(self, on_event: Callable[[dict[str, Any]], None], on_gone: Callable[[], None]) -> None:
        self._on_event = on_event
        self._on_gone = on_gone
        self._buffer = bytearray()
        self._answers: dict[int, Answer] = {}
        self._next = 1
        self._transport: asyncio.Transport | None = None
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode

    @classmethod
    async def connect(
        cls, fd: int, on_event: Callable[[dict[str, Any]], None], on_gone: Callable[[], None]
    ) -> Self:
        """Take over the inherited descriptor."""
        os.set_inheritable(fd, False)
        link = cls(on_event, on_gone)
        await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=socket.socket(fileno=fd))
        return link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's callback."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """The keeper is gone: nothing can be supervised any more."""
        self._on_gone()

    def data_received(self, data: bytes) -> None:
        """Cut the stream into frames and hand each on."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= 4:
            size = int.from_bytes(buffer[start : start + 4], "big")
            if size > MAX_FRAME:
                raise ValueError(f"frame of {size} bytes from the keeper, limit {MAX_FRAME}")
            if len(buffer) - start - 4 < size:
                break
            frame = self._decode(bytes(buffer[start + 4 : start + 4 + size]))
            start += 4 + size
            self._handle(frame)
        del buffer[:start]

    def _handle(self, frame: dict[str, Any]) -> None:
        number = frame.get("id")
        if number is None:
            self._on_event(frame)
            return
        answer = self._answers.pop(number, None)
        if answer is not None:
            answer(frame)

    def send(self, **frame: Any) -> None:
        """A frame that is not answered."""
        body = self._encode(frame)
        if self._transport is not None:
            self._transport.write(len(body).to_bytes(4, "big") + body)

    def close(self) -> None:
        """Hang up; `on_gone` is still called."""
        if self._transport is not None:
            self._transport.close()

    def ask(self, answer: Answer, **frame: Any) -> None:
        """A frame whose answer is given to `answer`."""
        number = self._next
        self._next += 1
        self._answers[number] = answer
        self.send(id=number, **frame)
