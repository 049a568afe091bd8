"""What screens and listeners see of a live session: small events through bounded queues, and a ring of the last
items.

An event has a preview and a reference, never a body. A queue holds 128 events and 4 MiB; a consumer that is further
behind misses events and is told how many (`gap`): the writer never waits for a reader. Must not read the store.
Tests: tests/bounded/sessions/test_live.py.
"""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType
from typing import Self

import msgspec

from midwatch.bounded.sessions.values import Item
from midwatch.policy import defaults_sessions as d

_PREVIEW = 4096


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """`kind`: item, created, deleted, warning, or gap (`missed` events were not kept for this consumer)."""

    kind: str
    session: str = ""
    ref: str = ""
    text: str = ""  # a preview, or the warning's words
    item: Item | None = None  # without its body
    missed: int = 0

    @property
    def size(self) -> int:
        return 512 + 4 * len(self.text) + (0 if self.item is None or self.item.more is None else d.MORE_BYTES)


class Subscription:
    """A queue of one consumer. Iterate, or `get`; close it, or use it in a `with` block."""

    def __init__(self, bus: Bus, session: str | None) -> None:
        self._bus = bus
        self._session = session
        self._ready = threading.Condition()
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._missed = 0
        self._open = True

    def put(self, event: Event) -> None:
        """From the writer: never waits."""
        if self._session is not None and event.session not in ("", self._session):
            return
        with self._ready:
            if len(self._events) >= d.QUEUE_EVENTS or self._bytes + event.size > d.QUEUE_BYTES:
                self._missed += 1
            else:
                self._events.append(event)
                self._bytes += event.size
            self._ready.notify()

    def get(self, timeout: float | None = None) -> Event | None:
        """The next event; None when the time is over or the subscription was closed. A gap is told once, in its
        place."""
        with self._ready:
            self._ready.wait_for(lambda: self._events or self._missed or not self._open, timeout)
            if self._events:
                event = self._events.popleft()
                self._bytes -= event.size
                return event
            if self._missed:
                event, self._missed = Event(kind="gap", missed=self._missed), 0
                return event
            return None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self.get()
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        self._bus.leave(self)
        with self._ready:
            self._open = False
            self._ready.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Bus:
    """Hands events to whoever listens; costs nothing when nobody does."""

    def __init__(self) -> None:
        self._listeners: list[Subscription] = []
        self._lock = threading.Lock()

    def subscribe(self, session: str | None = None) -> Subscription:
        one = Subscription(self, session)
        with self._lock:
            self._listeners = [*self._listeners, one]
        return one

    def leave(self, one: Subscription) -> None:
        with self._lock:
            self._listeners = [other for other in self._listeners if other is not one]

    def publish(self, event: Event) -> None:
        for one in self._listeners:
            one.put(event)

    def appended(self, item: Item) -> None:
        """An item was stored."""
        if self._listeners:
            text = (item.body or b"")[:_PREVIEW].decode("utf-8", "replace")
            light = msgspec.structs.replace(item, body=None)
            self.publish(Event(kind="item", session=item.session, ref=item.ref, text=text, item=light))

    def close(self) -> None:
        for one in self._listeners:
            one.close()


class Ring:
    """The last 50 items of a session, bodies only where they are short: what a screen draws from."""

    def __init__(self, items: list[Item]) -> None:
        self.items: deque[Item] = deque(items, maxlen=d.RING)

    def add(self, event: Event) -> None:
        """Follow a subscription; after a gap, read the ring anew (`Session.ring`)."""
        if event.item is not None:
            body = event.text.encode() if event.item.size <= _PREVIEW and event.text else None
            self.items.append(msgspec.structs.replace(event.item, body=body))
