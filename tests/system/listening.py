"""A server that takes its sockets from LISTEN_FDS, and a client that hammers it. Each is a program of its own, run by
its path; the benchmark uses them too. The server finishes the request it has before it follows SIGTERM, as servers do;
the client counts every connection that was refused, reset, or left without its answer, until its stdin ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time

ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s"


def serve(where: str) -> None:
    """Answers each request with its pid."""
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.signal(signal.SIGTERM, lambda *_: os.write(tell, b"x"))
    if where:  # for comparison: without a socket that was passed on
        host, _, port = where.rpartition(":")
        listeners = [socket.create_server((host, int(port)), backlog=4096)]
    else:
        assert os.environ["LISTEN_PID"] == str(os.getpid())
        listeners = [socket.socket(fileno=3 + number) for number in range(int(os.environ["LISTEN_FDS"]))]
        say(f"serving {len(listeners)} as {os.environ['LISTEN_FDNAMES']}")
    for listener in listeners:
        listener.setblocking(False)
    while True:
        ready, _, _ = select.select([told, *(listener.fileno() for listener in listeners)], [], [])
        if told in ready:
            return
        for listener in (one for one in listeners if one.fileno() in ready):
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                continue  # another instance was quicker
            with client:
                client.settimeout(5)
                try:
                    client.recv(4096)
                    body = str(os.getpid()).encode()
                    client.sendall(ANSWER % (len(body), body))
                except OSError:
                    continue


def hammer(where: str, threads: int) -> None:
    """Connect, ask, read the whole answer, again."""
    over = threading.Event()
    asked = [0] * threads
    longest = [0.0] * threads
    failed: list[str] = []
    servers: set[str] = set()

    def work(number: int) -> None:
        while not over.is_set():
            began = time.monotonic()
            try:
                servers.add(ask(where))
            except (OSError, ValueError) as error:
                failed.append(repr(error))
                time.sleep(0.001)  # refused at once: not more tries than with a server
            asked[number] += 1
            longest[number] = max(longest[number], time.monotonic() - began)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    say("hammering")
    sys.stdin.read()
    over.set()
    for worker in workers:
        worker.join()
    counted = {"asked": sum(asked), "failed": failed[:10], "failures": len(failed), "servers": len(servers)}
    say(json.dumps({**counted, "longest_ms": round(max(longest) * 1000, 1)}))


def say(text: str) -> None:
    """One line, at once."""
    os.write(1, text.encode() + b"\n")


def ask(where: str) -> str:
    """One request; the pid of the server."""
    if where.startswith("/"):
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(20)
        made.connect(where)
    else:
        host, _, port = where.rpartition(":")
        made = socket.create_connection((host, int(port)), 20)
    with made:
        made.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while chunk := made.recv(4096):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.0 200") or not body.isdigit():
        raise ValueError(f"half an answer: {answer!r}")
    return body.decode()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2] if len(sys.argv) > 2 else "")
    else:
        hammer(sys.argv[2], int(sys.argv[3]))
