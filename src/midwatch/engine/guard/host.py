"""Watches the machine: its available memory, its pressure, and what all services hold together.

Between two passes it also tells the sampler when memory has gone so quickly that everything has to be read at once.
A trigger of the kernel (PSI) wakes us where there is one. Under pressure starts are spread out. Who has to go is chosen
by policy/guard/host. Must not end anything. Tests: tests/engine/test_guard_host.py.
"""

from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING

from midwatch.model.action import Note
from midwatch.model.event import Tripped
from midwatch.model.sample import HostSample
from midwatch.policy import defaults
from midwatch.policy.guard import Confirm, pace
from midwatch.policy.guard import host as policy
from midwatch.policy.guard.host import HostState, Tree

if TYPE_CHECKING:
    from midwatch.engine.core import Engine
    from midwatch.engine.guard.sampler import Sampler
    from midwatch.engine.guard.watch import Watch

_ALIVE = ("starting", "up", "stopping", "killing")


class HostGuard:
    """One per engine."""

    def __init__(self, engine: Engine, sampler: Sampler) -> None:
        self._engine = engine
        self._sampler = sampler
        self.state = HostState()
        self.sample: HostSample | None = None
        self.held = 0  # bytes that all services hold, as far as is known
        self.period = defaults.PACE_MOST
        self._trigger: int | None = None
        self._poll: select.epoll | None = None

    @property
    def polite(self) -> float:
        """Seconds between the stop signal and the kill that the machine can afford."""
        return self.state.polite

    @property
    def critical(self) -> bool:
        """Only the cheapest evidence now."""
        return self.state.level == "critical"

    def start(self) -> None:
        """Have the kernel wake us when tasks stall for memory, where it does."""
        self._loop = asyncio.get_running_loop()
        self._trigger = self._engine.machine.pressure()
        if self._trigger is None or not hasattr(select, "epoll"):
            return
        # The loop's selector does not know POLLPRI; a poll of its own becomes readable when there is some.
        self._poll = select.epoll()
        try:
            self._poll.register(self._trigger, select.EPOLLPRI)
        except OSError:
            self.close()
            return
        self._loop.add_reader(self._poll.fileno(), self._stalled)

    def close(self) -> None:
        """The kernel need not wake us any more."""
        poll, self._poll = self._poll, None
        if poll is not None:
            self._loop.remove_reader(poll.fileno())
            poll.close()
        if self._trigger is not None:
            os.close(self._trigger)
            self._trigger = None

    def _stalled(self) -> None:
        assert self._poll is not None
        self._poll.poll(0)  # takes the event: at most one in two seconds
        self._sampler.hurry()

    def look(self) -> bool:
        """One look at the machine. True: so much memory has gone since the last one that everything is to be read."""
        before, now = self.sample, self._engine.machine.host_sample()
        self.sample = now
        free = now.available_bytes
        room = [(self._nearest(), defaults.PACE_BURST)]
        if free is not None:
            room.append((max(0, free - self._sampler.budget.reserve), defaults.PACE_HOST))
        self.period = pace.period(room)
        if before is None or before.available_bytes is None or free is None:
            return False
        return before.available_bytes - free >= defaults.SENTINEL_DROP

    def _nearest(self) -> float:
        """Room of the run that is nearest to its own hard line."""
        rooms = [
            watch.lines.hard - watch.value
            for watch in self._sampler.watches.values()
            if watch.lines.hard is not None and not watch.ended
        ]
        return float(max(0, min(rooms, default=1 << 62)))

    def judge(self) -> None:
        """After a pass: the machine, the budget, and whom it hits."""
        sample = self.sample
        if sample is None:
            return
        budget, watches = self._sampler.budget, self._sampler.watches
        self.held = sum(watch.value for watch in watches.values())
        trees: list[Tree] = []
        if self._needed(sample):
            alive = [watch for watch in watches.values() if watch.sample and watch.service.state.phase in _ALIVE]
            trees = [_tree(watch, sample.at) for watch in alive]
        self.state, told = policy.judge(self.state, sample, budget.reserve, trees, budget.whole)
        if self.state.level != "ok":
            self._engine.pulse.slow(sample.at + defaults.PRESSURE_SLOW)
        for proposal in told:
            self._propose(proposal)

    def _needed(self, sample: HostSample) -> bool:
        """Does anything depend on who holds what? On a calm machine 500 services are one sum."""
        budget = self._sampler.budget
        free = sample.available_bytes
        calm = free is not None and free >= 2 * budget.reserve and self.held < defaults.DISARM * budget.whole
        known = self.state.victim is None or self.state.gone is not None
        return not (calm and known and not any(arm.on for arm in self.state.arms.values()))

    def _propose(self, proposal: Note | Tripped | Confirm) -> None:
        if isinstance(proposal, Note):
            self._engine.write(proposal.event, fields=proposal.fields)
            self._sampler.kept.changed = True
            return
        for watch in self._sampler.watches.values():
            if watch.run.id == proposal.run:
                self._sampler.propose(watch, proposal)
                return

    def after_gap(self) -> None:
        """Nobody looked for a while: the last look says nothing about how fast memory goes."""
        self.sample = None


def _tree(watch: Watch, at: float) -> Tree:
    sample = watch.sample
    assert sample is not None
    return Tree(
        run=watch.run.id,
        service=watch.service.spec.id,
        held=watch.value,
        sure=watch.sure,
        hard=watch.lines.hard,
        growth=watch.state.track.growth(at),
        priority=watch.service.spec.rules.priority,
        quality=sample.held.quality,
    )
