"""Callbacks of a host: order, bound, the count of what did not fit, broken ones, ones that never return."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from midwatch.engine.embed.delivery import LoopDelivery, ThreadDelivery
from midwatch.policy import defaults


def test_in_order_and_all_of_it() -> None:
    """What fits is delivered in order, the rest before `finish` returns."""
    got: list[int] = []
    delivery = ThreadDelivery()
    for number in range(500):
        delivery.put(got.append, number)
    delivery.finish()
    assert got == list(range(500))


def test_a_full_queue_drops_counts_and_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten fit; the rest is counted, and told where it is missing; what has to be kept is kept."""
    monkeypatch.setattr(defaults, "EVENT_QUEUE", 10)
    gate, got = threading.Event(), list[Any]()

    def slow(event: Any) -> None:
        gate.wait(30)
        got.append(event)

    delivery = ThreadDelivery()
    delivery.put(slow, "first")
    while delivery._items:  # the thread has taken it and waits inside
        threading.Event().wait(0.001)
    for number in range(25):
        delivery.put(slow, number)
    delivery.put(slow, "exhausted", keep=True)
    gate.set()
    delivery.finish()
    told = {"event": "events.dropped", "count": 15}
    assert got == ["first", *range(10), told, "exhausted"]


def test_the_last_drops_are_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when nothing comes after them."""
    monkeypatch.setattr(defaults, "EVENT_QUEUE", 0)
    got: list[Any] = []
    delivery = ThreadDelivery()
    delivery.put(got.append, "lost")
    delivery.finish()
    assert got == [{"event": "events.dropped", "count": 1}]


def test_a_broken_callback_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """G11: each callback's first exception, with its name; SystemExit of a callback is one of them."""
    delivery = ThreadDelivery()
    for _ in range(3):
        delivery.put(int, "x")
    delivery.put(sys.exit, 3)
    delivery.finish()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "int raised ValueError" in said[0]
    assert "SystemExit" in said[1]


def test_one_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of supervision does not wait for somebody else's deadlock."""
    monkeypatch.setattr(defaults, "EVENT_PATIENCE", 0.01)
    gate = threading.Event()
    delivery = ThreadDelivery()
    delivery.put(gate.wait, 30)
    delivery.finish()
    assert delivery._thread.is_alive()
    gate.set()
    delivery._thread.join(30)


def test_the_loops_delivery_awaits_coroutines() -> None:
    """In an async host plain and coroutine functions are called in its loop, one after another."""
    got: list[str] = []

    async def slow(word: str) -> None:
        await asyncio.sleep(0)
        got.append(word)

    async def main() -> None:
        delivery = LoopDelivery(asyncio.get_running_loop())
        delivery.put(slow, "a")
        delivery.put(got.append, "b")
        delivery.put(slow, "c")
        await delivery.finish()

    asyncio.run(main())
    assert got == ["a", "b", "c"]
