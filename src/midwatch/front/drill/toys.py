"""The programs that misbehave in a drill: run as `python toys.py KIND ...`, standard library only, each bounded.

Whatever happens to the drill, a toy ends by itself: after LIFE seconds, and long before it could hurt the machine
(LARGEST bytes, its own number of processes). Must not import anything of ours. Tests: tests/system/test_drill.py.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

LIFE = 120  # seconds after which a toy ends whatever happens
LARGEST = 400 << 20  # bytes that a growing toy may hold
DRAINED = 12  # exit code of one that was asked to drain


def grow(rate: int) -> None:
    """Hold `rate` bytes more each second, every page really touched."""
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(DRAINED))
    held: list[bytearray] = []
    size = max(4096, rate // 50)
    while sum(map(len, held)) < LARGEST:
        block = bytearray(size)
        for at in range(0, size, 4096):
            block[at] = 1
        held.append(block)
        time.sleep(0.02)
    time.sleep(LIFE)


def serve(port: int) -> None:
    """A web server that answers one request after the other, until somebody asks for /hang."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(16)
        print(f"listening on {port}", flush=True)
        while True:
            link, _ = listener.accept()
            with link:
                if b"/hang" in link.recv(4096):
                    print("hanging", flush=True)
                    time.sleep(LIFE)
                link.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")


def leak_files(first: int, every: float) -> None:
    """Open so many descriptors, then one more each so many seconds, and never close one."""
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(first)]
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
        time.sleep(every)


def crash() -> None:
    """Say why, and fail."""
    sys.exit("the drill's toy fails on purpose")


def bomb(tokens: int) -> None:
    """Fork and fork. Each fork takes a byte of a pipe that is filled once: no more than `tokens` in all, ever.

    Its processes leave for sessions of their own and ignore TERM; a TERM makes each one fork once more.
    """
    source, sink = os.pipe()
    os.write(sink, b"x" * min(tokens, 200))
    os.close(sink)
    again = [False]

    def asked(*_: object) -> None:
        again[0] = True

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("forking", flush=True)
    quota, made = 3, 0
    end = time.monotonic() + LIFE
    while time.monotonic() < end:
        if (made < quota or again[0]) and os.read(source, 1):
            made, again[0] = made + 1, False
            if os.fork() == 0:
                made = 0
                os.setsid()
        time.sleep(0.005 if made < quota else 0.1)


def count(path: str, every: float) -> None:
    """Print numbers, and keep the last one in a file of its own."""
    number = 0
    while True:
        number += 1
        print(number, flush=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(str(number))
        time.sleep(every)


def chatter(size: int) -> None:
    """Print without end, `size` bytes twenty times a second."""
    line = b"chatter " * (size // 8) + b"\n"
    while True:
        os.write(1, line)
        time.sleep(0.05)


def main(words: list[str]) -> None:
    """One toy, with an alarm that ends it."""
    signal.alarm(LIFE)
    kind, given = words[0], words[1:]
    if kind == "grow":
        grow(int(given[0]))
    elif kind == "serve":
        serve(int(given[0]))
    elif kind == "files":
        leak_files(int(given[0]), float(given[1]))
    elif kind == "bomb":
        bomb(int(given[0]))
    elif kind == "count":
        count(given[0], float(given[1]))
    elif kind == "chatter":
        chatter(int(given[0]))
    else:
        crash()


if __name__ == "__main__":
    main(sys.argv[1:])
