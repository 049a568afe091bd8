"""Idle CPU: on-CPU time of the supervisor's own processes in one window, with idle services.

All peers idle side by side through the same window. The time is the scheduler's (ns, all threads, ended
ones too), plus what reaped helper processes used.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench.context import Context
from bench.model import Failed, Result
from bench.session import Session

SETTLE_S = 10.0  # after the last start: batches, first health rounds, garbage collections


def measure(context: Context) -> list[Result]:
    """One window for each size."""
    results = {
        (peer.name, variant.name): Result("cpu", peer.name, variant.name)
        for peer, variant in context.entrants("cpu")
    }
    for size in context.effort.cpu_sizes:
        _window(context, size, results)
    return list(results.values()) + context.absentees("cpu")


def _window(context: Context, size: int, results: dict[tuple[str, str], Result]) -> None:
    window = context.effort.cpu_window_s
    with ExitStack() as stack:
        running: list[tuple[Session, Result]] = []
        for peer, variant in context.entrants("cpu"):
            result = results[peer.name, variant.name]
            if size > peer.most:
                result.notes.append(f"{size} services not tried")
                continue
            context.say(f"cpu: starting {peer.name} ({variant.name}) with {size}")
            try:
                session = stack.enter_context(context.open(peer, variant, size))
                session.wait_started(size, context.patience(size))
                running.append((session, result))
            except (Failed, OSError) as error:
                result.failed = f"{size} services: {error}"
        time.sleep(SETTLE_S)
        context.say(f"cpu: {window:.0f} s with {size} services each")
        before = [(time.monotonic(), _reading(session, result)) for session, result in running]
        time.sleep(window)
        for (session, result), (then, old) in zip(running, before, strict=True):
            new = _reading(session, result)
            if result.failed is None:
                spent = sum(seconds - old.get(pid, 0.0) for pid, seconds in new.items())
                result.add(f"{size}.cpu_s_per_min", spent * 60 / (time.monotonic() - then))


def _reading(session: Session, result: Result) -> dict[int, float]:
    """On-CPU seconds by process; a peer that is gone has failed, and only this one."""
    try:
        return session.own_cpu()
    except Failed as error:
        result.failed = str(error)
        return {}
