"""The sessions of known agents: what each holds, which helpers it started, and whether anybody works with it.

A helper is counted once, whatever chain of wrappers (npm exec, sh, node) it runs in. A session is idle when its
terminal has shown nothing for long and it used no processor time since the last look; without a terminal and without
a last look that is not known, and said so. Must not judge who is left over. Tests: tests/inspect/test_sessions.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from midwatch.inspect.agents import HELPERS, Known
from midwatch.inspect.look.trees import Forest, Tree, total
from midwatch.inspect.ours import lineage
from midwatch.inspect.sources import Sources
from midwatch.model.look import Proc
from midwatch.model.sample import Quality
from midwatch.policy import defaults_inspect as figures

Activity = Literal["active", "idle", "unknown"]


class Helper(msgspec.Struct, frozen=True):
    """Those of one name that a session started. `tops`: the outermost process of each."""

    role: str
    name: str
    tops: tuple[Proc, ...]
    processes: int
    held: int
    quality: Quality


class Session(msgspec.Struct, frozen=True):
    """One session. `idle_s`: since when nothing came from it; None: not known."""

    agent: Known
    tree: Tree
    helpers: tuple[Helper, ...]
    activity: Activity
    idle_s: float | None

    @property
    def root(self) -> Proc:
        """Its first process."""
        return self.tree.root

    def count(self, role: str) -> int:
        """Helpers of one kind."""
        return sum(len(helper.tops) for helper in self.helpers if helper.role == role)


def sessions(sources: Sources, forest: Forest, share: Mapping[tuple[int, int], float]) -> list[Session]:
    """`share`: processor time of a tree's root (pid, start) since the last look, as a share of one core."""
    procs = {one.pid: one for tree in forest.trees for one in tree.members}
    found = []
    for tree in forest.trees:
        if tree.agent is None or tree.kind not in {"agent", "service"} or tree.agent.role in HELPERS:
            continue
        idle, activity = _idle(sources, tree.root, share.get((tree.root.pid, tree.root.start)))
        found.append(Session(tree.agent, tree, helpers(tree, procs, forest.known), activity, idle))
    return found


def helpers(tree: Tree, procs: dict[int, Proc], known: Mapping[int, Known]) -> tuple[Helper, ...]:
    """Grouped by kind and name, most memory first."""
    groups: dict[tuple[str, str], list[tuple[Proc, Proc]]] = {}
    inside = {one.pid for one in tree.members}
    for proc in tree.members:
        top: Proc | None = None
        for one in lineage(proc, procs):
            if one.pid == tree.root.pid or one.pid not in inside:
                break
            found = known.get(one.pid)
            if found is not None and found.role in HELPERS:
                top = one
        if top is not None:
            who = known[top.pid]
            groups.setdefault((who.role, who.name), []).append((top, proc))
    made = []
    for (role, name), pairs in groups.items():
        held, quality, _ = total(proc for _, proc in pairs)
        tops = {top.pid: top for top, _ in pairs}
        made.append(Helper(role, name, tuple(tops.values()), len(pairs), held, quality))
    return tuple(sorted(made, key=lambda one: (-one.held, one.name)))


def _idle(sources: Sources, root: Proc, share: float | None) -> tuple[float | None, Activity]:
    """A terminal's time of change is the last output or echo on it (to eight seconds)."""
    quiet: float | None = None
    if root.tty:
        try:
            quiet = max(0.0, sources.now() - sources.size(f"/dev/{root.tty}")[1])
        except OSError:
            quiet = None
    busy = share is not None and share > figures.SESSION_BUSY
    if busy:
        return 0.0, "active"
    if quiet is None:
        return None, "unknown" if share is None else "idle"
    if quiet < figures.SESSION_IDLE:
        return quiet, "active"
    return quiet, "idle"
