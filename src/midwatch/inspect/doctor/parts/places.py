"""Where lock files and pid files usually are: known paths, and folders of which the names are looked through.

Bounded: so many folders, so many names. Must not open a file. Tests: tests/inspect/doctor/test_locks.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from midwatch.inspect.doctor.check import Context
from midwatch.policy import defaults_inspect as figures

_SYSTEM = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)


def locks(ctx: Context) -> list[str]:
    """Files that programs take a kernel lock on."""
    found = tasks(ctx)
    found += [f"{path}/.uv-lock" for path in ctx.paths]
    for folder in [*ctx.paths, *_below(ctx)]:
        found += [
            f"{folder}/{name}" for name in _names(ctx, folder) if name.endswith(".lock") and _kernel(name)
        ]
    return list(dict.fromkeys(found))[: figures.LOCK_FILES]


def tasks(ctx: Context) -> list[str]:
    """Those of installers: taken for a task of minutes, never for as long as somebody serves."""
    home = ctx.sources.home
    own = [f"{home}/.cache/uv/.lock", f"{home}/.cargo/.package-cache", f"{home}/.local/share/uv/tools/.lock"]
    return [*(_SYSTEM if ctx.linux else ()), *own]


def _kernel(name: str) -> bool:
    """Names that are data, not locks: uv.lock, poetry.lock, Cargo.lock ... are written once and never locked."""
    return name not in {
        "uv.lock",
        "poetry.lock",
        "Cargo.lock",
        "Pipfile.lock",
        "yarn.lock",
        "flake.lock",
        "bun.lock",
    }


def index_locks(ctx: Context) -> list[str]:
    """Existence locks of git in the folders that one works in."""
    found = []
    for folder in ctx.paths:
        at = folder.rstrip("/")
        while at:
            if "index.lock" in _names(ctx, f"{at}/.git"):
                found.append(f"{at}/.git/index.lock")
            at = at.rpartition("/")[0]
    return list(dict.fromkeys(found))


def pid_files(ctx: Context) -> list[str]:
    """Files that look as if a pid stood in them."""
    found = []
    system = ["/run", "/tmp"] if ctx.linux else ["/var/run", "/tmp"]
    for folder in [*system, *ctx.paths, *_below(ctx)]:
        found += [f"{folder}/{name}" for name in _names(ctx, folder) if _pidlike(name)]
    return list(dict.fromkeys(found))[: figures.LOCK_FILES]


def _pidlike(name: str) -> bool:
    return name == "pid" or name.endswith((".pid", ".pidfile")) or (name.endswith(".lock") and _kernel(name))


def _below(ctx: Context) -> Iterator[str]:
    """Dot folders of the home, and what is directly in the usual state folders."""
    home = ctx.sources.home
    dots = [f"{home}/{name}" for name in _names(ctx, home) if name.startswith(".")]
    yield from dots[: figures.LOCK_FOLDERS]
    for base in (f"{home}/.local/state", f"{home}/.local/share", f"{home}/Library/Application Support"):
        yield from [f"{base}/{name}" for name in _names(ctx, base)][: figures.LOCK_FOLDERS]


def _names(ctx: Context, folder: str) -> list[str]:
    key = f"names {folder}"
    found = ctx.once(key, lambda: _listed(ctx, folder))
    assert isinstance(found, list)
    return found


def _listed(ctx: Context, folder: str) -> list[str]:
    try:
        return ctx.sources.names(folder, figures.LOCK_NAMES)
    except OSError:
        return []  # no folder, or not ours
