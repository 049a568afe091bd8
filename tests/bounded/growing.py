"""Runs a piece of code in a fresh process and tells how far its resident memory grew, as VmHWM after a reset.

What is measured is the code's own: one small run before warms imports. Must not be a test itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

PRELUDE = """
import json, os, sys, threading, time
from midwatch.bounded import Limits, arun, run
MIB = 1 << 20
def high():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024
def fds():
    return len(os.listdir("/proc/self/fd"))
run(["true"]); run("seq 1 20000")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before, out, opened = high(), {}, fds()
"""
END = """
out.update(grown=high() - before, fds=fds() - opened, threads=threading.active_count())
print(json.dumps(out))
"""


def grown(code: str, **env: str) -> dict[str, Any]:
    """`out` of the code, with `grown` bytes, and how many descriptors more and threads in all there are at its end."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code + END], env={**os.environ, **env}, capture_output=True, text=True,
        timeout=55, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
