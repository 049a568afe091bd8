"""The engine's heartbeat: tells the keeper and the disk that it lives, and notices when nobody lived for a while.

A suspend shows as boottime running ahead of the awake clock, a pause (SIGSTOP, a frozen container or VM) as an awake
clock that ran on while no beat came. Either way nobody may be blamed for the time: every service gets `Woke` before any
timer or probe that became due meanwhile is believed, and what died of it is restarted one after another, not at once.
Must not decide what is forgiven (policy).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from midwatch.model.event import Woke
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine


class Pulse:
    """One per engine; beats from `start` on."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._last = 0.0  # awake time of the last beat; 0: not started
        self._suspended = 0.0
        self._looking = False
        self._calm_at = 0.0  # until then starts are spread out
        self._next_start = 0.0
        self.also: list[Callable[[], object]] = []  # done at each beat; returns at once
        self.gaps: list[Callable[[], object]] = []  # done when a gap was noticed, before anybody is forgiven

    def start(self) -> None:
        """The first beat, and the rest of them."""
        self._last = self._engine.machine.now().awake
        self._suspended = self._engine.machine.suspended()
        self._beat()

    def look(self) -> None:
        """Before a timer or a probe is believed: has anybody been awake to serve it?"""
        if not self._last or self._looking:
            return
        late = self._engine.machine.now().awake - self._last - defaults.PULSE
        slept = self._engine.machine.suspended() - self._suspended
        if max(late, slept) <= defaults.GAP:
            return
        self._looking = True
        try:
            self._woke(max(0.0, late), slept)
        finally:
            self._looking = False

    def _woke(self, late: float, slept: float) -> None:
        engine = self._engine
        now = engine.machine.now().awake
        self._last, self._suspended = now, engine.machine.suspended()
        self._calm_at = now + defaults.STAGGER_FOR
        fields = {"slept_ms": round(slept * 1000), "paused_ms": round(late * 1000)}
        engine.write("clock.gap", fields=fields)
        for what in self.gaps:
            what()
        for service in list(engine.services.values()):
            engine.post(service, Woke(gap=late + slept, awake=late))

    def slow(self, until: float) -> None:
        """Starts are spread out until then: the machine is short of memory."""
        self._calm_at = max(self._calm_at, until)

    def pace(self, start: Callable[[], None]) -> None:
        """Start something at once, or, shortly after a gap and under pressure, in its turn."""
        now = self._engine.machine.now().awake
        if now >= self._calm_at:
            start()
            return
        due = max(now, self._next_start)
        self._next_start = due + defaults.STAGGER
        self._engine.later(due - now, start)

    def _beat(self) -> None:
        self.look()
        engine = self._engine
        self._last, self._suspended = engine.machine.now().awake, engine.machine.suspended()
        engine.link.send(op="alive")
        touch(os.fspath(engine.layout.beat))
        asyncio.get_running_loop().call_later(defaults.PULSE, self._beat)
        engine.faults.look()
        for what in self.also:
            what()


def touch(path: str) -> None:
    """Set its time to now; a disk that refuses only makes `unseen` times longer."""
    try:
        try:
            os.utime(path)
        except FileNotFoundError:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError:
        pass
