"""Counts the descriptors of those who asked to be restarted before they run out of them, as fast as that takes.

A count takes some ten microseconds, so these few are counted each second, and more often the nearer the end is at their
speed; everybody else with the samples. Must not decide: a full table is told to the leak watch, which has it looked
through and hands it to the policy. Tests: tests/engine/test_guard_fds.py, tests/system/test_guard_fds.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from midwatch.policy import defaults
from midwatch.policy.guard import fds
from midwatch.policy.guard.fds import Track

if TYPE_CHECKING:
    from midwatch.engine.core import Engine
    from midwatch.engine.guard.sampler import Sampler
    from midwatch.engine.guard.watch import Watch


class FdPace:
    """One per engine; one timer, none while nobody asked for it."""

    def __init__(self, engine: Engine, sampler: Sampler) -> None:
        self._engine = engine
        self._sampler = sampler
        self._tracks: dict[str, Track] = {}  # by run id
        self._timer: asyncio.TimerHandle | None = None

    def sync(self) -> None:
        """Runs came or left, or rules changed."""
        wanted = {watch.run.id for watch in self._sampler.watches.values() if _asked(watch)}
        self._tracks = {run: self._tracks.get(run, Track()) for run in wanted}
        if not wanted:
            self.close()
        elif self._timer is None:
            self._arm(0.0)

    def close(self) -> None:
        """Count no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        pause = defaults.FD_COUNT[1]
        for name, watch in list(self._sampler.watches.items()):
            if watch.run.id not in self._tracks:
                continue
            try:
                pause = min(pause, self._one(watch))
            except Exception as error:  # noqa: BLE001  its regular counts go on (G11)
                self._engine.faults.caught("descriptor count", error, name, watch.run.id)
        self._arm(pause)

    def _one(self, watch: Watch) -> float:
        """Count one run's; when to count again."""
        rules = watch.service.spec.rules.fds
        count, soft = self._engine.machine.open_fds(watch.tree.main.pid)
        if count is None or rules is None:
            return defaults.FD_COUNT[1]
        track = fds.observe(self._tracks[watch.run.id], self._engine.machine.now().awake, count)
        self._tracks[watch.run.id] = track
        if soft is not None and fds.urgent(track, soft, (rules.warn, rules.act)):
            self._sampler.leaks.urgent(watch, count, soft, track.slope)
            self._tracks[watch.run.id] = Track()
        return fds.period(track, soft)


def _asked(watch: Watch) -> bool:
    rules = watch.service.spec.rules.fds
    return rules is not None and rules.action == "restart"
