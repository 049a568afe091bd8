"""What the outer manager hears (sd_notify): READY, STATUS, RELOADING, STOPPING, EXTEND_TIMEOUT and its watchdog.

The keeper sends it, because it is the manager's main process (NotifyAccess=main); we say what. A daemon is ready when
it serves its socket and has taken over what ran; a `run` is ready when its service is. The watchdog is fed only while
this loop turns, and by a `run` only while its service is not failing (SVC-11). Must not decide when to stop.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service

TROUBLE = ("degraded", "held", "gave_up", "waiting", "backoff")


class Outer:
    """Bound to one engine. Without a notify socket every method does nothing."""

    def __init__(self, engine: Engine, plan: dict[str, Any], *, foreground: bool) -> None:
        self._engine = engine
        self._there = bool(plan.get("notify"))
        self._foreground = foreground
        self._ready = False
        self._told = ""
        self._telling = False
        self._ending = False
        self._feed_every = (plan.get("watchdog_usec") or 0) / 2_000_000
        if not self._there:
            return
        engine.on_change.append(self._changed)
        if self._feed_every:
            self._feed()

    def booted(self) -> None:
        """The daemon serves; what ran before is taken over."""
        if not self._foreground:
            self._be_ready()

    def reloading(self) -> None:
        """A configuration is being put into force."""
        if self._ready and not self._ending:
            self._say(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self) -> None:
        """It is in force."""
        if self._ready and not self._ending:
            self._say("READY=1")

    def stopping(self) -> None:
        """The end has begun; the manager's patience is extended as long as it goes on."""
        if self._there and not self._ending:
            self._ending = True
            self._say("STOPPING=1")
            self._extend()

    def _extend(self) -> None:
        self._say(f"EXTEND_TIMEOUT_USEC={round(3 * defaults.PULSE * 1_000_000)}\nSTATUS={self._status()}")
        self._engine.later(defaults.PULSE, self._extend)

    def _be_ready(self) -> None:
        if self._there and not self._ready:
            self._ready = True
            self._told = self._status()
            self._say(f"READY=1\nSTATUS={self._told}")

    def _feed(self) -> None:
        """At half the interval, without a floor (a 500 ms watchdog needs 250 ms)."""
        failing = self._foreground and any(s.state.health == "failing" for s in self._engine.services.values())
        if not failing:
            self._say("WATCHDOG=1")
        asyncio.get_running_loop().call_later(self._feed_every, self._feed)

    def _changed(self, service: Service) -> None:
        if self._foreground and service.state.phase in ("up", "done"):
            self._be_ready()
        if not self._telling and self._ready and not self._ending:
            self._telling = True
            self._engine.later(defaults.STATUS_EVERY, self._tell)

    def _tell(self) -> None:
        self._telling = False
        words = self._status()
        if words != self._told and not self._ending:
            self._told = words
            self._say(f"STATUS={words}")

    def _status(self) -> str:
        states = [(service.spec.name, service.state) for service in self._engine.services.values()]
        phases = Counter(state.phase for _, state in states)
        words = f"{phases['up']} of {len(states)} up"
        troubled = [f"{name} {state.phase}" for name, state in states if state.phase in TROUBLE]
        return words + (f"; {', '.join(troubled[:3])}" + (" ..." if len(troubled) > 3 else "") if troubled else "")

    def _say(self, text: str) -> None:
        if self._there:
            self._engine.link.send(op="notify", text=text)
