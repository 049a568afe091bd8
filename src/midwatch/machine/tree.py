"""Who belongs to a run: cgroup, session, group, descent and the marker, from one look at all processes.

One snapshot holds the stat of every process with indexes by parent, session and group, so the members of a
tree cost what the tree costs. Orphans fall to the keeper (a subreaper), therefore everything a run started
stays below its main process or below the keeper; markers are read only there, once per process, and
remembered, so that a later `env -i` does not hide it. A number (session, group) counts only while it is
provably ours: see `_by_number`. Must not signal anybody. Tests: tests/machine/test_contract.py.
"""

from __future__ import annotations

import os
import time

from midwatch.machine.ports import Tree
from midwatch.machine.procs import Source, Stat
from midwatch.model.identity import ProcId

_MOST_MARKERS = 20000  # remembered identities; forgotten together with their process


class Snapshot:
    """Every process at (nearly) one moment."""

    def __init__(self, source: Source) -> None:
        """Read them all: about 8 us each."""
        self.at = time.monotonic()
        self.procs: dict[int, Stat] = {}
        self.children: dict[int, list[int]] = {}
        self.sessions: dict[int, list[int]] = {}
        self.groups: dict[int, list[int]] = {}
        for stat in source.stats():
            self._add(stat)

    def _add(self, stat: Stat) -> None:
        self.procs[stat.pid] = stat
        self.children.setdefault(stat.ppid, []).append(stat.pid)
        self.sessions.setdefault(stat.session, []).append(stat.pid)
        self.groups.setdefault(stat.pgrp, []).append(stat.pid)

    def holds(self, proc: ProcId) -> bool:
        """Is this identity (living or zombie) in the picture?"""
        stat = self.procs.get(proc.pid)
        return stat is not None and stat.start == proc.start

    def below(self, pid: int, without: set[int]) -> list[int]:
        """All descendants of a pid, not entering those in `without`."""
        found: list[int] = []
        queue = [pid]
        seen = set(without) | {pid}
        while queue:
            for child in self.children.get(queue.pop(), ()):
                if child not in seen:
                    seen.add(child)
                    found.append(child)
                    queue.append(child)
        return found


class Found:
    """The members of a tree and how sure the picture is."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Nobody yet."""
        self.snapshot = snapshot
        self.pids: set[int] = set()
        self.lineage = True  # orphans could only fall to a keeper that we see
        self.readable = True  # every environment that mattered could be read
        self.strangers: list[int] = []  # children of the keeper that belong to nobody we know


class Scanner:
    """Finds members. Remembers markers and main processes by identity."""

    def __init__(self, source: Source, keeper: int, boot: str) -> None:
        """`keeper`: our own, never a member, as is this process itself."""
        self.source = source
        self._boot = boot
        self._ours = {keeper, os.getpid()}
        self._inherited = os.environ.get("MIDWATCH_RUN")  # ours when we run inside a run of an outer instance
        self._markers: dict[tuple[int, int], str] = {}
        self._mains: dict[tuple[int, int], str] = {}
        self._last: Snapshot | None = None

    def snapshot(self, max_age: float = 0.0) -> Snapshot:
        """A picture not older than `max_age` seconds."""
        last = self._last
        if max_age > 0 and last is not None and time.monotonic() - last.at <= max_age:
            return last
        self._last = fresh = Snapshot(self.source)
        self._forget(fresh)
        return fresh

    def _forget(self, snapshot: Snapshot) -> None:
        for table in (self._markers, self._mains):
            if len(table) > 2 * len(snapshot.procs) + 64 or len(table) > _MOST_MARKERS:
                for key in [k for k in list(table) if not snapshot.holds(ProcId(k[0], k[1], self._boot))]:
                    table.pop(key, None)

    def remember(self, tree: Tree) -> None:
        """This is somebody's main process, whatever it does to its environment later."""
        self._mains[tree.main.pid, tree.main.start] = tree.run

    def learn(self, stat: Stat) -> str | None:
        """The marker of a process, read once; None when it has none or nobody may read it."""
        key = (stat.pid, stat.start)
        known = self._markers.get(key)
        if known is None:
            known = self.source.marker(stat.pid)
            if known == self._inherited:
                return None  # between fork and exec a child still shows the keeper's environment: ask again
            if known is not None:
                self._markers[key] = known
        return known

    def find(self, tree: Tree, max_age: float = 0.0) -> Found:
        """Everybody of this tree, zombies not counted."""
        self.remember(tree)
        # the group is read first: who leaves it for a session of its own in between is then in the snapshot
        group = tree.containment.kill or tree.containment.memory
        inside = self.source.group(group) if group else None
        found = Found(self.snapshot(max_age))
        picture = found.snapshot
        roots = {pid for pid in inside or () if pid in picture.procs}
        if tree.main.boot == self._boot:
            if picture.holds(tree.main):
                roots.add(tree.main.pid)
            roots |= self._by_number(tree, picture)
            self._by_marker(tree, found, roots)
        for pid in list(roots):
            if pid not in found.pids:
                found.pids.add(pid)
                found.pids.update(picture.below(pid, self._ours | found.pids))
        found.pids -= self._ours | {tree.keeper}
        found.pids = {pid for pid in found.pids if not picture.procs[pid].dead}
        for pid in found.pids:  # seen once is known for good: its parent may be gone at the next look
            self._markers.setdefault((pid, picture.procs[pid].start), tree.marker)
        found.strangers = [pid for pid in found.strangers if pid not in found.pids]
        return found

    def _by_number(self, tree: Tree, picture: Snapshot) -> set[int]:
        """Members of the session or group that the main process leads.

        The kernel gives a pid to nobody while it still names a session or group. So: main is there, the
        number is ours; somebody else has the pid, all of ours are gone; nobody has it, a stranger may have
        led a session of that number and left, so each must descend from us.
        """
        if not tree.own_group:
            return set()
        number = tree.main.pid
        holder = picture.procs.get(number)
        if holder is not None and holder.start != tree.main.start:
            return set()
        named = set(picture.sessions.get(number, ())) | set(picture.groups.get(number, ()))
        later = {pid for pid in named if picture.procs[pid].start >= tree.main.start}
        if holder is not None:
            return later
        ours = set(picture.below(tree.keeper, self._ours))
        return {pid for pid in later if pid in ours or self._carries(tree, picture.procs[pid])}

    def _carries(self, tree: Tree, stat: Stat) -> bool:
        marker = self.learn(stat)
        return marker is not None and (marker == tree.marker or marker.startswith(tree.marker + "/"))

    def _by_marker(self, tree: Tree, found: Found, roots: set[int]) -> None:
        """Add what carries the marker; where the keeper lives only its own descendants have to be asked."""
        picture = found.snapshot
        keeper = picture.procs.get(tree.keeper)
        alive = keeper is not None and not keeper.dead and keeper.start <= tree.main.start
        found.lineage = alive and self.source.subreaper
        ask = picture.below(tree.keeper, self._ours) if found.lineage else list(picture.procs)
        for pid in ask:
            stat = picture.procs[pid]
            if pid in roots or pid in self._ours or stat.start < tree.main.start or stat.dead:
                continue
            if not stat.session and not stat.pgrp:
                continue  # a kernel thread
            if self._carries(tree, stat):
                roots.add(pid)
            elif stat.ppid == tree.keeper and (stat.pid, stat.start) not in self._mains:
                self._orphan(tree, stat, found, roots)
            elif (
                not found.lineage
                and (stat.pid, stat.start) not in self._markers
                and not self.source.may_read(pid)
            ):
                found.readable = False

    def _orphan(self, tree: Tree, stat: Stat, found: Found, roots: set[int]) -> None:
        """A child of the keeper without a marker of this run: another's, or one that cleared its
        environment.
        """
        if self.source.writes_to(tree.run, stat.pid):
            roots.add(stat.pid)
            self._markers[stat.pid, stat.start] = tree.marker
        elif (stat.pid, stat.start) not in self._markers:
            found.strangers.append(stat.pid)

    def identities(self, found: Found) -> list[ProcId]:
        """The members as identities."""
        procs = found.snapshot.procs
        return [ProcId(pid, procs[pid].start, self._boot) for pid in sorted(found.pids)]
