"""What a process is busy with, as far as its command line tells: a watcher that rebuilds, a job that churns files.

Goes by argv.py: a name counts only where it stands for the program. Must not look at the machine but for folders.
Tests: tests/inspect/doctor/test_watchers.py.
"""

from __future__ import annotations

import posixpath

from midwatch.inspect import argv
from midwatch.inspect.doctor.check import Context
from midwatch.inspect.ours import lineage
from midwatch.model.look import Proc

_SERVE = {
    "mkdocs": {"serve"},
    "vite": {"", "dev", "serve"},
    "next": {"dev"},
    "astro": {"dev"},
    "zensical": {"serve"},
}
_ALWAYS = {
    "watchfiles",
    "nodemon",
    "sphinx-autobuild",
    "ptw",
    "pytest-watch",
    "watchexec",
    "chokidar",
    "livereload",
}
_FLAGGED = {"uvicorn": {"--reload"}, "tsc": {"-w", "--watch"}, "webpack": {"-w", "--watch", "serve"},
            "jest": {"--watch", "--watchAll"}, "tailwindcss": {"-w", "--watch"}, "esbuild": {"--watch"},
            "flask": {"--debug", "--reload"}, "fastapi": {"dev", "--reload"}, "hypercorn": {"--reload"}}  # fmt: skip
_TESTS = {"pytest", "py.test", "tox", "nox", "coverage", "jest", "vitest"}
_INSTALLS = {"uv": {"sync", "lock", "add", "remove", "pip"}, "npm": {"install", "ci", "i"}, "pnpm": {"install", "i"},
             "yarn": {"install"}, "pip": {"install"}, "poetry": {"install", "lock", "update"}}  # fmt: skip
_GENERATORS = {"openapi-generator", "openapi-generator-cli", "datamodel-codegen", "protoc", "buf", "mkdocs", "sqlc",
               "prisma", "graphql-codegen", "orval", "sphinx-build"}  # fmt: skip
_OUTPUT = (
    "-d",
    "--site-dir",
    "--outdir",
    "--outDir",
    "--out-dir",
    "--output",
    "-o",
    "--output-path",
    "--dist-dir",
)
_RELOAD_DIR = ("--reload-dir", "--watch-dir")


def words(proc: Proc) -> tuple[str, argv.Shape]:
    """(the program that it is, without suffix; its shape): `python -m pytest` and `/x/bin/pytest` are both pytest."""
    shape = argv.shape(proc)
    name = shape.module or shape.script or shape.package or shape.program
    base = posixpath.basename(name)
    for suffix in (".py", ".js", ".mjs", ".cjs"):
        base = base.removesuffix(suffix)
    return base.partition(".")[0] if shape.module else base, shape


def watcher(proc: Proc) -> str:
    """The name of a program that rebuilds when files change, else ""."""
    base, shape = words(proc)
    if base in _ALWAYS or (base in _SERVE and shape.command in _SERVE[base]):
        return base
    if base == "vite" and shape.command == "build" and "--watch" in shape.rest:
        return base
    return base if base in _FLAGGED and _FLAGGED[base] & set(shape.rest) else ""


def job(proc: Proc) -> str:
    """What changes many files or needs the checkout for itself: tests, an install, a generator; else ""."""
    base, shape = words(proc)
    if watcher(proc):
        return ""
    if base in _TESTS:
        return "tests"
    if base in _INSTALLS and shape.command in _INSTALLS[base]:
        return f"{base} {shape.command}"
    if (
        base in _GENERATORS
        or base.startswith(("codegen", "generate_", "gen_"))
        or base.endswith(("_codegen", "-codegen"))
    ):
        return base
    return "codegen" if shape.command in ("generate", "codegen") else ""


def outputs(proc: Proc, cwd: str) -> list[str]:
    """Folders that its options say it writes to, absolute."""
    return _values(proc, _OUTPUT, cwd)


def watched(proc: Proc, cwd: str) -> list[str]:
    """Folders that it watches: those of its options, else where it stands; of mkdocs the sources."""
    given = _values(proc, _RELOAD_DIR, cwd)
    base, shape = words(proc)
    if given:
        return given
    if base == "watchfiles":
        paths = [word for word in shape.rest[1:] if not word.startswith("-")]
        return [_absolute(path, cwd) for path in paths] or [cwd]
    return [_absolute("docs", cwd)] if base == "mkdocs" else [cwd]


def _values(proc: Proc, options: tuple[str, ...], cwd: str) -> list[str]:
    found = []
    for at, word in enumerate(proc.argv):
        name, equals, value = word.partition("=")
        if name in options and equals:
            found.append(value)
        elif word in options and at + 1 < len(proc.argv) and not proc.argv[at + 1].startswith("-"):
            found.append(proc.argv[at + 1])
    return [_absolute(path, cwd) for path in found if path]


def _absolute(path: str, cwd: str) -> str:
    return posixpath.normpath(posixpath.join(cwd or "/", path))


def inside(path: str, folder: str) -> bool:
    """Is it in that folder, or the folder itself?"""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def cwd(ctx: Context, pid: int) -> str:
    """Where a process stands; "" when that cannot be told."""
    if ctx.linux:
        try:
            return ctx.sources.link(f"/proc/{pid}/cwd").removesuffix(" (deleted)")
        except OSError:
            return ""
    found = ctx.once("cwds", lambda: _mac_cwds(ctx))
    assert isinstance(found, dict)
    return str(found.get(pid, ""))


def _mac_cwds(ctx: Context) -> dict[int, str]:
    """One lsof for all: it is slow on a Mac."""
    try:
        ran = ctx.sources.run(("lsof", "-nP", "-a", "-d", "cwd", "-u", str(ctx.sources.uid), "-Fpn"))
    except OSError:
        return {}
    found: dict[int, str] = {}
    pid = 0
    for line in ran.out.splitlines():
        if line[:1] == "p" and line[1:].isdigit():
            pid = int(line[1:])
        elif line[:1] == "n":
            found[pid] = line[1:]
    return found


def repository(ctx: Context, folder: str) -> str:
    """The checkout that a folder belongs to, or the folder itself."""
    found = ctx.once(f"repository {folder}", lambda: _repository(ctx, folder))
    return str(found)


def _repository(ctx: Context, folder: str) -> str:
    at = folder.rstrip("/")
    for _ in range(8):
        if not at:
            break
        try:
            if ".git" in ctx.sources.names(at):
                return at
        except OSError:
            pass  # not ours to list, or gone: what is above it may be
        at = at.rpartition("/")[0]
    return folder


def topmost(procs: list[Proc], table: dict[int, Proc]) -> list[Proc]:
    """Without those below another of the list: `uv run pytest` and its pytest are one job."""
    pids = {proc.pid for proc in procs}
    return [proc for proc in procs if not any(one.pid in pids for one in lineage(proc, table)[1:])]
