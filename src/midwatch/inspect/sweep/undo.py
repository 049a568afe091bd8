"""The undo list: with which command, where and with which variables each swept process was running.

Written 0600 before the first signal, one file a sweep; the oldest are removed. Secrets are taken out of commands, and
of the environment only the names are kept, so some have to be completed by hand: the list says which. Must not start
anything. Tests: tests/inspect/test_sweep_undo.py.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from pathlib import Path
from typing import Any

from midwatch.inspect.leftovers.kinds import environment
from midwatch.inspect.sources import Sources
from midwatch.model.look import Leftover
from midwatch.policy.defaults_inspect import SWEEP_UNDO, SWEEP_UNDO_BYTES
from midwatch.record.files import make_folder, write_fresh
from midwatch.record.redact import redact

FOLDER = "undo"
_NAMES = 200  # variables of one process


def entries(sources: Sources, targets: list[Leftover]) -> list[dict[str, Any]]:
    """What is needed to start each again; children are started by their parents, so they come with the word."""
    found = []
    for one in targets:
        proc = one.proc
        command = redact(shlex.join(proc.argv))
        found.append({
            "pid": proc.pid, "started": proc.started, "ppid": proc.ppid, "command": command,
            "complete": command == shlex.join(proc.argv), "cwd": _link(sources, f"/proc/{proc.pid}/cwd"),
            "program": _link(sources, f"/proc/{proc.pid}/exe"), "variables": _variables(sources, proc.pid),
            "reason": one.reason, "held_bytes": proc.held,
        })  # fmt: skip
    return found


def write(home: Path, what: str, rows: list[dict[str, Any]], now: float) -> Path:
    """The list on disk. Raises OSError; then nothing may be ended."""
    folder = home / FOLDER
    make_folder(folder)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    path = next(
        free
        for n in range(1000)
        if not (free := folder / f"{stamp}-{what}{f'-{n}' if n else ''}.json").exists()
    )
    write_fresh(path, document(what, rows, now))
    _tidy(folder)
    return path


def document(what: str, rows: list[dict[str, Any]], now: float) -> bytes:
    """The file: as many rows as fit, and how many did not."""
    head = {
        "schema_version": 1,
        "what": what,
        "at": now,
        "note": "environment: names only; secrets are taken out",
    }
    size, kept = 0, []
    for row in rows:
        size += len(json.dumps(row).encode()) + 2
        if size > SWEEP_UNDO_BYTES:
            break
        kept.append(row)
    return json.dumps({**head, "left_out": len(rows) - len(kept), "processes": kept}, indent=1).encode()


def _tidy(folder: Path) -> None:
    names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    for name in names[:-SWEEP_UNDO]:
        try:
            os.unlink(folder / name)
        except OSError:
            continue


def _link(sources: Sources, path: str) -> str:
    try:
        return sources.link(path)
    except OSError:
        return ""


def _variables(sources: Sources, pid: int) -> list[str]:
    try:
        return sorted(environment(sources.read(f"/proc/{pid}/environ")))[:_NAMES]
    except OSError:
        return []
