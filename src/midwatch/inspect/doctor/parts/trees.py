"""Processes gathered into trees: one for what a session or a job of a shell started.

A process belongs to the topmost ancestor that is no shell, terminal, manager or the system's first process. Must not
judge who is left over: that is leftovers.py. Tests: tests/inspect/doctor/test_users.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from midwatch.inspect.doctor.parts import naming
from midwatch.model.look import Proc

_ABOVE = frozenset({
    "sh", "bash", "zsh", "fish", "dash", "ksh", "tcsh", "csh", "login", "sshd", "tmux", "screen", "tmux: server",
    "systemd", "launchd", "init", "sshd-session", "tmux:", "zellij", "su", "sudo", "containerd-shim", "tini",
})  # fmt: skip


class Tree(NamedTuple):
    """One root with everything below it."""

    root: Proc
    members: tuple[Proc, ...]
    held: int


def children(procs: Mapping[int, Proc]) -> dict[int, list[Proc]]:
    """By parent's pid."""
    found: dict[int, list[Proc]] = {}
    for proc in procs.values():
        found.setdefault(proc.ppid, []).append(proc)
    return found


def below(root: Proc, kids: Mapping[int, list[Proc]]) -> list[Proc]:
    """The root and everything under it; a table with a circle (pids reused while it was read) does no harm."""
    found, seen, waiting = [], {root.pid}, [root]
    while waiting:
        proc = waiting.pop()
        found.append(proc)
        for child in kids.get(proc.pid, ()):
            if child.pid not in seen:
                seen.add(child.pid)
                waiting.append(child)
    return found


def root_of(proc: Proc, procs: Mapping[int, Proc]) -> Proc:
    """The top of its tree."""
    root, seen = proc, {proc.pid}
    while True:
        parent = procs.get(root.ppid)
        if parent is None or parent.pid <= 1 or parent.pid in seen or parent.name in _ABOVE:
            return root
        seen.add(parent.pid)
        root = parent


def ancestors(proc: Proc, procs: Mapping[int, Proc]) -> list[Proc]:
    """From its parent upwards."""
    found: list[Proc] = []
    seen = {proc.pid}
    at = procs.get(proc.ppid)
    while at is not None and at.pid not in seen:
        seen.add(at.pid)
        found.append(at)
        at = procs.get(at.ppid)
    return found


def largest(procs: Mapping[int, Proc], count: int) -> list[Tree]:
    """The trees that hold most."""
    members: dict[int, list[Proc]] = {}
    for proc in procs.values():
        members.setdefault(root_of(proc, procs).pid, []).append(proc)
    found = [Tree(procs[root], tuple(group), naming.total(group)) for root, group in members.items()]
    return sorted(found, key=lambda tree: (-tree.held, tree.root.pid))[:count]
