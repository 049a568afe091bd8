"""The daemon's answers without an interpreter for each question, and its engines by pid: a test of 100 deaths asks
some hundred times. Must not hold a claim."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from tests.system.conftest import PATIENCE, Instance, wait_for

from midwatch.engine.client import Client, ClientError


def ask(instance: Instance, method: str, **params: Any) -> dict[str, Any] | None:
    """One answer; None while no engine gives any."""
    try:
        with Client(instance.home / "run" / "control.sock") as client:
            return client.call(method, **params)
    except ClientError:
        return None


def daemon(instance: Instance) -> tuple[int, int]:
    """(keeper, engine) as soon as an engine answers."""
    said: dict[str, Any] = wait_for(lambda: ask(instance, "ping"), "an engine answers")
    return said["keeper_pid"], said["pid"]


def answer_after(instance: Instance, old: int) -> float:
    """Seconds from now to the first answer of an engine that is not `old`."""
    began = time.monotonic()
    while time.monotonic() < began + PATIENCE:
        said = ask(instance, "ping")
        if said is not None and said["pid"] != old:
            return time.monotonic() - began
        time.sleep(0.002)
    raise AssertionError("no engine answers")


def newborn(keeper: int, old: int) -> int:
    """The next engine's pid, from the moment it exists: long before it answers."""
    children = Path(f"/proc/{keeper}/task/{keeper}/children")

    def found() -> int:
        for pid in children.read_text().split():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
                if int(pid) != old and b"/engine/__main__.py" in words:
                    return int(pid)
        return 0

    engine: int = wait_for(found, "the next engine is started")
    return engine


def end(pid: int) -> None:
    """SIGKILL to what this test has seen a moment ago; it may have left by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 9)
