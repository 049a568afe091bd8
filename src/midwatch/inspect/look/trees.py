"""Whom each process belongs to, and what each tree of them holds.

A tree is, in this order: a run of ours, a container, an agent's session with all it started (whatever sessions and
wrappers lie between), and else what one job of a shell or one daemon started. Memory they share is counted in each, so
a sum over several is an upper bound (users.md 2.2, trap 4) and named so. Must not read anything and must not judge.
Tests: tests/inspect/test_trees.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from midwatch.inspect.agents import HELPERS, Known, Packs
from midwatch.inspect.argv import is_shell, label
from midwatch.inspect.ours import Ours, lineage
from midwatch.inspect.sources import Table
from midwatch.model.look import Proc
from midwatch.model.sample import Quality

Kind = Literal["service", "midwatch", "container", "agent", "program"]
_CONTAINER = re.compile(r"(?:docker|libpod|containerd|crio|kubepods|lxc)\S*?([0-9a-f]{64})")
_GROUND = {"tmux: server", "tmux", "screen", "SCREEN", "sshd", "sshd-session", "systemd", "launchd", "init",
           "login", "zellij", "Terminal", "iTerm2", "ghostty", "kitty", "alacritty", "wezterm-gui",
           "gnome-terminal-"}  # fmt: skip


class Tree(msgspec.Struct, frozen=True):
    """The living processes below one root. `unread`: members whose memory could not be read, so `held` is too low."""

    kind: Kind
    name: str
    root: Proc
    members: tuple[Proc, ...]
    held: int
    quality: Quality
    unread: int = 0
    agent: Known | None = None
    container: str = ""  # its id


class Forest(msgspec.Struct, frozen=True):
    """Every tree, the largest first, and who was recognised."""

    trees: tuple[Tree, ...]
    known: dict[int, Known]

    def of(self, pid: int) -> Tree | None:
        """The tree that this process is in."""
        return next((tree for tree in self.trees if any(one.pid == pid for one in tree.members)), None)


def grow(table: Table, packs: Packs, ours: Ours) -> Forest:
    """All of it, from one table."""
    procs = {pid: proc for pid, proc in table.procs.items() if not is_kernel(proc)}
    known = {pid: found for pid, proc in procs.items() if (found := packs.who(proc)) is not None}
    here = container_of(procs[me]) if (me := os.getpid()) in procs else ""  # ours is no stranger's
    members: dict[tuple[Kind, int, str], list[Proc]] = {}
    for proc in procs.values():
        members.setdefault(_owner(proc, procs, known, ours, here), []).append(proc)
    trees = [_tree(key, group, procs, known, ours) for key, group in members.items()]
    trees.sort(key=lambda tree: (-tree.held, tree.root.pid))
    return Forest(tuple(trees), known)


def is_kernel(proc: Proc) -> bool:
    """A thread of the kernel: no program and no memory of its own."""
    return not proc.argv and (proc.pid == 2 or proc.ppid == 2)


def container_of(proc: Proc) -> str:
    """The id in its cgroup's path, "" without one."""
    found = _CONTAINER.search(proc.cgroup)
    return found[1] if found else ""


def _owner(
    proc: Proc, procs: dict[int, Proc], known: dict[int, Known], ours: Ours, here: str
) -> tuple[Kind, int, str]:
    """(kind, root's pid, container id); a container is told by its id alone."""
    above = lineage(proc, procs)
    for one in above:
        start, _ = ours.runs.get(one.pid, (-1, ""))
        if start in (0, one.start):
            return "service", one.pid, ""
    inside = container_of(proc)
    if inside and inside != here:
        return "container", 0, inside
    for at, one in enumerate(above):
        found = known.get(one.pid)
        if found is not None and found.role not in HELPERS:
            return "agent", _outermost(above[at:], known, found).pid, ""
    ends = [one for one in above if one.pid in ours.keepers or one.pid in ours.engines]
    if ends:
        return "midwatch", ends[-1].pid, ""
    return "program", _job(above).pid, ""


def _outermost(above: list[Proc], known: dict[int, Known], found: Known) -> Proc:
    """Wrappers, the program that started itself again and sub-agents belong to the outermost of the same agent, unless
    a person's shell lies between.
    """
    root = above[0]
    for one in above[1:]:
        other = known.get(one.pid)
        if is_shell(one) or one.pid <= 1:
            break
        if other is not None and other.role not in HELPERS:
            if other.pack != found.pack:
                break
            if other.role == "app":
                break  # a desktop application has many sessions below it
            root = one
    return root


def _job(above: list[Proc]) -> Proc:
    """Climb while the parent is of the same session and neither a person's shell nor what starts everybody."""
    root = above[0]
    for parent in above[1:]:
        if parent.pid <= 1 or parent.sid != root.sid or parent.name in _GROUND or is_shell(parent):
            break
        root = parent
    return root


def _tree(
    key: tuple[Kind, int, str],
    group: list[Proc],
    procs: dict[int, Proc],
    known: dict[int, Known],
    ours: Ours,
) -> Tree:
    kind, pid, inside = key
    root = procs[pid] if pid else min(group, key=lambda one: (one.start, one.pid))
    held, quality, unread = total(group)
    agent = known.get(root.pid)
    if kind == "service":
        name = ours.runs[pid][1].rsplit(".", 1)[0].replace(".", "/", 1)
    elif kind == "container":
        name = f"container {inside[:12]}"
    elif kind == "midwatch":
        name = "midwatch"
    else:
        name = agent.name if agent and kind == "agent" and agent.role != "session" else label(root)
    if kind == "agent" and agent and agent.role in {"session", "launcher"}:
        name = agent.title
    return Tree(kind, name, root, tuple(group), held, quality, unread, agent, inside)


def total(group: Iterable[Proc]) -> tuple[int, Quality, int]:
    """(held, quality, how many could not be read) of some processes together."""
    held = unread = count = 0
    worst: Quality = "exact"
    for proc in group:
        if proc.held is None:
            unread += 1
            continue
        held += proc.held
        count += bool(proc.held)
        if proc.quality == "approximate":
            worst = "approximate"
        elif proc.quality == "upper-bound" and worst == "exact":
            worst = "upper-bound"
    if unread:
        return held, "approximate" if count else "absent", unread
    return held, "upper-bound" if count > 1 and worst == "exact" else worst, 0
