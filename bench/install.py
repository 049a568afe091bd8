"""Getting the peers: Python packages into one venv, npm packages under a prefix, Debian packages unpacked.

Everything goes below the cache folder, nothing is installed into the system, with one exception that says
so (s6 carries the absolute path of its helper). Pins are here. Raises Unavailable with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.model import Unavailable
from bench.shell import run

PYPI = {"supervisor": "4.3.0", "circus": "0.19.0", "honcho": "2.0.0", "superlance": "2.0.0"}
NPM = {"pm2": "7.0.4"}
PATIENCE_S = 300.0


def python_package(cache: Path, name: str) -> Path:
    """The bin folder of the peers' venv with the package in it. Same interpreter for all."""
    venv = cache / "venv"
    mark = venv / f"installed-{name}-{PYPI[name]}"
    try:
        if not (venv / "bin" / "pip").exists():
            run([sys.executable, "-m", "venv", str(venv)], PATIENCE_S)
        if not mark.exists():
            run([str(venv / "bin" / "pip"), "install", "-q", f"{name}=={PYPI[name]}"], PATIENCE_S)
            mark.touch()
    except OSError as error:
        raise Unavailable(f"could not be installed: {error}") from error
    return venv / "bin"


def npm_package(cache: Path, name: str) -> Path:
    """The folder with the package's commands."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise Unavailable("npm and node are not here")
    prefix = cache / "npm"
    prefix.mkdir(parents=True, exist_ok=True)
    mark = prefix / f"installed-{name}-{NPM[name]}"
    if not mark.exists():
        argv = ["npm", "install", "--prefix", str(prefix), "--no-audit", "--no-fund", f"{name}@{NPM[name]}"]
        try:
            run(argv, PATIENCE_S, cwd=prefix)
        except OSError as error:
            raise Unavailable(f"could not be installed: {error}") from error
        mark.touch()
    return prefix / "node_modules" / ".bin"


def debian_unpacked(cache: Path, name: str, program: str) -> Path:
    """`program` of a Debian package: the system's, else unpacked below the cache (no root needed)."""
    if found := shutil.which(program):
        return Path(found)
    target = cache / "debian" / name
    if not (path := _find(target, program)):
        _need_apt()
        target.mkdir(parents=True, exist_ok=True)
        try:
            _download(name, target)
            for package in target.glob("*.deb"):
                run(["dpkg-deb", "-x", str(package), str(target)], 60.0)
        except OSError as error:
            raise Unavailable(f"could not be unpacked: {error}") from error
        path = _find(target, program)
    if path is None:
        raise Unavailable(f"the package {name} has no {program}")
    return path


def debian_installed(name: str, program: str) -> Path:
    """`program` installed by apt-get, for a package that does not work from another folder. Needs root."""
    if found := shutil.which(program):
        return Path(found)
    _need_apt()
    if os.geteuid() != 0:
        raise Unavailable(f"not installed, and apt-get install {name} needs root")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    argv = ["apt-get", "install", "-y", "-q", "--no-install-recommends", name]
    try:
        try:
            run(argv, PATIENCE_S, env)
        except OSError:
            run(["apt-get", "update", "-q"], PATIENCE_S)
            run(argv, PATIENCE_S, env)
    except OSError as error:
        raise Unavailable(f"could not be installed: {error}") from error
    return Path(shutil.which(program) or program)


def debian_version(name: str, path: Path) -> str:
    """The version of a Debian package, from dpkg or from the name of the file that was unpacked."""
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", name],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode == 0 and done.stdout:
        return done.stdout
    for folder in path.parents:
        for package in folder.glob(f"{name}_*.deb"):
            return package.name.split("_")[1].replace("%3a", ":")
    return "unknown"


def _need_apt() -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Unavailable("this is not a Debian-like system (no apt-get)")


def _download(name: str, target: Path) -> None:
    try:
        run(["apt-get", "download", "-q", name], PATIENCE_S, cwd=target)
    except OSError:
        if os.geteuid() != 0:
            raise
        run(["apt-get", "update", "-q"], PATIENCE_S)  # a fresh machine has no package lists
        run(["apt-get", "download", "-q", name], PATIENCE_S, cwd=target)


def _find(folder: Path, program: str) -> Path | None:
    for sub in ("usr/bin", "usr/sbin", "bin", "sbin"):
        if (folder / sub / program).exists():
            return folder / sub / program
    return None
