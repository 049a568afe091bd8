"""Marks in environments, names that are never swept, and which helpers a browser's arguments make one of.

Reads packs/sweep.toml. Names protect; they never accuse. Must not look at the machine. Tests:
tests/inspect/test_leftovers_kinds.py.
"""

from __future__ import annotations

import os
import tomllib
from functools import cache
from typing import NamedTuple

from midwatch import packs
from midwatch.inspect import argv
from midwatch.model.look import Proc

STDIO = frozenset({"mcp", "language-server", "helper"})  # roles that live by the pipes on stdin and stdout
AGENT = frozenset({"session", "server", "app", "launcher"})  # roles of an agent's own processes
_TEMPORARY = ("/tmp/", "/var/tmp/", "/var/folders/", "/private/var/folders/", "/private/tmp/", "/dev/shm/")
_PROFILE = ("--user-data-dir=", "--profile=", "-profile=")
_DIALS = ("--socket", "--tcp", "--connect", "--hub", "--relay", "--tunnel", "ws://", "wss://")
_SHELLS = frozenset(
    {"sh", "bash", "zsh", "fish", "dash", "ksh", "tcsh", "csh", "nu", "xonsh", "elvish", "pwsh"}
)


class Words(NamedTuple):
    """The file."""

    marks: dict[str, str]
    protected: dict[str, frozenset[str]]


@cache
def words() -> Words:
    """packs/sweep.toml."""
    with open(os.path.join(os.path.dirname(packs.__file__), "sweep.toml"), "rb") as file:
        known = tomllib.load(file)
    return Words(known["marks"], {name: frozenset(names) for name, names in known["protected"].items()})


def marked(environ: dict[str, str]) -> tuple[str, str]:
    """(pack, variable) of the agent whose mark an environment bears, or ("", "")."""
    for mark, pack in words().marks.items():
        if mark in environ:
            return pack, mark
    return "", ""


def never(proc: Proc) -> str:
    """ "editor", "database" ... for a program that is never swept, by its own name or its program's; else ""."""
    names = {proc.name, argv.shape(proc).program}
    return next((kind for kind, known in words().protected.items() if not names.isdisjoint(known)), "")


def is_shell(proc: Proc) -> bool:
    """A shell, whatever it runs."""
    return argv.shape(proc).program in _SHELLS or proc.name.lstrip("-") in _SHELLS


def is_login(proc: Proc) -> bool:
    """A login shell, as login(1), sshd and terminals start it: its name begins with a dash."""
    return is_shell(proc) and (proc.argv[:1] or (proc.name,))[0].startswith("-")


def is_driven(proc: Proc) -> bool:
    """A browser that a program drives: no window, and a profile that was made for it. A person's has neither."""
    flags = [word.lower() for word in proc.argv[1:]]
    program = argv.shape(proc).program.lower()
    unseen = any(word.lstrip("-").partition("=")[0] == "headless" for word in flags) or "headless" in program
    return unseen and any(_temporary(word, flags[at - 1] if at else "") for at, word in enumerate(flags))


def _temporary(word: str, before: str) -> bool:
    for option in _PROFILE:
        if word.startswith(option):
            return word[len(option) :].startswith(_TEMPORARY)
    return before in ("-profile", "--profile") and word.startswith(_TEMPORARY)


def has_fixed_port(proc: Proc) -> bool:
    """A browser whose port for drivers has a number that somebody chose: several may come and go."""
    ports = [word.partition("=")[2] for word in proc.argv if word.startswith("--remote-debugging-port=")]
    return any(port != "0" for port in ports)


def dials(proc: Proc) -> bool:
    """A helper that was told to reach its client over a connection, and not over its streams (--socket=6009)."""
    return any(word.startswith(_DIALS) for word in proc.argv[1:])


def is_wrapper(proc: Proc) -> bool:
    """It only starts another program and waits for it: npx, uv run, timeout, a shell."""
    return is_shell(proc) or argv.is_runner(proc)


def environment(data: bytes) -> dict[str, str]:
    """/proc/PID/environ; the values stay in here and are compared only."""
    found: dict[str, str] = {}
    for entry in data.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals:
            found.setdefault(name.decode("utf-8", "replace"), value.decode("utf-8", "replace"))
    return found
