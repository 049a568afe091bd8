"""Running one command from Python: a flood, many at once, a short one; with midwatch's bounded run, subprocess, bare.

Each is a process of its own (bench/executor.py), so that its memory is only its own. Must not know how it is done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.context import Context
from bench.model import Failed, Result

PROGRAM = str(Path(__file__).parents[1] / "executor.py")
WHO = {"midwatch": "bounded.run", "subprocess": "run(capture_output=True)", "bare": "cat > /dev/null; posix_spawn"}
LINE = b"2026-11-21 12:00:00.000 INFO worker 07 a line of a log as they are, with some words and a number: %08d\n"
FILE_BYTES, FLOOD_TIMES = 16 << 20, 64  # 1 GiB
MANY_BYTES, MANY = 20 << 20, 64
SHORT, PATIENCE_S = 100, 300.0


def measure(context: Context) -> list[Result]:
    """One row a way of running; they take turns, so that a noisy minute meets all of them."""
    folder = context.base / "execute"
    folder.mkdir(parents=True, exist_ok=True)
    small, large = folder / "16M", folder / "20M"
    for path, size in ((small, FILE_BYTES), (large, MANY_BYTES)):
        path.write_bytes((b"".join(LINE % number for number in range(size // 90)))[:size])
    results = {who: Result("exec", who, how) for who, how in WHO.items()}
    for turn in range(2 if context.effort.quick else 5):
        for who, result in results.items():
            context.say(f"exec: {who}, turn {turn + 1}")
            try:
                _turn(who, result, folder, small, large)
            except (Failed, OSError, ValueError, subprocess.SubprocessError) as error:
                result.failed = str(error)
    return list(results.values())


def _turn(who: str, result: Result, folder: Path, small: Path, large: Path) -> None:
    flood = _run(folder, who, "flood", str(small), str(FLOOD_TIMES))
    result.add("flood.mb_per_s", FILE_BYTES * FLOOD_TIMES / 1e6 / flood["took"])
    many = {} if who == "bare" else _run(folder, who, "many", str(large), str(MANY))
    if who != "bare":
        result.add("flood.grown_mib", flood["grown"] / 2**20)
        result.add("many.grown_mib", many["grown"] / 2**20)
        result.add("many.s", many["took"])
    for cost in _run(folder, who, "short", str(SHORT))["each"]:
        result.add("short.ms", cost * 1000)


def _run(folder: Path, *words: str) -> dict[str, Any]:
    env = {**os.environ, "MIDWATCH_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, PROGRAM, *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=env
    )
    if done.returncode:
        raise Failed((done.stderr.strip().splitlines() or ["no words"])[-1])
    found: dict[str, Any] = json.loads(done.stdout)
    return found
