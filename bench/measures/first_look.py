"""The first look: `midwatch look` with 600 more processes on the machine, beside what people type for it today.

Each tool is a process of its own, in turns; wall time is what a person waits, CPU time that of the tool and of all it
started. `bare` reads the same four files of each process and understands nothing. Must not know what a tool prints.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.context import Context
from bench.model import Failed, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESSES = 600
TURNS, QUICK_TURNS = 15, 5
PATIENCE_S = 60.0
PSUTIL = (
    "import psutil; [p.info for p in psutil.process_iter(['pid', 'ppid', 'name', 'username', 'cmdline', 'create_time', "
    "'memory_info', 'cpu_times', 'num_threads'])]"
)
FULL = "import psutil; [p.info for p in psutil.process_iter(['pid', 'ppid', 'cmdline', 'memory_full_info', 'num_fds'])]"
BARE = """
import os
for pid in os.listdir('/proc'):
    if pid.isdigit():
        for name in ('stat', 'status', 'cmdline', 'cgroup'):
            try:
                with open(f'/proc/{pid}/{name}', 'rb') as file:
                    file.read()
            except OSError:
                pass
"""


def tools() -> dict[tuple[str, str], list[str]]:
    """(who, what) -> its command line; those that are not installed are left out."""
    python = [sys.executable, "-I", "-c"]
    known = {
        ("midwatch", "look --json"): [sys.executable, "-m", "midwatch", "look", "--json"],
        ("midwatch", "look"): [sys.executable, "-m", "midwatch", "look"],
        ("ps", "aux --forest"): ["ps", "aux", "--forest"],
        ("psutil", "rows with memory_info"): [*python, PSUTIL],
        ("psutil", "rows with memory_full_info and num_fds"): [*python, FULL],
        ("glances", "--stdout, one round"): ["glances", "--stdout", "mem,processcount", "--stop-after", "1"],
        ("bare", "four files each, read only"): [sys.executable, "-I", "-S", "-c", BARE],
    }
    return {key: argv for key, argv in known.items() if shutil.which(argv[0])}


def measure(context: Context) -> list[Result]:
    """One row a tool."""
    results = {key: Result("look", *key) for key in tools()}
    turns = QUICK_TURNS if context.effort.quick else TURNS
    with sleepers(PROCESSES):
        for turn in range(turns):
            context.say(f"look: turn {turn + 1} of {turns}")
            for key, argv in tools().items():
                try:
                    _once(results[key], argv, context.base)
                except (Failed, OSError, ValueError, subprocess.SubprocessError) as error:
                    results[key].failed = str(error)
    return list(results.values())


def _once(result: Result, argv: list[str], base: Path) -> None:
    home = base / "look"
    home.mkdir(exist_ok=True)
    environ = {**os.environ, "MIDWATCH_HOME": str(home)}
    before = os.times()
    begun = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, timeout=PATIENCE_S, check=False, env=environ)
    took = time.perf_counter() - begun
    after = os.times()
    if done.returncode and "midwatch" not in argv:  # its exit code is what it thinks of the machine
        raise Failed((done.stderr.decode(errors="replace").strip().splitlines() or ["no words"])[-1])
    result.add("wall_ms", took * 1000)
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    result.add("cpu_ms", spent * 1000)
    if argv[-1:] == ["--json"]:
        found = json.loads(done.stdout)
        result.add("processes", found["processes"])
        result.add("missing", len(found["missing"]))


@contextmanager
def sleepers(count: int) -> Iterator[None]:
    """So many processes that sleep, in a session of their own; ended by pid."""
    children = [
        subprocess.Popen(["sleep", "900"], stdin=subprocess.DEVNULL, start_new_session=True)
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()
