"""The service of `bench survive`: stamps its start, listens on a port (0: on none), then writes a numbered line every
10 ms and keeps count of them outside its output; or stays silent, as one that logs to a file of its own.

Stamps as child.py makes them, `S pid ns`; also `P` when the port is taken (it exits with 98) and `X` when its output
is gone (it exits with 1), as ordinary programs end. The count is in STAMPS.PID. Must not need any package.
"""

import os
import socket
import sys
import time

PAUSE_S = 0.01


def main() -> None:
    """STAMPS PORT [silent]."""
    path, port = sys.argv[1], int(sys.argv[2])
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def stamp(kind: str) -> None:
        os.write(file, f"{kind} {os.getpid()} {time.monotonic_ns()}\n".encode())

    stamp("S")
    if port:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            stamp("P")
            os._exit(98)
        server.listen()
    while sys.argv[3:]:
        time.sleep(60)
    count = os.open(f"{path}.{os.getpid()}", os.O_WRONLY | os.O_CREAT, 0o600)
    number = 0
    while True:
        number += 1
        os.pwrite(count, b"%d" % number, 0)
        try:
            os.write(1, b"tick %d %d\n" % (os.getpid(), number))
        except OSError:
            stamp("X")
            os._exit(1)
        time.sleep(PAUSE_S)


main()
