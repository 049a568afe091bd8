"""A process of its own that makes one HTTPS probe request: `tls_helper.py URL`.

Prints "STATUS SCHEME" and the first 64 KiB of the body. Verified TLS first, then unverified, then plain HTTP,
and says which one answered (HLT-3). Runs on the standard library alone; the engine never imports ssl.
"""

import os
import socket
import ssl
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from midwatch.engine.http import MAX_BODY, MAX_HEAD, Url, parse_head, request_for, split_url, unchunk


def once(url: Url, context: ssl.SSLContext | None) -> tuple[int, bytes]:
    """One request over one connection."""
    with socket.create_connection((url.host, url.port), timeout=10) as plain:
        stream: socket.socket = context.wrap_socket(plain, server_hostname=url.host) if context else plain
        with stream:
            stream.sendall(request_for(url))
            data = b""
            while len(data) < MAX_HEAD + MAX_BODY and (part := stream.recv(65536)):
                data += part
                head, found, body = data.partition(b"\r\n\r\n")
                if found:
                    length = parse_head(head)[1]
                    if length is not None and len(body) >= min(length, MAX_BODY):
                        break
    head, _, body = data.partition(b"\r\n\r\n")
    status, _, chunked = parse_head(head)
    return status, (unchunk(body) if chunked else body)[:MAX_BODY]


def main() -> int:
    """Try the three ways in order of trust."""
    url = split_url(sys.argv[1])
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    reason = ""
    for scheme, context in (
        ("https", ssl.create_default_context()), ("https-unverified", unverified), ("http-plain", None),
    ):  # fmt: skip
        try:
            status, body = once(url, context)
        except (OSError, ValueError) as error:
            reason = reason or str(error)
            continue
        sys.stdout.buffer.write(f"{status} {scheme}\n".encode() + body)
        return 0
    print(reason or "no answer")
    return 1


if __name__ == "__main__":
    sys.exit(main())
