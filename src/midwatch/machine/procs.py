"""What the tree and the end of a tree need from a system: one record per process, a source of them, a hand.

linux/ and macos/ implement `Source` and `Hand`; tree.py and end.py hold the rules once for both. Must not
know how a system is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from midwatch.model.identity import ProcId


class Stat(msgspec.Struct, frozen=True, gc=False):
    """Who a process is and whom it belongs to."""

    pid: int
    state: str
    ppid: int
    pgrp: int
    session: int
    threads: int
    start: int  # Linux: clock ticks since boot; macOS: microseconds. With the pid it is the identity

    @property
    def dead(self) -> bool:
        """A zombie. A leader that left while its threads work is state Z too, with threads > 1: it lives."""
        return self.state in "ZXx" and self.threads <= 1


class Source(Protocol):
    """Looks. Nothing here raises: what cannot be seen is None, False or missing.

    `subreaper`: orphans fall to the keeper here (Linux), not to process 1 (macOS).
    """

    subreaper: bool

    def stats(self) -> Iterable[Stat]:
        """Every process, zombies too."""

    def stat(self, pid: int) -> Stat | None:
        """One process."""

    def marker(self, pid: int) -> str | None:
        """MIDWATCH_RUN of its environment."""

    def may_read(self, pid: int) -> bool:
        """Could its environment be read?"""

    def writes_to(self, run: str, pid: int) -> bool:
        """Is its stdout or stderr the run's own FIFO (`.../fifo/<run>.<stream>`)? Only ours have it."""

    def group(self, directory: str) -> set[int] | None:
        """The pids inside a cgroup and below it."""


class Hand(Protocol):
    """Acts on identities and cgroups."""

    def send(self, proc: ProcId, signum: int) -> bool:
        """Signal exactly this process; False when it is gone. Raises PermissionError."""

    def wait(self, procs: list[ProcId], seconds: float) -> None:
        """Sleep until all of these are gone (zombies count as gone), at most `seconds`."""

    def kill_group(self, directory: str) -> bool:
        """KILL everybody in a cgroup at once; False when there is no such thing."""

    def freeze_group(self, directory: str, on: bool) -> bool:
        """Freeze or thaw a cgroup; False when that is not possible."""

    def group_frozen(self, directory: str) -> bool:
        """Does everybody in it stand still by now?"""

    def release(self, procs: list[ProcId]) -> None:
        """Take the memory of these, who have been killed and are still there. Returns at once."""

    def thaw_group(self, directory: str) -> None:
        """Thaw it and everything below it."""

    def group_empty(self, directory: str) -> bool:
        """Is provably nobody alive in it?"""
