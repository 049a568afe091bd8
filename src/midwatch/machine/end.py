"""The last rung of the stop ladder: end everything of a tree, and say what proves that nothing is left.

With a cgroup: freeze it (who is frozen still dies, and cannot fork meanwhile), then cgroup.kill, before 5.14 KILL to
each. Without: STOP everybody until a look at /proc finds nobody new, so that forks end and descent stays readable, then
KILL through pidfds; done after two empty looks. Who is still there a moment after KILL gets its memory taken away from
outside (mrelease.py). Always bounded by the caller's seconds; what could not be ended is named, never hidden. Must not
decide when to end something. Tests: tests/machine/test_contract.py, test_end.py.
"""

from __future__ import annotations

import os
import signal
import time

from midwatch.machine.ports import Ended, Rung, Tree
from midwatch.machine.procs import Hand
from midwatch.machine.tree import Found, Scanner
from midwatch.model.identity import ProcId

_FRESH = 0.25  # seconds: how old the first look may be where a cgroup holds the tree anyway
_STOP_ROUNDS = 10  # systemd-oomd and oomd give up after as many
_LATE = 0.2  # seconds: who is still there so long after KILL does not leave by itself as it should


class Ending:
    """One call of `end`."""

    def __init__(self, scanner: Scanner, hand: Hand, tree: Tree) -> None:
        """Nothing is signalled yet."""
        self._scanner = scanner
        self._hand = hand
        self._tree = tree
        self._group = tree.containment.kill
        self._found: Found | None = None
        self._seen: set[ProcId] = set()
        self._denied: set[ProcId] = set()
        self._closed = False  # a look has shown that all members are inside the cgroup

    def run(self, polite: float, verify: float) -> Ended:
        """The whole rung, at most `polite + verify` seconds."""
        began = time.monotonic()
        if polite > 0:
            self._ask(began + polite)
        else:
            self._look()  # who is there is known before a whole group is killed at once
        left = self._kill(began + polite + verify)
        return Ended(self._rung(), len(self._seen) - len(left), tuple(left))

    def _look(self) -> list[ProcId]:
        """Everybody now. A cgroup that holds the whole tree is asked alone from then on: nobody leaves it by
        himself.
        """
        inside = self._scanner.source.group(self._group) if self._closed and self._group else None
        if inside is not None:
            members = self._scanner.identify(inside)
        else:
            self._found = self._scanner.find(self._tree, _FRESH if self._group and not self._seen else 0.0)
            members = self._scanner.identities(self._found)
            group = self._scanner.source.group(self._group) if self._group else None
            self._closed = group is not None and self._found.pids <= group
            if self._closed and group:
                members = self._scanner.identify(group)  # the picture may be a moment old
        self._seen.update(members)
        return members

    def _ask(self, until: float) -> None:
        """TERM to each member once (later ones too), until nobody is left or the time is up."""
        if self._group:
            self._hand.thaw_group(self._group)
        told: set[ProcId] = set()
        pause = 0.02
        while members := self._look():
            for proc in members:
                if proc not in told:
                    told.add(proc)
                    self._send(proc, signal.SIGTERM)
                    self._send(proc, signal.SIGCONT)  # a stopped process cannot hear TERM
            now = time.monotonic()
            if now >= until:
                return
            self._hand.wait(members, min(until - now, pause))
            pause = min(pause * 2, 0.5)

    def _kill(self, until: float) -> list[ProcId]:
        frozen = False
        stopped: set[ProcId] = set()
        killed: set[ProcId] = set()
        rounds = empty = 0
        try:
            while True:
                by_group = False
                if self._group:
                    frozen = self._hand.freeze_group(self._group, True) or frozen
                    by_group = self._hand.kill_group(self._group)
                members = self._look()
                empty = 0 if members else empty + 1
                now = time.monotonic()
                if empty == 2 or now >= until or (members and self._denied.issuperset(members)):
                    return members
                fresh = [proc for proc in members if proc not in stopped]
                if fresh and rounds < _STOP_ROUNDS and not by_group:
                    rounds += 1
                    stopped.update(fresh)
                    self._blow(fresh, signal.SIGSTOP)
                    continue
                self._blow(members, signal.SIGKILL)
                self._hand.release([proc for proc in members if proc in killed])
                killed.update(members)
                self._hand.wait(members, min(until - now, _LATE))
        finally:
            if frozen and self._group:
                self._hand.freeze_group(self._group, False)

    def _blow(self, procs: list[ProcId], signum: int) -> None:
        """Whole groups first: a signal to a group cannot be outrun by a fork. Then each one by itself."""
        for proc in self._heads(procs):
            now = self._scanner.source.stat(proc.pid)
            if now is not None and now.start == proc.start and now.pgrp == self._pgrp(proc):
                try:
                    os.killpg(now.pgrp, signum)  # while a member lives in it, the number is this group's
                except (ProcessLookupError, PermissionError):
                    pass
        for proc in procs:
            self._send(proc, signum)

    def _pgrp(self, proc: ProcId) -> int:
        assert self._found
        return self._found.snapshot.procs[proc.pid].pgrp

    def _heads(self, procs: list[ProcId]) -> list[ProcId]:
        """One member of each process group in which nobody but members lives."""
        if not self._tree.own_group or self._found is None or self._closed:
            return []
        picture, pids = self._found.snapshot, self._found.pids
        heads: dict[int, ProcId] = {}
        for proc in procs:
            group = picture.groups[self._pgrp(proc)]
            if all(pid in pids or picture.procs[pid].dead for pid in group):
                heads[self._pgrp(proc)] = proc
        return list(heads.values())

    def _send(self, proc: ProcId, signum: int) -> None:
        try:
            self._hand.send(proc, signum)
        except PermissionError:
            self._denied.add(proc)

    def _rung(self) -> Rung:
        """What the last look proves."""
        group = self._group or self._tree.containment.memory
        if group and self._hand.group_empty(group):
            return "cgroup"
        found = self._found
        if found is None or (found.lineage and found.strangers):
            return "not provable"
        if found.lineage:
            return "tree"
        return "marker" if found.readable else "not provable"
