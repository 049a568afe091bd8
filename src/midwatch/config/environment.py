"""The environment of a service: what of the caller's it gets, and what the configuration adds.

Precedence, lowest first: the base set of the caller's variables (PATH HOME USER LOGNAME SHELL LANG LC_* TZ
TMPDIR TERM), `env_files` (later files win), variables granted by `env_pass`, `env`. A variable that is
neither in the base set nor granted is absent (H10). The names of the base set's part are returned as
`ambient`: they differ between a terminal, cron and ssh, and must not restart anything by themselves. What an
outer manager told us reaches no child unless `pass_manager` names it; its value is the daemon's own, so it is
not in here (engine/run.py adds it). Must not know who the service runs as beyond "somebody else".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

BASE = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "TERM")
BASE_PREFIX = "LC_"
OF_THE_USER = frozenset({"HOME", "USER", "LOGNAME", "SHELL"})

# What an outer manager tells its own child and nobody else (SVC-10). Of LISTEN_* and SYSTEMD_* only what is set by
# systemd: LISTEN_ADDR is some program's setting, and SYSTEMD_PAGER a person's.
MANAGERS = frozenset(
    [
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "SYSTEMD_EXEC_PID",
        "MANAGERPID",
        "MANAGERPIDFDID",
        "MAINPID",
        "MAINPIDFDID",
        "FDSTORE",
        "XPC_SERVICE_NAME",
        "LAUNCHD_SOCKET",
    ]
)
SOCKETS = ("LISTEN_FD", "LISTEN_PID")  # say something about descriptors, which no child of ours inherits
MANAGERS_PREFIXES = (*SOCKETS, "SUPERVISOR_", "SYSTEMD_ACTIVATION_")
OURS = "MIDWATCH_"  # our own notes to ourselves
INSTANCE = "MIDWATCH_HOME"  # names an instance on purpose; a nested midwatch means the same one

PYTHON = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
_INTERPRETER = re.compile(rb"(?:python|pypy)[0-9.]*w?")
_SHEBANG = re.compile(rb"#![ \t]*(?:\S*/env[ \t]+(?:-S[ \t]+)?)?(?:\S*/)?(?:python|pypy)[0-9.]*(?:\s|$)")


def scrubbed(environ: Mapping[str, str], other_user: bool) -> dict[str, str]:
    """The caller's environment without what was meant for the caller alone."""
    gone = OF_THE_USER if other_user else frozenset()
    return {name: value for name, value in environ.items() if not of_manager(name) and name not in gone}


def in_place(environ: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that takes our place (`run --exec`): what was meant for us is meant for it."""
    return {name: value for name, value in environ.items() if of_manager(name)} | dict(env)


def of_manager(name: str) -> bool:
    """Was this variable meant for the manager's direct child only, be it another manager or ourselves?"""
    return of_outer(name) or (name.startswith(OURS) and name != INSTANCE)


def of_outer(name: str) -> bool:
    """Does a manager outside of us set this for its own child?"""
    return name in MANAGERS or name.startswith(MANAGERS_PREFIXES)


def base(environ: Mapping[str, str], other_user: bool) -> dict[str, str]:
    """The part of the caller's environment that every service gets."""
    names = [name for name in environ if name in BASE or name.startswith(BASE_PREFIX)]
    found = {name: environ[name] for name in sorted(names) if not (other_user and name in OF_THE_USER)}
    found.setdefault("PATH", os.defpath)
    return found


def granted(environ: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The caller's variables that `env_pass` names; NAME* takes all that begin so, save a manager's."""
    found: dict[str, str] = {}
    for name in names:
        if name.endswith("*"):
            found |= {
                key: environ[key] for key in environ if key.startswith(name[:-1]) and not of_manager(key)
            }
        elif name in environ:
            found[name] = environ[name]
    return found


def apply(env: dict[str, str], changes: Mapping[str, str | None]) -> None:
    """Set and remove variables in place; None removes."""
    for name, value in changes.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value


def resolved(program: str, path: str, cwd: str) -> str | None:
    """The file that a command's first word names, or None. Only a look: the spawn looks again."""
    if "/" in program:
        file = os.path.join(cwd, program)
        return file if os.path.isfile(file) else None
    for folder in path.split(os.pathsep):
        file = os.path.join(cwd, folder, program)
        if os.path.isfile(file) and os.access(file, os.X_OK):
            return file
    return None


def is_python(program: str, file: str | None) -> bool:
    """Does this command run Python: an interpreter by name or link, or a script with its shebang?"""
    names = [program, os.path.realpath(file)] if file else [program]
    if any(_INTERPRETER.fullmatch(os.fsencode(os.path.basename(name))) for name in names):
        return True
    try:
        with open(file or "", "rb") as stream:
            return bool(_SHEBANG.match(stream.read(256)))
    except (OSError, ValueError):
        return False
