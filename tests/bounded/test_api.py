"""The public names, and what importing them costs a host program."""

from __future__ import annotations

import subprocess
import sys

from midwatch import bounded


def test_public_names() -> None:
    assert {"run", "arun", "Limits", "Result", "Stream", "Holder", "Cancel"} <= set(bounded.__all__)
    assert all(getattr(bounded, name) for name in bounded.__all__)
    assert set(bounded.__all__) <= set(dir(bounded))


def test_importing_it_loads_nothing_heavy() -> None:
    """An agent that imports `run` gets no engine, no asyncio, no command line, no TLS."""
    code = "import sys; from midwatch.bounded import run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    heavy = {"asyncio", "ssl", "typer", "rich", "psutil", "sqlite3", "midwatch.engine", "logging", "tempfile"}
    assert not loaded & heavy
    bare = "import sys; import midwatch.bounded; print(*(m for m in sys.modules if m.startswith('midwatch')))"
    done = subprocess.run([sys.executable, "-c", bare], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["midwatch", "midwatch.bounded"]
