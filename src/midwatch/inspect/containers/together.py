"""Does several blocking things at once and comes back in time, whatever they do.

What is not done by then is left behind in a daemon thread: a socket that hangs costs its deadline and nothing else,
also not at the end of the program (the standard library's pools wait there). Must not know what is done. Tests:
tests/inspect/containers/test_together.py.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Late(Exception):
    """It had given no answer by its time."""


class _Work(Generic[T]):
    def __init__(self, jobs: Sequence[Callable[[], T]]) -> None:
        self.waiting = deque(enumerate(jobs))
        self.done: dict[int, T | Exception] = {}
        self.change = threading.Condition()

    def worker(self) -> None:
        while True:
            with self.change:
                if not self.waiting:
                    return
                number, job = self.waiting.popleft()
            try:
                result: T | Exception = job()
            except Exception as error:  # noqa: BLE001 - it is the caller's to tell which ones it knows
                result = error
            with self.change:
                self.done[number] = result
                self.change.notify()


def together(jobs: Sequence[Callable[[], T]], seconds: float, cap: int = 8) -> list[T | Exception]:
    """Each job's result or exception, `Late` for those without one after `seconds`; in the order of `jobs`."""
    work = _Work(jobs)
    until = time.monotonic() + max(0.0, seconds)
    for number in range(min(cap, len(jobs))):
        threading.Thread(target=work.worker, name=f"containers-{number}", daemon=True).start()
    with work.change:
        while len(work.done) < len(jobs) and (left := until - time.monotonic()) > 0:
            work.change.wait(left)
        work.waiting.clear()
        return [work.done.get(number, Late()) for number in range(len(jobs))]


def within(job: Callable[[], T], seconds: float) -> T:
    """One result. Raises what the job raised, or Late."""
    (result,) = together([job], seconds)
    if isinstance(result, Exception):
        raise result
    return result
