"""Declare who may look into the program that is started next, and become it: `tracegate.py TRACER EXE ARGV...`.

Where the kernel's Yama module lets only ancestors trace a process (kernel.yama.ptrace_scope = 1), py-spy could not read
a run's stacks: the keeper and what it starts are declared as its tracer, and that outlasts exec. Only for services with
`trace = true`. Runs as the service's user, before anything of the service. Standard library only; leaves nothing behind
in the environment, the descriptors and the signals.
"""

from __future__ import annotations

import os
import signal
import sys

PR_SET_PTRACER = 0x59616D61


def main() -> None:
    """Never returns."""
    tracer, exe, *argv = sys.argv[1:]
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PTRACER, int(tracer), 0, 0, 0)  # refused where there is no Yama: nothing to ask then
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and exec would keep that
    with open("/proc/self/environ", "rb") as file:  # as it was given: Python may have added LC_CTYPE
        given = [entry.partition(b"=") for entry in file.read().split(b"\0") if entry]
    try:
        os.execve(exe, argv, {name: value for name, _, value in given})
    except OSError as error:
        os.write(2, f"midwatch: cannot start {exe}: {error.strerror}\n".encode())
        os._exit(126)


if __name__ == "__main__":
    main()
