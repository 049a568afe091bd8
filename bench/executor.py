"""The program behind measures/execute.py: one way to run a command, in a process of its own, measured from inside.

    executor.py WHO flood FILE TIMES | many FILE COUNT | short COUNT

WHO: midwatch, subprocess, bare (cat > /dev/null; posix_spawn). Prints JSON: seconds, bytes by which the resident memory
grew (VmHWM after a reset). Must not know what is done with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable


def high() -> int:
    """The largest resident size since the last reset, bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024


def runner(who: str) -> Callable[[list[str]], int]:
    """A function that runs a command and returns the bytes it printed."""
    if who == "midwatch":
        from midwatch.bounded import Limits, run

        limits = Limits(output_kill=1 << 40)
        return lambda words: run(words, limits=limits).bytes_total
    if who == "subprocess":
        return lambda words: len(subprocess.run(words, capture_output=True, check=True).stdout)
    return bare


def bare(words: list[str]) -> int:
    """The limit: a shell's pipe into cat; for a command without output posix_spawn and waitpid."""
    if len(words) == 1:
        pid = os.posix_spawnp(words[0], words, os.environ)
        os.waitpid(pid, 0)
        return 0
    subprocess.run(["/bin/sh", "-c", '"$@" | cat > /dev/null', "sh", *words], check=True)
    return -1


def main() -> None:
    """See above."""
    who, mode, *rest = sys.argv[1:]
    run = runner(who)
    run(["true"])
    run(["cat", "/proc/self/maps"])
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before, began = high(), time.monotonic()
    seconds = []
    if mode == "flood":
        run(["cat", *[rest[0]] * int(rest[1])])
    elif mode == "many":
        threads = [threading.Thread(target=run, args=(["cat", rest[0]],)) for _ in range(int(rest[1]))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        for _ in range(int(rest[0])):
            at = time.monotonic()
            run(["true"])
            seconds.append(time.monotonic() - at)
    took = time.monotonic() - began
    print(json.dumps({"took": took, "grown": high() - before, "each": seconds}))


if __name__ == "__main__":
    main()
