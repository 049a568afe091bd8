"""End leftovers: prove again, TERM, wait, check who they are, KILL, verify, say what came of each.

Whoever changed since he was shown is kept. A signal goes through a pidfd whose process was checked by pid and start, so
a number that was given anew cannot be hit. The undo list is on disk before the first signal. Must not decide who is a
leftover, and never ends more than it was allowed. Tests: tests/inspect/test_sweep.py.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Literal, Protocol

import msgspec

from midwatch.inspect.ours import lineage
from midwatch.inspect.sources import Table
from midwatch.model.identity import ProcId
from midwatch.model.look import Leftover, Proc
from midwatch.policy.defaults_inspect import SWEEP_GRACE, SWEEP_MOST, SWEEP_VERIFY

Action = Literal["ended", "killed", "gone", "kept", "left"]
_STEP = 0.05


class Hands(Protocol):
    """What touches a process."""

    def send(self, proc: Proc, signum: int) -> bool:
        """Signal exactly this process; False: it is gone. Raises PermissionError."""

    def alive(self, proc: Proc) -> bool:
        """Is exactly this process there and no zombie?"""


class LinuxHands:
    """Through pidfds."""

    def send(self, proc: Proc, signum: int) -> bool:
        """See Hands."""
        from midwatch.machine.linux import pidfd

        return pidfd.send(ProcId(proc.pid, proc.start, ""), signum)

    def alive(self, proc: Proc) -> bool:
        """See Hands."""
        from midwatch.machine.linux import pidfd

        now = pidfd.look(proc.pid)
        return now is not None and now.start == proc.start and not now.dead


def hands() -> Hands:
    """Of this machine. Raises NotImplementedError where nothing may be signalled safely."""
    if sys.platform != "linux":
        raise NotImplementedError(
            "only on Linux can a signal be bound to exactly one process; nothing was done"
        )
    return LinuxHands()


class Ended(msgspec.Struct, frozen=True):
    """What came of one of them. `words` say why it was kept or is left."""

    left: Leftover
    action: Action
    words: str = ""

    @property
    def freed(self) -> int:
        """Bytes that it held and holds no more."""
        return (self.left.proc.held or 0) if self.action in ("ended", "killed") else 0


class Sweep:
    """One act. `look` proves anew: it returns the leftovers and the table of this moment."""

    def __init__(
        self,
        look: Callable[[], tuple[list[Leftover], Table]],
        hands: Hands,
        *,
        grace: float = SWEEP_GRACE,
        most: int = SWEEP_MOST,
        verify: float = SWEEP_VERIFY,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is touched before `run`."""
        self._look = look
        self._hands = hands
        self._grace = grace
        self._most = most
        self._verify = verify
        self._clock = clock
        self._pause = pause

    def run(self, wanted: Iterable[Leftover], note: Callable[[list[Leftover]], None]) -> list[Ended]:
        """End them. `note` gets those that will be, before the first signal, and may refuse by raising."""
        wanted = list(wanted)
        if not wanted:
            return []
        now, table = self._look()
        proven = {(one.proc.pid, one.proc.start): one for one in now}
        done: list[Ended] = []
        targets: list[Leftover] = []
        for one in wanted:
            still = proven.get((one.proc.pid, one.proc.start))
            if still is not None and (still.certain or not one.certain):
                targets.append(still)
            elif not self._hands.alive(one.proc):
                done.append(Ended(one, "gone", "it had ended by itself"))
            else:
                done.append(Ended(one, "kept", "it changed since it was shown: it is no leftover any more"))
        over = f"a sweep ends {self._most} processes at most: sweep once more"
        done += [Ended(one, "kept", over) for one in targets[self._most :]]
        targets = targets[: self._most]
        if targets:
            note(targets)
            done = self._end(targets, table) + done
        return done

    def _end(self, targets: list[Leftover], table: Table) -> list[Ended]:
        refused: dict[int, str] = {}
        for one in targets:
            self._send(one.proc, signal.SIGTERM, refused)
        self._wait([one.proc for one in targets], self._grace)
        stubborn = [one.proc for one in targets if self._hands.alive(one.proc)]
        for proc in stubborn + self._born(targets, stubborn, table):
            self._send(proc, signal.SIGKILL, refused)
        self._wait(stubborn, self._verify)
        return [self._told(one, stubborn, refused) for one in targets]

    def _born(self, targets: list[Leftover], stubborn: list[Proc], before: Table) -> list[Proc]:
        """Children that those who did not leave have got meanwhile; nobody else's, and nobody who was there before."""
        if not stubborn:
            return []
        _, table = self._look()
        known = {one.proc.pid for one in targets}
        alive = {(one.pid, one.start) for one in stubborn}
        return [
            one
            for one in table.procs.values()
            if one.pid not in known
            and one.pid not in before.procs
            and any((above.pid, above.start) in alive for above in lineage(one, table.procs)[1:])
        ]

    def _send(self, proc: Proc, signum: int, refused: dict[int, str]) -> None:
        try:
            self._hands.send(proc, signum)
        except PermissionError:
            refused[proc.pid] = "the kernel does not let us signal it"

    def _wait(self, procs: list[Proc], seconds: float) -> None:
        until = self._clock() + seconds
        while self._clock() < until and any(self._hands.alive(proc) for proc in procs):
            self._pause(_STEP)

    def _told(self, one: Leftover, stubborn: list[Proc], refused: dict[int, str]) -> Ended:
        if self._hands.alive(one.proc):
            return Ended(
                one, "left", refused.get(one.proc.pid, "it did not end, not even by SIGKILL (state D?)")
            )
        return Ended(one, "killed" if one.proc in stubborn else "ended")
