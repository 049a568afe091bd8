"""A session store of the report's size (1,168 sessions, 51,649 items, 531 MB): midwatch, plain sqlite3, the original's
way.

Each act is a process of its own (bench/storer.py). Must not know how it is done.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.context import Context
from bench.model import Failed, Result

PROGRAM = str(Path(__file__).parents[1] / "storer.py")
WHO = {
    "midwatch": "synchronous=NORMAL (WAL)",
    "bare": "one INSERT, the same settings",
    "original": "messages column rewritten",
}  # fmt: skip
PATIENCE_S = 400.0
TURNS = 5


def measure(context: Context) -> list[Result]:
    """One row each; the store is built once."""
    folder = context.base / "sessions"
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "agent.db"
    results = {who: Result("sessions", who, how) for who, how in WHO.items()}
    ours = results["midwatch"]
    context.say("sessions: building 531 MB")
    built = _run("build", store)
    sizes = f"{built['bytes'] / 1e6:.0f} MB of text, file {built['file'] / 1e6:.0f} MB"
    ours.notes.append(f"{built['items']} items, {sizes}")
    ours.notes.append("NORMAL: a crash of the program loses nothing, a power cut what came since the last checkpoint")
    turns = 2 if context.effort.quick else TURNS
    for turn in range(turns):
        context.say(f"sessions: turn {turn + 1}")
        for act in ("opened", "assemble", "append", "branch"):
            _add(ours, act, store)
        _add(results["bare"], "bare", store)
        for who, act in (("midwatch", "deltas"), ("original", "original")):
            _add(results[who], act, folder / f"{act}{turn}.db")
            for path in folder.glob(f"{act}{turn}.db*"):
                path.unlink()
    synced = Result("sessions", "bare", "one INSERT, synchronous=FULL")
    _add(synced, "full", store)
    context.say("sessions: 900 deleted")
    _add(ours, "shrink", store)
    shutil.rmtree(folder, ignore_errors=True)
    return [*results.values(), synced]


def _add(result: Result, act: str, path: Path) -> None:
    try:
        for name, values in _run(act, path).items():
            for value in values:
                result.add(name, value)
    except (Failed, OSError, ValueError, subprocess.SubprocessError) as error:
        result.failed = f"{act}: {error}"


def _run(act: str, path: Path) -> dict[str, Any]:
    env = {**os.environ, "PYTHONPATH": str(Path(PROGRAM).parents[1] / "src")}
    argv = [sys.executable, PROGRAM, act, str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=env)
    if done.returncode:
        raise Failed((done.stderr.strip().splitlines() or ["no words"])[-1])
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found
