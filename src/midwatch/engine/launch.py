"""Turns a validated request into a running daemon: takes the instance's lock, then becomes the lean keeper by exec.

Runs in the command line's process, so nothing it imports stays. The lock's descriptor lives on in the keeper:
it is held exactly as long as the daemon lives, through every engine. Must not parse configuration.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

import midwatch
from midwatch.config.problems import Settings
from midwatch.engine.layout import Layout, LayoutError
from midwatch.model.service import ServiceSpec
from midwatch.record.lock import Held, InstanceLock, Unwritable

START_WAIT = 20.0  # s until a detached daemon has to answer; a bare one needs 0.1
PR_SET_CHILD_SUBREAPER = 36


class LaunchError(Exception):
    """The daemon cannot be started: `code` is the exit code of the command (4 already running, 78 cannot)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def foreground(
    layout: Layout, specs: Sequence[ServiceSpec], *, mode: str, project: str, source: str, by: str,
    settings: Settings | None = None,
) -> None:  # fmt: skip
    """Become the daemon. `mode`: "foreground" for `run` (one service, its end is ours), "attached" or
    "detached" for `up`.

    Does not return. Raises LaunchError before anything was started.
    """
    lock = _claim(layout, f"{by} {project}")
    terminal = mode == "foreground" and os.isatty(0) and os.isatty(2)
    request = {
        "project": project, "source": source, "specs": [msgspec.to_builtins(spec) for spec in specs], "by": by,
        "terminal": terminal, "settings": msgspec.to_builtins(settings),
    }  # fmt: skip
    _write_private(layout.home / "request.json", json.dumps(request).encode())
    _become_subreaper()
    plan = layout.home / "keeper.json"
    _write_private(plan, json.dumps(_plan(layout, mode)).encode())
    os.set_inheritable(lock.fileno(), True)
    sys.stdout.flush()
    sys.stderr.flush()
    keeper = [*_lean_python(), str(_here() / "keeper" / "__main__.py"), str(plan)]
    os.execve(sys.executable, keeper, _lean_environment())


def detached(layout: Layout, arguments: list[str]) -> dict[str, object]:
    """Start `midwatch up` again without a terminal, and wait until it answers and its first spawns have happened.

    `arguments`: the command line of the attached form. Returns what `ping` answers.
    """
    import subprocess

    layout_problem(layout)
    log = os.open(layout.daemon_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    start = os.fstat(log).st_size
    child = subprocess.Popen(
        [sys.executable, "-m", "midwatch", *arguments],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
        env={**os.environ, "MIDWATCH_DETACHED": "1"},
    )  # fmt: skip
    os.close(log)
    from midwatch.engine.client import Client, ClientError

    limit = time.monotonic() + START_WAIT
    while time.monotonic() < limit:
        code = child.poll()
        if code is not None:
            words = layout.daemon_log.read_bytes()[start:].decode("utf-8", "replace").strip()
            raise LaunchError(code or 1, words or f"the daemon ended with {code}; see {layout.daemon_log}")
        try:
            with Client(layout.control) as client:
                return client.call("ping")
        except ClientError:
            time.sleep(0.01)
    raise LaunchError(1, f"the daemon does not answer within {START_WAIT:g} s; see {layout.daemon_log}")


def layout_problem(layout: Layout) -> None:
    """Make the folders or say what is wrong. Raises LaunchError(78)."""
    try:
        layout.ensure()
    except LayoutError as error:
        raise LaunchError(78, str(error)) from None


def _claim(layout: Layout, what: str) -> InstanceLock:
    layout_problem(layout)
    lock = InstanceLock(layout.lock)
    try:
        lock.acquire({"pid": os.getpid(), "version": midwatch.__version__, "since": time.time(), "what": what})
    except Held as held:
        raise LaunchError(4, f"{held}; `midwatch ps` shows it, `midwatch down --all` ends it") from None
    except Unwritable as error:
        raise LaunchError(78, str(error)) from None
    return lock


def _plan(layout: Layout, mode: str) -> dict[str, object]:
    """How the keeper starts each engine: the lean program with the caller's import path."""
    engine = [*_lean_python(), str(_here() / "engine" / "__main__.py"), str(layout.home), str(layout.runtime), mode]
    env = {**_lean_environment(), "MIDWATCH_PATH": os.pathsep.join(path for path in sys.path if path)}
    return {"engine": engine, "env": env}


def _here() -> Path:
    return Path(midwatch.__file__).parent


def _lean_python() -> list[str]:
    """No site, no environment; no docstrings (0.4 MB) where their compiled form can be kept beside the sources:
    an installation that we cannot write to would be compiled anew at every start."""
    lean = [sys.executable, "-I", "-S"]
    return [*lean, "-OO"] if os.access(_here(), os.W_OK) else lean


def _lean_environment() -> dict[str, str]:
    """Ours for life, so nothing of one shell session: what services get is in their specs."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "MIDWATCH_HOME", "MIDWATCH_RUN", "MIDWATCH_DEBUG")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env["MALLOC_ARENA_MAX"] = "1"  # the pump's and workers' threads would each reserve an arena
    env["PYTHONDONTWRITEBYTECODE"] = os.environ.get("PYTHONDONTWRITEBYTECODE", "")
    return env


def _become_subreaper() -> None:
    """Orphans of every run fall to the keeper. The attribute survives exec, so the keeper needs no ctypes (0.5 MB)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _write_private(path: Path, body: bytes) -> None:
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        while body:
            body = body[os.write(fd, body) :]
    finally:
        os.close(fd)
