"""A service that writes numbered lines as fast as a busy server, and the check that its log has each of them once."""

from __future__ import annotations

from tests.system.conftest import Instance

from midwatch.record import logs

# A second copy of itself says so in the file `doubled`.
WRITER = """\
import fcntl, sys, time
lock = open("writer.lock", "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    open("doubled", "a").write("writer\\n")
n = 0
while True:
    for _ in range(100):
        sys.stdout.write(f"line {n} " + "x" * 80 + "\\n")
        n += 1
    sys.stdout.flush()
    time.sleep(0.01)
"""


def check_lines(instance: Instance) -> None:
    """Every line once and in order, up to the point where the writer was stopped."""
    number, rest = 0, b""
    for piece in logs.stream(instance.home / "logs" / "p.writer"):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            assert line == b"line %d " % number + b"x" * 80
            number += 1
    assert number > 1000
