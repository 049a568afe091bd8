"""B14: a ring of the last items, queues that are bounded, and consumers that are told of a gap."""

from __future__ import annotations

import threading

from midwatch import sessions
from midwatch.policy import defaults_sessions as d


def test_events_are_previews(store: sessions.Store, talk: sessions.Session) -> None:
    """An item of a megabyte is an event of a few hundred bytes with its reference."""
    with store.subscribe("talk") as events:
        talk.append("user", "hello")
        talk.append("tool_result", "x" * 1_000_000, calls="c")
        store.create(id="other").append("user", "not for us")
        store.delete("talk")
        first, second, third = (events.get(5) for _ in range(3))
    assert first
    assert (first.kind, first.text, first.ref) == ("item", "hello", "talk/1")
    assert second
    assert second.item
    assert (second.text, second.item.size) == ("", 1_000_000)
    assert second.size <= d.EVENT_BYTES
    assert third
    assert third.kind == "deleted"


def test_b14_a_slow_consumer_is_told_of_a_gap(store: sessions.Store, talk: sessions.Session) -> None:
    """Nobody reads 200 events: 128 are kept, then a gap says how many were missed; the writer did not wait."""
    with store.subscribe() as events:
        for number in range(200):
            talk.append("user", str(number))
        found = [events.get(5) for _ in range(d.QUEUE_EVENTS)]
        assert [one.text for one in found if one] == [str(number) for number in range(128)]
        gap = events.get(5)
        assert gap
        assert (gap.kind, gap.missed) == ("gap", 72)
        talk.append("user", "again")
        after = events.get(5)
        assert after
        assert after.text == "again"
        assert events.get(0) is None


def test_a_queue_is_bounded_in_bytes_too(store: sessions.Store, talk: sessions.Session) -> None:
    with store.subscribe() as events:
        for _ in range(d.QUEUE_EVENTS):
            talk.append("user", "€" * 2000)
        assert events._bytes <= d.QUEUE_BYTES
        assert all(one.size <= d.EVENT_BYTES for one in events._events)


def test_the_ring_is_bounded(store: sessions.Store, talk: sessions.Session) -> None:
    """The last 50 items, bodies only where they are short; it follows the events."""
    for number in range(80):
        talk.append("user", f"{number}" if number % 2 else "x" * 50_000)
    ring = talk.ring()
    assert [item.pos for item in ring.items] == list(range(31, 81))
    assert [item.body is None for item in ring.items] == [item.pos % 2 == 1 for item in ring.items]
    with store.subscribe("talk") as events:
        talk.append("user", "new")
        event = events.get(5)
    assert event
    ring.add(event)
    assert len(ring.items) == 50
    assert ring.items[-1].text == "new"


def test_closing_wakes_whoever_waits(store: sessions.Store) -> None:
    events = store.subscribe()
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend(events))
    thread.start()
    store.create()
    store.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(found) <= 1
