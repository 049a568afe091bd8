"""Tells the policy when a scheduled time has come: `Due(slot, missed)`, once for each look that finds one.

What counts is the wall clock, but timers run by the awake clock, which stands still during a suspend and knows no clock
step. So a timer never sleeps longer than a minute; what it finds then is compared with the last time that was dealt
with (`base`). Times are sought after `base` only, hence none comes twice, and all of them up to now, hence none is lost
silently: the newest is told, with how many came before it. A clock set back by up to three hours repeats nothing; by
more, it was wrong before: said, and counted from now. The policy decides what a `Due` means and keeps the slot in its
state, from which the next engine goes on. Must not start anything.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from midwatch.engine.cron import newest_slot, next_slot, zone_stamp
from midwatch.model.event import Due
from midwatch.model.identity import Now
from midwatch.model.service import Schedule
from midwatch.model.state import ServiceState
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service


class Armed:
    """One service that waits for its times. `base`: the last one that was dealt with, or when it began to wait."""

    __slots__ = ("base", "next_at", "schedule")

    def __init__(self, schedule: Schedule, base: float) -> None:
        self.schedule = schedule
        self.base = base
        self.next_at = next_slot(schedule, base)


class Schedules:
    """One per engine; one timer for all services."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._armed: dict[str, Armed] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._zone: tuple[int, ...] = ()
        engine.pulse.also.append(self.check)

    def next_at(self, name: str) -> float | None:
        """Wall time of a service's next time; None: it has none, or nobody wants it."""
        armed = self._armed.get(name)
        return armed.next_at if armed is not None else None

    def observe(self, service: Service) -> None:
        """A service's state has changed, or was restored: does it wait for its times?"""
        state = service.state
        schedule = state.rules.schedule
        if schedule is None or state.want != "up":
            self.forget(state.id)
            return
        known = self._armed.get(state.id)
        if known is None or known.schedule != schedule:
            now = self._engine.machine.now()
            base = _base(state, now) if known is None else now.wall  # another schedule has missed nothing yet
            self._armed[state.id] = Armed(schedule, base)
            self._zone = zone_stamp()
            if base != state.slot:  # kept by the policy's state, for the next engine
                self._engine.post(service, Due(slot=base, begin=True))
            self._say(state.id)
            self._set()

    def forget(self, name: str) -> None:
        """It is gone, stopped, or has no schedule any more."""
        if self._armed.pop(name, None) is not None:
            self._set()

    def check(self) -> None:
        """Look at the clock: by the timer, and with every beat of the engine, so that a sleep or a step shows soon."""
        if not self._armed:
            return
        wall = self._engine.machine.now().wall
        zone = zone_stamp()
        for name, armed in list(self._armed.items()):
            if zone != self._zone and armed.schedule.zone is None:
                armed.next_at = next_slot(armed.schedule, armed.base)
            if armed.base > wall + defaults.SCHEDULE_BACK:
                self._set_back(name, armed, wall)
            if armed.next_at is not None and armed.next_at <= wall:
                self._due(name, armed, wall)
        self._zone = zone
        self._set()

    def _due(self, name: str, armed: Armed, wall: float) -> None:
        found = newest_slot(armed.schedule, armed.base, wall, defaults.SCHEDULE_MISSED)
        armed.base = found[0] if found is not None else wall
        armed.next_at = next_slot(armed.schedule, armed.base)
        service = self._engine.services.get(name)
        if found is not None and service is not None:
            self._engine.post(service, Due(slot=found[0], missed=found[1], late=max(0.0, wall - found[0])))
            self._say(name)

    def _set_back(self, name: str, armed: Armed, wall: float) -> None:
        """Nothing would come for so long: the clock was wrong when the last time came."""
        fields = {"last": armed.base, "now": wall, "back_s": round(armed.base - wall, 3)}
        armed.base = wall
        armed.next_at = next_slot(armed.schedule, wall)
        self._engine.write("schedule.clock", service=name, fields=fields)
        self._say(name)

    def _say(self, name: str) -> None:
        armed = self._armed.get(name)
        if armed is not None:
            fields = {"at": armed.next_at, "cron": armed.schedule.cron, "zone": armed.schedule.zone}
            self._engine.write("schedule.next", service=name, fields=fields)

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._armed:
            return
        wall = self._engine.machine.now().wall
        waits = [armed.next_at - wall for armed in self._armed.values() if armed.next_at is not None]
        delay = max(0.0, min([defaults.SCHEDULE_CHECK, *waits]))
        self._timer = asyncio.get_running_loop().call_later(delay, self.check)


def _base(state: ServiceState, now: Now) -> float:
    """From when on its times count: the last that was dealt with, else since it waits."""
    if state.slot is not None:
        return state.slot
    return now.wall - max(0.0, now.awake - state.since)
