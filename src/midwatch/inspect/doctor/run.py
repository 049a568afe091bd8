"""Runs checks side by side and always comes back in time (GEN-3): eight at once, ten seconds each, thirty in all.

A check that hangs cannot be ended, only left behind: its thread is a daemon thread, its place is given to the next, and
what it had said so far is kept beside a skip that names the time. An exception is a skip that says so. Must not know
any check. Tests: tests/inspect/doctor/test_core.py.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.model.look import Checked
from midwatch.policy import defaults_inspect as figures

Told = Callable[[int, int, tuple[str, ...]], None]


class _Job:
    """One check and what it has said so far. Written by its thread, read by the caller under the lock."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.results: list[Checked] = []
        self.began: float | None = None
        self.ended = False
        self.left = False  # nobody listens any more


class _Runner:
    def __init__(self, ctx: Context, checks: Sequence[Check]) -> None:
        self.ctx = ctx
        self.jobs = [_Job(check) for check in checks]
        self.waiting = deque(self.jobs)
        self.change = threading.Condition()

    def worker(self) -> None:
        while True:
            with self.change:
                if not self.waiting:
                    return
                job = self.waiting.popleft()
                job.began = time.monotonic()
            self._one(job)
            with self.change:
                job.ended = True
                self.change.notify()
                if job.left:
                    return  # its place has been given away

    def _one(self, job: _Job) -> None:
        try:
            for result in job.check.run(self.ctx):
                with self.change:
                    if job.left:
                        return
                    job.results.append(result)
        except Missing as missing:
            self._add(job, job.check.say("skip", missing.why, hint=missing.how))
        except Exception as error:  # noqa: BLE001 - one check must not be the end of doctor
            words = f"the check itself failed: {type(error).__name__}: {str(error)[:200]}"
            hint = f"midwatch doctor --category {job.check.category} --json, and report it"
            self._add(job, job.check.say("skip", words, hint=hint))

    def _add(self, job: _Job, result: Checked) -> None:
        with self.change:
            job.results.append(result)

    def start(self, count: int) -> None:
        for number in range(count):
            threading.Thread(target=self.worker, name=f"doctor-{number}", daemon=True).start()

    def wait(self, each: float, total: float, told: Told | None) -> None:
        """Until all have ended or were left behind."""
        until = time.monotonic() + total
        while True:
            with self.change:
                now = time.monotonic()
                running = [
                    job for job in self.jobs if job.began is not None and not job.ended and not job.left
                ]
                late = [job for job in running if now >= min(until, (job.began or now) + each)]
                for job in late:
                    job.left = True
                done = sum(job.ended or job.left for job in self.jobs)
                names = tuple(job.check.title for job in running if not job.left)
                if now >= until or done == len(self.jobs):
                    self.waiting.clear()
                    return
                next_look = min([until] + [(job.began or now) + each for job in running if not job.left])
                lost = len(late)
                if not lost:
                    self.change.wait(min(max(0.0, next_look - now), 0.2 if told else 10.0))
            if lost:
                self.start(lost)
            if told is not None:
                told(done, len(self.jobs), names)


def run(
    ctx: Context,
    checks: Iterable[Check],
    *,
    cap: int = figures.DOCTOR_CAP,
    each: float = figures.DOCTOR_EACH,
    total: float = figures.DOCTOR_TOTAL,
    more: float = 0.0,
    told: Told | None = None,
) -> list[Checked]:
    """Every result of every check, in the order of `checks`. `more`: seconds that a longer look was given on top;
    `told`: how many are done, of how many, who runs.
    """
    each, total = each + max(0.0, more), total + max(0.0, more)
    platform = ctx.sources.platform
    fit = [check for check in checks if platform in check.platforms]
    runner = _Runner(ctx, fit)
    runner.start(min(cap, len(fit)))
    runner.wait(each, total, told)
    found = [result for job in runner.jobs for result in _of(job, each, total)]
    return [_marked(result, ctx.sources.recorded) for result in found]


def _of(job: _Job, each: float, total: float) -> list[Checked]:
    """What one said, and what is missing of it."""
    results = list(job.results)
    again = f"midwatch doctor --category {job.check.category}"
    if job.began is None:
        results.append(job.check.say("skip", f"timeout: not begun within {total:g} s", hint=again))
    elif not job.ended:
        what = "the rest gave no answer" if results else "no answer"
        results.append(job.check.say("skip", f"timeout: {what} within {each:g} s", hint=again))
    return results


def _marked(result: Checked, recorded: bool) -> Checked:
    return msgspec.structs.replace(result, source="file") if recorded else result
