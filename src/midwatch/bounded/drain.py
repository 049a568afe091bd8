"""The loop of one run: read, keep, watch the clock, tell the command to leave, see that it has.

Everything that can end a run is one of its states; whatever happens it is over by timeout + 4 s: TERM, 2 s, KILL with
proof (1 s), the rest of the pipes (1 s). Output is read the whole time. Must not know what a preview looks like. Tests:
tests/system/test_bounded_exec.py, test_bounded_ends.py.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios
import time
from typing import NamedTuple

from midwatch.bounded import holders
from midwatch.bounded.child import Child, Gone, reap
from midwatch.bounded.holders import Holder
from midwatch.bounded.sink import Sink
from midwatch.bounded.tape import Tape
from midwatch.machine.ports import Meter
from midwatch.policy import defaults_bounded as d

_BLIND = 0.02  # s between two looks at a child that no descriptor watches
_HOLDERS = 0.5  # s of the last four that are for who still holds a pipe
_LONGEST = 60.0  # s: of one wait; the clock of a machine that slept is looked at then


class Bounds(NamedTuple):
    """Seconds and bytes at which a run is ended."""

    timeout: float
    idle: float | None
    output: int
    memory: int | None
    detach_ok: bool


class Drain:
    """One run, from its start to the last byte that is read of it."""

    def __init__(self, child: Child, tapes: list[Tape], sink: Sink, bounds: Bounds, cancel: int) -> None:
        """`cancel`: a descriptor that becomes readable when somebody wants the run to end, or -1."""
        self.child, self.sink = child, sink
        self.state = ""  # why we ended it
        self.gone: Gone | None = None
        self.holders: list[Holder] = []
        self.left: list[int] = []  # who would not die
        self._bounds = bounds
        self._tapes = dict(zip(child.outs, tapes, strict=True))
        self._cancel = cancel
        self._poll = select.poll()
        for fd in (*child.outs, cancel, child.watch):
            if fd >= 0:
                self._poll.register(fd, select.POLLIN)
        self._began = self._fed = time.monotonic()
        self._deadline = self._began + bounds.timeout
        self._kill_at = self._over_at = self._hard = float("inf")
        self._look_at = self._began if bounds.memory else float("inf")
        self._owed = 0  # bytes that were in the pipes when the command had ended: they are its own
        self._killed = False
        self._meter: Meter | None = None
        self.peak = 0

    def run(self) -> None:
        """Until it is over."""
        try:
            while not self._over():
                self._step()
            if self.state and not self._killed:
                self._kill()  # the command has left when it was asked to; what it started may not have
            if self._tapes:
                self._release_holders()
        finally:
            if self._meter is not None:
                self._meter.close()

    def _over(self) -> bool:
        if self.gone is None:
            return False
        if not self._tapes or time.monotonic() >= self._hard:
            return True
        return time.monotonic() >= self._over_at and (self._owed <= 0 or not any(map(_waiting, self._tapes)))

    def _step(self) -> None:
        now = time.monotonic()
        for fd, _ in self._poll.poll(max(0.0, self._next() - now) * 1000):
            if fd in self._tapes:
                self._read(fd)
            elif fd == self._cancel:
                self._poll.unregister(fd)
                self.stop("cancelled")
            else:
                self._ended()
        self._check(time.monotonic())

    def _next(self) -> float:
        """When something is due, whether or not anything happens."""
        due = min(self._kill_at, self._look_at, time.monotonic() + _LONGEST)
        if self.gone is not None:
            return min(due, self._over_at, self._hard)
        if self.child.watch < 0:
            due = min(due, time.monotonic() + _BLIND)
        if not self.state:
            due = min(due, self._deadline)
            if self._bounds.idle is not None:
                due = min(due, self._fed + self._bounds.idle)
        return due

    def _read(self, fd: int) -> None:
        tape = self._tapes[fd]
        try:
            poured = self.sink.pour(fd)
            count = os.readv(fd, [tape.buffer]) if poured is None else poured
        except BlockingIOError:
            return
        if count == 0:
            self._poll.unregister(fd)
            del self._tapes[fd]
            return
        self._owed -= count
        self._fed = time.monotonic()
        if poured is None:
            buffer = tape.buffer
            tape.took(count)
            self.sink.take(buffer, count)
        if self.sink.total >= self._bounds.output and not self._killed:
            self.state = self.state or "output_limit"
            self._kill()

    def _check(self, now: float) -> None:
        if self.child.watch < 0 and self.gone is None:
            self._ended()
        if self.gone is None and not self.state:
            if now >= self._deadline:
                self.stop("timeout")
            elif self._bounds.idle is not None and now >= self._fed + self._bounds.idle:
                self.stop("idle_timeout")
        if now >= self._look_at:
            self._look_at = now + d.MEMORY_EVERY if self.gone is None else float("inf")
            self._weigh(now)
        if now >= self._kill_at:
            self._kill()

    def stop(self, why: str) -> None:
        """End it. The first reason is the one that is told."""
        if self.state or self.gone is not None:
            return
        self.state = why
        self.child.ask()
        self._kill_at = time.monotonic() + d.GRACE
        self._hard = self._kill_at + d.VERIFY + d.DRAIN - _HOLDERS

    def _kill(self) -> None:
        self._killed = True
        self._kill_at = float("inf")
        self.left = [proc.pid for proc in self.child.end().left]
        if self.gone is None and (self.left or self.child.watch < 0):
            self._ended()
        if self.gone is None and self.left:  # it cannot be killed: a disk that hangs. We do not wait for it
            self.gone = Gone(None, 0)
        self._over_at = min(self._over_at, time.monotonic() + d.DRAIN)

    def _ended(self) -> None:
        """Perhaps: reap the command, and give who has its pipes a moment."""
        if self.gone is not None:
            return
        self.gone = self.child.reap()
        if self.gone is None:
            return
        if self.child.watch >= 0:
            self._poll.unregister(self.child.watch)
        self._over_at = min(self._over_at, time.monotonic() + d.DRAIN)
        self._owed = sum(map(_waiting, self._tapes))
        if not self.state and self._bounds.memory and self.child.oom_kills():
            self.state = "memory_limit"

    def _weigh(self, now: float) -> None:
        limit = self._bounds.memory
        if limit is None or self.gone is not None:
            return
        if self._meter is None:
            self._meter = self.child.machine.meter(self.child.tree)
        held = self._meter.read(now).held.value
        self.peak = max(self.peak, held or 0)
        if self.child.oom_kills() or (self.child.polled and held is not None and held >= limit):
            self.state = self.state or "memory_limit"
            self._kill()  # without asking: each moment costs what the limit protects

    def _release_holders(self) -> None:
        """Somebody outlived the command and keeps its output open: it is named, and ended unless it may stay."""
        machine = self.child.machine
        found = holders.find(self._tapes, machine, self.child.tree)
        commands = {proc: _command(machine.holder(proc.pid)) for proc in found}
        left = set(found) if self._bounds.detach_ok else set(holders.end(found, machine))
        reap({proc.pid for proc in found})
        self.holders = [Holder(proc.pid, commands[proc], proc not in left) for proc in found]
        for fd in list(self._tapes):
            self._last(fd)

    def _last(self, fd: int) -> None:
        """What is in a pipe now, and no more."""
        os.set_blocking(fd, False)
        rest = _waiting(fd)
        while fd in self._tapes and rest > 0:
            before = self.sink.total
            self._read(fd)
            if self.sink.total == before:
                return
            rest -= self.sink.total - before


def _waiting(fd: int) -> int:
    """Bytes in a pipe."""
    number = array.array("i", [0])
    try:
        fcntl.ioctl(fd, termios.FIONREAD, number)
    except OSError:
        return 0
    return number[0]


def _command(found: object) -> str:
    return str(getattr(found, "command", "")) or "?"


