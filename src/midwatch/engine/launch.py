"""Turns a validated request into a running daemon: takes the instance's lock, then becomes the lean keeper by exec.

Runs in the command line's process, so nothing it imports stays. The lock's descriptor lives on in the keeper:
it is held exactly as long as the daemon lives, through every engine. Must not parse configuration.
"""

from __future__ import annotations

import _thread
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import midwatch
from midwatch.config import environment
from midwatch.config.kind import passable
from midwatch.config.problems import Settings
from midwatch.engine.layout import Layout, LayoutError
from midwatch.host.headroom import raise_files
from midwatch.model.service import ServiceSpec
from midwatch.record.files import write_fresh
from midwatch.record.lock import Held, InstanceLock, Unwritable, identity

if TYPE_CHECKING:
    from midwatch.host.outer import Outer

START_WAIT = 20.0  # s until a detached daemon has to answer; a bare one needs 0.1
PR_SET_CHILD_SUBREAPER = 36


class LaunchError(Exception):
    """The daemon cannot be started: `code` is the exit code of the command (4 already running, 78 cannot)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def foreground(
    layout: Layout, specs: Sequence[ServiceSpec], *, mode: str, project: str, source: str, by: str,
    settings: Settings | None = None, json: bool = False, outer: Outer | None = None,
) -> None:  # fmt: skip
    """Become the daemon. `mode`: "foreground" for `run` (one service, its end is ours), "attached" or
    "detached" for `up`. `outer`: who runs us, and what he wants to hear.

    Does not return. Raises LaunchError before anything was started.
    """
    name = f"{project}/{specs[0].name}" if mode == "foreground" else "--all"
    lock = _claim(layout, f"{by} {project}", f"midwatch {'stop' if mode == 'foreground' else 'down'} {name}")
    terminal = mode == "foreground" and os.isatty(0) and os.isatty(2)
    request = {
        "project": project, "source": source, "specs": [msgspec.to_builtins(spec) for spec in specs], "by": by,
        "terminal": terminal, "settings": msgspec.to_builtins(settings), "json": json,
        "outer": msgspec.to_builtins(outer.manager) if outer else None,
    }  # fmt: skip
    plan = layout.home / "keeper.json"
    try:
        write_fresh(layout.home / "request.json", msgspec.json.encode(request))
        whole = _plan(layout, mode) | _hook_up(outer) | {"lock": identity(lock.fileno())}
        write_fresh(plan, msgspec.json.encode(whole))
    except OSError as error:
        raise _unwritable(layout, error) from None
    _become_subreaper()
    raise_files()
    os.set_inheritable(lock.fileno(), True)
    sys.stdout.flush()
    sys.stderr.flush()
    keeper = [*_lean_python(), str(_here() / "keeper" / "__main__.py"), str(plan)]
    os.execve(sys.executable, keeper, _lean_environment())


def detached(
    layout: Layout, specs: Sequence[ServiceSpec], *, project: str, source: str, by: str,
    settings: Settings | None = None,
) -> dict[str, object]:  # fmt: skip
    """The daemon without a terminal. Returns what `ping` answers, once it has the lock and its services.

    Somebody else's daemon that answers meanwhile is not ours: then the child says who holds the lock (H11)."""
    layout_problem(layout)
    holder = InstanceLock(layout.lock).holder()
    if holder is not None:  # E11: a loser leaves nothing behind, not even a log
        raise _already(Held(layout.lock, holder), "midwatch down --all")
    log = os.open(layout.daemon_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    start = os.fstat(log).st_size
    pid = os.fork()
    if pid == 0:
        os._exit(_detach(log, layout, specs, project=project, source=source, by=by, settings=settings))
    os.close(log)
    from midwatch.engine.client import Client, ClientError

    limit = time.monotonic() + START_WAIT
    while time.monotonic() < limit:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            words = layout.daemon_log.read_bytes()[start:].decode("utf-8", "replace").strip()
            code = os.waitstatus_to_exitcode(status)
            words = words or f"the daemon ended with {code}; see {layout.daemon_log}"
            raise LaunchError(code if code > 0 else 1, words)
        try:
            with Client(layout.control) as client:
                answer = client.call("ping")
            if answer.get("keeper_pid") == pid:
                return answer
        except ClientError:
            pass
        time.sleep(0.005)
    raise LaunchError(1, f"the daemon does not answer within {START_WAIT:g} s; see {layout.daemon_log}")


def _detach(log: int, layout: Layout, specs: Sequence[ServiceSpec], **request: Any) -> int:
    """In the child: leave the terminal, the session and the folder, then become the daemon. A fork of the command
    line's process, which is single-threaded and small; a second interpreter would read the configuration again."""
    os.setsid()
    os.chdir("/")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        foreground(layout, specs, mode="detached", **request)
    except LaunchError as error:
        print(error, file=sys.stderr, flush=True)
        return error.code
    return 1


def layout_problem(layout: Layout) -> None:
    """Make the folders and try to write there, or say what is wrong. Raises LaunchError(78)."""
    probe = layout.home / f"room.{os.getpid()}.{_thread.get_ident()}"  # an embedding program may start two at once
    try:
        layout.ensure()
        try:
            write_fresh(probe, bytes(4096))
        finally:
            probe.unlink(missing_ok=True)
    except LayoutError as error:
        raise LaunchError(78, str(error)) from None
    except OSError as error:
        raise _unwritable(layout, error) from None


def _unwritable(layout: Layout, error: OSError) -> LaunchError:
    return LaunchError(
        78, f"cannot write in {layout.home}: {error.strerror}; make room or make it writable, or set MIDWATCH_HOME"
    )


def _claim(layout: Layout, what: str, end: str) -> InstanceLock:
    layout_problem(layout)
    lock = InstanceLock(layout.lock)
    try:
        lock.acquire({"pid": os.getpid(), "version": midwatch.__version__, "since": time.time(), "what": what})
    except Held as held:
        raise _already(held, end) from None
    except Unwritable as error:
        raise LaunchError(78, str(error)) from None
    return lock


def _already(held: Held, end: str) -> LaunchError:
    return LaunchError(4, f"{held}; `midwatch ps` shows it, `{end}` ends it")


def _plan(layout: Layout, mode: str) -> dict[str, object]:
    """How the keeper starts each engine: the lean program with the caller's import path."""
    engine = [*_lean_python(), str(_here() / "engine" / "__main__.py"), str(layout.home), str(layout.runtime), mode]
    env = {**_lean_environment(), "MIDWATCH_PATH": os.pathsep.join(path for path in sys.path if path)}
    return {"engine": engine, "env": env}


def _hook_up(outer: Outer | None) -> dict[str, object]:
    """The outer manager's part of the plan: where to report, how often, and what a service may be told of it."""
    told = {name: value for name, value in os.environ.items() if environment.of_outer(name) and passable(value)}
    plan: dict[str, object] = {"outer_env": told} if told else {}
    if outer is not None and outer.notify is not None:
        plan |= {"notify": outer.notify, "watchdog_usec": outer.watchdog_usec}
    return plan


def successor() -> dict[str, Any]:
    """The programs and the environment of this version, for a daemon that is to become it (`upgrade`)."""
    plan = _plan(Layout(Path("/"), Path("/")), "")
    keeper = [*_lean_python(), str(_here() / "keeper" / "__main__.py")]
    return {"keeper": keeper, "engine": plan["engine"][:-3], "env": plan["env"]}  # type: ignore[index]


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
    # glibc raises both by itself after the first big block, and then keeps what `up` of 500 services needed once.
    env["MALLOC_MMAP_THRESHOLD_"] = env["MALLOC_TRIM_THRESHOLD_"] = "131072"
    env["PYTHONDONTWRITEBYTECODE"] = os.environ.get("PYTHONDONTWRITEBYTECODE", "")
    return env


def _become_subreaper() -> None:
    """Orphans of every run fall to the keeper. The attribute survives exec, so the keeper needs no ctypes (0.5 MB)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
