"""The cost of a pass: reading the memory of all services once, with midwatch's meters, with psutil, and bare.

Each reader is a process of its own (bench/reader.py), so that its CPU time is only its own; a minute has 30 passes, one
every 2 s. Without cgroups, which is the dearer way for midwatch. Must not know what a meter reads.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.context import Context
from bench.model import Failed, Result

PROGRAM = str(Path(__file__).parents[1] / "reader.py")
READERS = {"midwatch": "held memory, descriptors, CPU, I/O", "psutil": "memory_info", "bare": "statm, kept open"}
IDLE, BUSY = (10, 500), (100,)
PATIENCE_S = 180.0
PASSES_A_MINUTE = 30


def measure(context: Context) -> list[Result]:
    """One row a reader: sizes of idle services, and one of services that all allocate."""
    results = []
    for who, what in READERS.items():
        result = Result("readings", who, what)
        results.append(result)
        for work, sizes in (("idle", IDLE), ("busy", BUSY)):
            for size in sizes:
                context.say(f"readings: {who}, {size} {work} services")
                try:
                    passes = _passes(who, size, work)
                except (Failed, OSError, ValueError, subprocess.SubprocessError) as error:
                    result.failed = f"{size} {work}: {error}"
                    continue
                for cost in passes:
                    result.add(f"{size}.{work}.pass_ms", cost)
                result.add(f"{size}.{work}.us_each", sum(passes) / len(passes) / size * 1000)
                result.add(f"{size}.{work}.cpu_s_per_min", sum(passes) / len(passes) * PASSES_A_MINUTE / 1000)
    return results


def _passes(who: str, size: int, work: str) -> list[float]:
    argv = [sys.executable, PROGRAM, who, str(size), work]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode:
        raise Failed((done.stderr.strip().splitlines() or ["no words"])[-1])
    return [float(cost) for cost in json.loads(done.stdout)]
