"""The program behind measures/readings.py: N processes, and one reader that takes the memory of all of them in passes.

    python bench/reader.py WHO COUNT WORK

WHO: `midwatch` (its own meters, in the interpreter that runs this), `psutil` (memory_info) or `bare` (statm of each on
a kept-open descriptor: what the kernel needs, and no answer yet). WORK: `idle`, or `busy`: each process touches new
memory between any two passes. Prints JSON: CPU ms of each of 30 passes, made 0.2 s apart and told to be 2 s apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

PASSES, APART_S, TOLD_S, SETTLE_S = 30, 0.2, 2.0, 1.0
BUSY = """
import time
kept = []
while True:
    kept.append(bytearray(20000))
    time.sleep(0.1)
    if len(kept) > 500:
        kept.clear()
"""


def reader(who: str, running: list[subprocess.Popen[bytes]]) -> Callable[[float], object]:
    """One pass over all of them, at a time told."""
    if who == "midwatch":
        return _midwatch(running)
    if who == "psutil":
        import psutil

        processes = [psutil.Process(process.pid) for process in running]
        return lambda _: [process.memory_info() for process in processes]
    files = [os.open(f"/proc/{process.pid}/statm", os.O_RDONLY) for process in running]
    return lambda _: [os.pread(file, 256, 0) for file in files]


def _midwatch(running: list[subprocess.Popen[bytes]]) -> Callable[[float], None]:
    from midwatch.machine import this_machine
    from midwatch.machine.ports import Containment, Tree

    machine = this_machine("bench", os.getpid())
    meters = []
    for process in running:
        main, name = machine.identify(process.pid), f"bench.{process.pid}.1"
        assert main is not None
        meters.append(machine.meter(Tree(name, main, name, Containment(), os.getpid())))

    def one(now: float) -> None:
        for meter in meters:
            if meter.read(now).held.value is None:
                raise SystemExit("a process was not read")

    return one


def main(who: str, count: str, work: str) -> None:
    """Start, read, end; only what was started here is ended, by its handle."""
    argv = ["sleep", "600"] if work == "idle" else [sys.executable, "-I", "-S", "-c", BUSY]
    running = [subprocess.Popen(argv, start_new_session=True) for _ in range(int(count))]
    try:
        time.sleep(SETTLE_S + (0.03 * int(count) if work == "busy" else 0))
        read, told, passes = reader(who, running), time.monotonic(), []
        read(told)
        for _ in range(PASSES):
            time.sleep(APART_S)
            told += TOLD_S
            before = time.process_time_ns()
            read(told)
            passes.append((time.process_time_ns() - before) / 1e6)
        print(json.dumps(passes))
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
