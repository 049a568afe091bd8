"""Several blocking things at once, and back in time whatever they do."""

from __future__ import annotations

import threading
import time

import pytest

from midwatch.inspect.containers.together import Late, together, within


def test_results_in_order_and_exceptions_in_their_place() -> None:
    """One that fails does not hide the others."""

    def fails() -> int:
        raise OSError("no")

    found = together([lambda: 1, fails, lambda: 3], 5.0)
    assert found[0] == 1
    assert isinstance(found[1], OSError)
    assert found[2] == 3
    assert together([], 1.0) == []


def test_what_hangs_is_left_behind() -> None:
    """The rest is told; more jobs than threads and all threads stuck: those that never began are late as well."""
    never = threading.Event()
    found = together([lambda: 7, *[never.wait] * 3, lambda: 8], 0.2, cap=2)
    never.set()
    assert found[0] == 7
    assert isinstance(found[1], Late)
    assert isinstance(found[4], Late)


def test_one_thing_within_its_time() -> None:
    """Its result, its exception, or Late."""
    never = threading.Event()
    assert within(lambda: 5, 5.0) == 5
    with pytest.raises(ZeroDivisionError):
        within(lambda: 1 // 0, 5.0)
    begin = time.monotonic()
    with pytest.raises(Late):
        within(never.wait, 0.1)
    never.set()
    assert time.monotonic() - begin < 5
