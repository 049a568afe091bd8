"""HTTP/1.1 GET for probes: no proxies, no redirects, at most 64 KiB of body, closed afterwards.

Used by the engine over asyncio, and its `split_url` by the TLS helper. Must not judge an answer.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

MAX_BODY = 65536  # bytes of an answer that are looked at (HLT, ORP-3)
MAX_HEAD = 16384


class Url(NamedTuple):
    """An http(s) URL cut into what a probe needs."""

    tls: bool
    host: str
    port: int
    path: str
    text: str


def split_url(text: str) -> Url:
    """Cut it up. Raises ValueError that says what is wrong. 0.0.0.0 and :: mean loopback (ORP-3)."""
    scheme, found, rest = text.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        raise ValueError(f"{text!r} is not an http:// or https:// URL")
    place, slash, path = rest.partition("/")
    if "@" in place:
        raise ValueError(f"{text!r}: a probe URL carries no user name")
    host, port = place, ""
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.lstrip(":")
    elif ":" in place:
        host, _, port = place.rpartition(":")
    tls = scheme.lower() == "https"
    number = int(port) if port else (443 if tls else 80)
    if not 0 < number < 65536:
        raise ValueError(f"{text!r}: port {number} does not exist")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return Url(tls, host, number, f"{slash}{path}" or "/", text)


def request_for(url: Url) -> bytes:
    """The request's bytes."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return (
        f"GET {url.path} HTTP/1.1\r\nHost: {host}:{url.port}\r\nUser-Agent: midwatch\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode()


def parse_head(head: bytes) -> tuple[int, int | None, bool]:
    """Status, Content-Length, chunked. Raises ValueError for something that is not HTTP."""
    first, *lines = head.split(b"\r\n")
    parts = first.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise ValueError(f"not an HTTP answer: {first[:60]!r}")
    length: int | None = None
    chunked = False
    for line in lines:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
        elif name.strip().lower() == b"transfer-encoding":
            chunked = b"chunked" in value.lower()
    return int(parts[1]), length, chunked


def unchunk(body: bytes) -> bytes:
    """What of a chunked body is complete."""
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        try:
            count = int(size.split(b";")[0], 16)
        except ValueError:
            break
        if count == 0:
            break
        whole += rest[:count]
        body = rest[count + 2 :]
    return whole


async def fetch(url: Url) -> tuple[int, bytes]:
    """Status and the first 64 KiB of the body. Raises OSError, ValueError; the caller sets the time limit."""
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=MAX_HEAD)
    try:
        writer.write(request_for(url))
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ValueError("closed without an answer" if not error.partial else "closed in the middle") from None
        except asyncio.LimitOverrunError:
            raise ValueError(f"a header of more than {MAX_HEAD} bytes") from None
        status, length, chunked = parse_head(head[:-4])
        wanted = min(length, MAX_BODY) if length is not None else MAX_BODY
        body = b""
        while len(body) < wanted:
            part = await reader.read(wanted - len(body))
            if not part:
                break
            body += part
        return status, unchunk(body) if chunked else body
    finally:
        writer.close()
