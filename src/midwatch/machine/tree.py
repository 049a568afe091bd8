"""Who belongs to a run: cgroup, session, group, descent and the marker, from one look at all processes.

One snapshot holds the stat of every process with indexes by parent, session and group, so the members of a
tree cost what the tree costs. Orphans fall to the keeper (a subreaper), therefore everything a run started
stays below its main process or below the keeper; markers are read only there, once per process, and
remembered, so that a later `env -i` does not hide it. A number (session, group) counts only while it is
provably ours: see `_by_number`. Must not signal anybody. Tests: tests/machine/test_contract.py.
"""

from __future__ import annotations

import os
import threading
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
        self.indexes: dict[int, Index] = {}
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


class Index:
    """The markers in a snapshot, read once for all trees: who carries what, and who carries nothing."""

    def __init__(self, below: list[int]) -> None:
        """`below`: those who are asked."""
        self.below = set(below)
        self.carriers: dict[str, list[int]] = {}  # each prefix of a marker -> pids
        self.nameless: list[Stat] = []


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
        self._lock = threading.Lock()

    def snapshot(self, max_age: float = 0.0) -> Snapshot:
        """A picture not older than `max_age` seconds; callers who wait for one another share the next."""
        asked = time.monotonic()
        last = self._last
        if max_age > 0 and last is not None and asked - last.at <= max_age:
            return last
        with self._lock:
            last = self._last
            if last is not None and last.at >= asked:  # begun after we asked: as good as one of our own
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
        ours = self._index(picture, tree.keeper).below
        return {pid for pid in later if pid in ours or self._carries(tree, picture.procs[pid])}

    def _carries(self, tree: Tree, stat: Stat) -> bool:
        marker = self.learn(stat)
        return marker is not None and (marker == tree.marker or marker.startswith(tree.marker + "/"))

    def _by_marker(self, tree: Tree, found: Found, roots: set[int]) -> None:
        """Add what carries the marker; where the keeper lives only its own descendants have to be asked."""
        picture = found.snapshot
        keeper = picture.procs.get(tree.keeper)
        alive = keeper is not None and not keeper.dead and keeper.start <= tree.began
        found.lineage = alive and self.source.subreaper
        index = self._index(picture, tree.keeper if found.lineage else 0)
        roots.update(
            p for p in index.carriers.get(tree.marker, ()) if picture.procs[p].start >= tree.began
        )
        for stat in index.nameless:
            if stat.pid in roots or stat.start < tree.began:
                continue
            if not found.lineage:
                found.readable = found.readable and self.source.may_read(stat.pid)
            elif stat.ppid == tree.keeper and (stat.pid, stat.start) not in self._mains:
                self._orphan(tree, stat, found, roots)

    def _index(self, picture: Snapshot, keeper: int) -> Index:
        """The markers of everything below the keeper; 0: of everybody."""
        index = picture.indexes.get(keeper)
        if index is not None:
            return index
        index = Index(picture.below(keeper, self._ours) if keeper else list(picture.procs))
        for pid in index.below - self._ours:
            stat = picture.procs[pid]
            if stat.dead or not (stat.session or stat.pgrp):  # the latter: a kernel thread
                continue
            marker = self.learn(stat)
            if marker is None:
                index.nameless.append(stat)
                continue
            parts = marker.split("/")
            for end in range(1, len(parts) + 1):
                index.carriers.setdefault("/".join(parts[:end]), []).append(pid)
        picture.indexes[keeper] = index
        return index

    def _orphan(self, tree: Tree, stat: Stat, found: Found, roots: set[int]) -> None:
        """A child of the keeper without a marker of this run: another's, or one that cleared its
        environment.
        """
        if self.source.writes_to(tree.run, stat.pid):
            roots.add(stat.pid)
            self._markers[stat.pid, stat.start] = tree.marker
        elif (stat.pid, stat.start) not in self._markers:  # another look may have learnt it meanwhile
            found.strangers.append(stat.pid)

    def identities(self, found: Found) -> list[ProcId]:
        """The members as identities."""
        procs = found.snapshot.procs
        return [ProcId(pid, procs[pid].start, self._boot) for pid in sorted(found.pids)]

    def identify(self, pids: set[int]) -> list[ProcId]:
        """These pids, as far as they are alive, as identities; never ourselves."""
        stats = (self.source.stat(pid) for pid in sorted(pids - self._ours))
        return [ProcId(stat.pid, stat.start, self._boot) for stat in stats if stat and not stat.dead]
