"""child.c for machines without a C compiler: same arguments, same stamps, later and larger.

The stamp comes after the interpreter's own start (about 10 ms), so latencies measured with it are upper
bounds; the report says so. Keep it in step with child.c.
"""

import os
import signal
import sys
import time

LINE, BLOCK = 100, 65536


def main() -> None:
    """Stamp the start, wait for SIGUSR1, then write lines or exit 0."""
    first = time.monotonic_ns()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    file = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def stamp(kind: str, ns: int) -> None:
        os.write(file, f"{kind} {os.getpid()} {ns}\n".encode())

    stamp("S", first)
    signal.sigwait({signal.SIGUSR1})
    if sys.argv[1] == "log":
        stamp("G", time.monotonic_ns())
        write_lines(int(sys.argv[3]))
        stamp("D", time.monotonic_ns())
        while True:
            signal.pause()
    stamp("E", time.monotonic_ns())
    os._exit(0)


def write_lines(total: int) -> None:
    """`total` bytes of 100-byte lines in 64 kB writes, and the marked last line."""
    stream = (b"a" * (LINE - 1) + b"\n") * (BLOCK // LINE + 2)
    done = 0
    while done < total:
        size = min(BLOCK, total - done)
        view = memoryview(stream)[done % LINE : done % LINE + size]
        while view:
            view = view[os.write(1, view) :]
        done += size
    os.write(1, b"bench-last-line\n")


main()
