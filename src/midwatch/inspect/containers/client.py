"""Asks one engine over its socket, by the docker SDK, which is imported here and nowhere else.

Paths go without a version: each engine then answers in its own newest form, and none refuses us for being too old or
too new. Every answer has a bound of bytes; of seconds it has one by together.py. Must not judge. Tests:
tests/inspect/containers/test_client.py, tests/real/engines.
"""

from __future__ import annotations

import socket
from typing import Any

from midwatch.inspect.containers import endpoints
from midwatch.inspect.containers.parse import decode
from midwatch.inspect.containers.values import NoEngine

MOST_BYTES = 8 << 20  # of one answer: a list of thousands of containers
INSTALL = "pip install 'midwatch[containers]'"


class Refused(Exception):
    """The engine answered that it cannot or will not. `status`: HTTP's."""

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status


class Client:
    """One engine. Safe to use from several threads: requests keeps a pool of connections."""

    def __init__(self, address: str, seconds: float) -> None:
        """Nothing is sent yet. Raises NoEngine without the SDK."""
        try:
            from docker import APIClient
            from docker.errors import DockerException
        except ImportError:
            raise NoEngine("the docker SDK is not installed", INSTALL) from None
        self.address = address
        self._seconds = seconds
        try:
            self._api = APIClient(base_url=address, version="1.41", timeout=seconds)
        except DockerException as error:
            raise NoEngine(f"{address}: {error}", "check DOCKER_HOST") from None
        self._api.trust_env = False  # http_proxy is not for an engine on this machine

    def get(self, path: str, **params: str) -> Any:
        """JSON. Raises Refused, OSError (nobody there, no permission, a read that took too long)."""
        return self._send("GET", path, params, self._seconds)

    def post(self, path: str, seconds: float, **params: str) -> Any:
        """The same for what changes something."""
        return self._send("POST", path, params, seconds)

    def knock(self) -> None:
        """Is anybody there? Raises OSError with the kernel's own reason; the SDK would leave a socket open over it."""
        path = endpoints.socket_of(self.address)
        if not path:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(self._seconds)
            door.connect(path)

    def close(self) -> None:
        """Give the connections back; one that is in use ends with its question."""
        self._api.close()

    def _send(self, method: str, path: str, params: dict[str, str], seconds: float) -> Any:
        url = f"{self._api.base_url}{path}"
        with self._api.request(method, url, params=params, stream=True, timeout=seconds) as answer:
            raw = answer.raw.read(MOST_BYTES + 1, decode_content=True)
            if len(raw) > MOST_BYTES:
                raise Refused(
                    f"the answer to {path} is larger than {MOST_BYTES >> 20} MiB", answer.status_code
                )
            told = decode(raw)
            if answer.status_code >= 400:
                words = told.get("message") if isinstance(told, dict) else None
                raise Refused(str(words or f"HTTP {answer.status_code}")[:300], answer.status_code)
            return told


def trouble(error: Exception, address: str) -> str:
    """A failed question in words for a person."""
    from midwatch.inspect.containers.together import Late

    if isinstance(error, Late) or "timed out" in str(error).lower():
        return f"{address}: no answer in time"
    text = str(error)
    if "Resource temporarily unavailable" in text:  # a Unix socket whose queue is full
        return f"{address}: no answer in time (its queue of callers is full: nobody accepts)"
    if "Permission denied" in text:
        return f"{address}: permission denied (are you in its group?)"
    if "No such file" in text or "FileNotFound" in text or "Connection refused" in text:
        return f"{address}: nobody listens there"
    return f"{address}: {text[:200]}"
