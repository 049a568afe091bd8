"""Looks at the memory of every run, each by its own pace, and hands what the guards propose to the policy.

One timer. A pass reads the runs that are due: in the loop while that is quick, else in a worker thread, so that nothing
waits for it. Between passes one number of the machine, its available memory, is looked at as often as the nearest line
demands: when it has fallen at once, everything is read at once. So a run may explode at any moment without being read
ten times a second for it. Numbers that have become old are read again before anything is done with them. Must not judge
a number (policy/guard) nor end anything. Tests: tests/engine/test_guard.py, tests/system/test_guard.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from midwatch.engine.guard.budget import Budget
from midwatch.engine.guard.drain import Drains
from midwatch.engine.guard.fdpace import FdPace
from midwatch.engine.guard.host import HostGuard
from midwatch.engine.guard.kept import Kept
from midwatch.engine.guard.leaks import Leaks
from midwatch.engine.guard.wal import WalWatch
from midwatch.engine.guard.watch import Watch
from midwatch.model.action import Capture
from midwatch.model.event import Eased, Tripped
from midwatch.model.sample import Reading, TreeSample
from midwatch.policy import defaults
from midwatch.policy.guard import Confirm, Evidence
from midwatch.policy.guard.memory import Around, MemoryState, judge
from midwatch.record import series
from midwatch.record.series import Row, Series

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.run import Run
    from midwatch.model.identity import Now

Pass = list[tuple[Watch, TreeSample | Exception | None]]
_SLACK = 0.02  # s: who is due so soon comes along


class Sampler:
    """One per engine; nothing happens before `start`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.watches: dict[str, Watch] = {}  # by service id
        self.budget = Budget(engine)
        self.drains = Drains(engine)
        self.host = HostGuard(engine, self)
        self.leaks = Leaks(engine, self)
        self.kept = Kept(engine, self)
        self.wal = WalWatch(engine)
        self.fds = FdPace(engine, self)
        self.series = Series(engine.layout.home / "series", engine.complain)
        self.late = 0.0  # seconds by which the last pass was late
        self.cost = 0.0  # seconds that reading one run takes
        self.passes = 0
        self.period = defaults.PACE_MOST
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._reading = False
        self._running = False
        self._dirty = True
        self._closing: list[Watch] = []

    # -- who is looked at --------------------------------------------------------------------------------------

    def start(self) -> None:
        """From now on, with what an earlier engine knew."""
        self._running = True
        self.budget.look(self._engine.machine.now().awake)
        self.kept.load()
        self.host.start()
        self._engine.on_change.append(self.observe)
        self._engine.pulse.gaps.append(self.after_gap)
        self._engine.captures.samples = self.samples
        self._wake(0.0)

    def observe(self, service: Service) -> None:
        """Its run may be another, its rules too: seen to at the next pass, which comes soon when it has a new run."""
        self._dirty = True
        self.budget.stale()
        if not self._running:
            return
        run, watch = service.run, self.watches.get(service.spec.id)
        if run is not None and run.tree is not None and (watch is None or watch.run is not run):
            self._wake(defaults.PACE_LEAST)

    def forget(self, name: str) -> None:
        """The service is gone."""
        self._dirty = True
        self.budget.stale()
        self._drop(name)
        self.series.forget(name)
        self.leaks.forget(name)
        self.wal.forget(name)

    def _sync(self) -> None:
        """One meter for each living run, none for any other."""
        self._dirty = False
        services = self._engine.services
        for name in [name for name in self.watches if name not in services]:
            self._drop(name)
        for name, service in services.items():
            run, watch = service.run, self.watches.get(name)
            alive = run is not None and run.tree is not None and run.released and not run.exited
            if watch is not None and (not alive or watch.run is not run or watch.tree is not run.tree):
                self._drop(name)
                watch = None
            if not alive or run is None or run.tree is None:
                continue
            if watch is None:
                try:
                    meter = self._engine.machine.meter(run.tree)
                except Exception as error:  # noqa: BLE001
                    self._engine.faults.caught("memory guard", error, name, run.id)
                    self._dirty = True
                    continue
                watch = self.watches[name] = Watch(service, run, run.tree, meter, self.kept.memory(run.id))
            watch.lines = self.budget.of(service)
            watch.kernel = run.containment.memory is not None and run.launch.memory_hard is not None
        self.fds.sync()

    def _drop(self, name: str) -> None:
        watch = self.watches.pop(name, None)
        if watch is None:
            return
        self.drains.over(watch.run.id)
        self.kept.forget(watch.run.id)
        if self._reading:
            self._closing.append(watch)  # the thread may just be reading it
        else:
            watch.meter.close()

    # -- when --------------------------------------------------------------------------------------------------

    def _wake(self, seconds: float) -> None:
        """A pass in so many seconds, unless one comes sooner."""
        due = self._engine.machine.now().awake + seconds
        if self._reading or (self._timer is not None and self._due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    def hurry(self) -> None:
        """Something has happened to the machine: read everything now."""
        for watch in self.watches.values():
            watch.due = 0.0
        if self._running:
            self._wake(0.0)

    def _tick(self) -> None:
        self._timer = None
        try:
            self._pass()
        except Exception as error:  # noqa: BLE001  a bug of ours: nobody is judged by this pass, the next one comes (G11)
            self._engine.faults.caught("sampler", error)
            self._dirty = True
            self._wake(defaults.PACE_MOST)

    def _pass(self) -> None:
        engine = self._engine
        now = engine.machine.now().awake
        self.late = max(0.0, now - self._due)
        engine.pulse.look()  # slopes over a time in which nobody was awake mean nothing
        self.passes += 1
        self.budget.look(now)
        if self._dirty:
            self._sync()
        due = list(self.watches.values())
        if not self.host.look():
            first = min((watch.due for watch in due), default=0.0)
            # Who is due within half of his period comes along: in the end all calm ones are read in one pass.
            due = [watch for watch in due if watch.due <= now + watch.period / 2] if first <= now + _SLACK else []
        if len(due) * self.cost <= defaults.SAMPLE_IN_LOOP:
            self._looked(self._read(due))
            return
        self._reading = True
        future = asyncio.get_running_loop().run_in_executor(None, self._read, due)
        future.add_done_callback(self._arrived)

    def _read(self, watches: list[Watch]) -> Pass:
        """In the loop or in a thread: nothing but reading."""
        start = perf_counter()
        at = self._engine.machine.now().awake
        found: Pass = [(watch, _tried(watch, at)) for watch in watches]
        if found:
            cost = (perf_counter() - start) / len(found)
            self.cost = cost if not self.cost else 0.8 * self.cost + 0.2 * cost
        return found

    def _arrived(self, done: asyncio.Future[Pass]) -> None:
        self._reading = False
        for watch in self._closing:
            watch.meter.close()
        self._closing.clear()
        error = done.exception()
        if error is not None:
            self._engine.faults.caught("sampler", error)
        self._looked([] if error is not None else done.result())

    def _looked(self, found: Pass) -> None:
        now, caught = self._engine.machine.now(), self._engine.faults.caught
        for watch, sample in found:
            if self.watches.get(watch.service.spec.id) is not watch:
                continue
            try:
                if isinstance(sample, TreeSample) and now.awake - sample.at <= watch.period and watch.still(sample):
                    continue  # most services, most of the time
                watch.due = now.awake + watch.period
                self._one(watch, sample, now)
            except Exception as error:  # noqa: BLE001  one service's guard only watches; the others' go on (G11)
                caught("memory guard", error, watch.service.spec.id, watch.run.id)
                watch.state, watch.last = MemoryState(), None  # what it remembers may be what is wrong
        for part, work in (("host guard", self.host.judge), ("series", self.series.seen), ("series", self.kept.save)):
            try:
                work()
            except Exception as error:  # noqa: BLE001
                caught(part, error)
        self._next()

    def _one(self, watch: Watch, sample: TreeSample | Exception | None, now: Now) -> None:
        if isinstance(sample, Exception):
            raise sample
        if sample is not None and now.awake - sample.at > watch.period:  # too old to act on
            sample = watch.read(now.awake)
        if sample is not None:
            self._take(watch, sample, now.wall - (now.awake - sample.at))

    def _next(self) -> None:
        now = self._engine.machine.now().awake
        due = min((watch.due for watch in self.watches.values()), default=now + defaults.PACE_MOST)
        self.period = max(min(due - now, self.host.period), defaults.SAMPLE_LEAST)
        self._wake(self.period)

    # -- what was seen -----------------------------------------------------------------------------------------

    def _take(self, watch: Watch, sample: TreeSample, wall: float) -> None:
        if watch.still(sample):  # it was read again
            return
        watch.take(sample)
        service = watch.service.spec.id
        if watch.news(sample):
            self.series.add(service, _row(watch, sample, wall))
        if watch.worth(sample):
            self._judge(watch, sample)
        watch.pace(self.cost * len(self.watches))
        if sample.at >= watch.detail_at:
            crowded = 2 * (sample.fds or 0) > (sample.fd_limit or 1 << 62)
            watch.detail_at = sample.at + (1 if crowded else 3) * defaults.SAMPLE_DETAIL
            self._slowly("leak watch", watch, lambda: self.leaks.take(watch, sample))
            self._slowly("wal watch", watch, lambda: self.wal.take(watch, sample.at))

    def _slowly(self, part: str, watch: Watch, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001
            self._engine.faults.caught(part, error, watch.service.spec.id, watch.run.id)

    def _judge(self, watch: Watch, sample: TreeSample) -> None:
        around = Around(watch.period, self.budget.error, watch.kernel, self.host.polite, watch.walks)
        watch.state, told = judge(watch.state, watch.run.id, sample, watch.lines, around)
        watch.judged(sample)
        for proposal in told:
            self.propose(watch, proposal)

    def propose(self, watch: Watch, proposal: Any) -> None:
        """Carry out what only we can do; everything else is for the policy."""
        if isinstance(proposal, Confirm):
            self._confirm(watch)
        elif isinstance(proposal, Evidence):
            self._evidence(watch, proposal)
        elif isinstance(proposal, Tripped | Eased):
            self.kept.changed = True
            self._engine.post(watch.service, proposal)

    def _confirm(self, watch: Watch) -> None:
        """A walk through its pages in a thread; at most 1 % of the time goes into it for each tree."""
        sample = watch.sample
        if sample is None or watch.walking or sample.at < watch.walk_at:
            return
        watch.walking = True
        start = perf_counter()
        work = self._engine.machine.confirm
        future = asyncio.get_running_loop().run_in_executor(None, work, watch.tree, defaults.WALK_MOST)
        future.add_done_callback(lambda done: self._confirmed(watch, sample, perf_counter() - start, done))

    def _confirmed(self, watch: Watch, sample: TreeSample, took: float, done: asyncio.Future[Reading]) -> None:
        watch.walking = False
        watch.walk_at = self._engine.machine.now().awake + took / defaults.WALK_SHARE
        if self.watches.get(watch.service.spec.id) is not watch:
            return
        if (error := done.exception()) is not None:
            self._engine.faults.caught("memory guard", error, watch.service.spec.id, watch.run.id)
            return
        reading = done.result()
        if reading.value is None:
            watch.walks = False
            words = f"what {watch.run.id} holds cannot be confirmed: {reading.why}; its sum counts shared pages twice"
            self._engine.write("limit.warning", service=watch.run.service, run=watch.run.id, fields={"message": words})
            return
        fields = {
            "run_id": watch.run.id, "held_bytes": sample.held.value, "pss_bytes": reading.value,
            "members": sample.members, "ms": round(took * 1000, 1),
        }  # fmt: skip
        self._engine.write("guard.confirmed", service=watch.run.service, run=watch.run.id, fields=fields)
        self._judge(watch, msgspec.structs.replace(sample, pss=reading.value))

    def _evidence(self, watch: Watch, wanted: Evidence) -> None:
        """The policy did not ask for it, so nothing waits for it. Not while we come late ourselves, beyond reading."""
        if wanted.stage > 1 and (self.late > 2 * defaults.PACE_MOST or self.host.critical):
            return
        fields = {"run_id": watch.run.id, "stage": wanted.stage, "detail": wanted.why}
        self._engine.write("guard.growing", service=watch.run.service, run=watch.run.id, fields=fields)
        self._engine.captures.take(watch.service, Capture(run=watch.run.id, reason="growing", stage=wanted.stage))

    # -- for others --------------------------------------------------------------------------------------------

    def samples(self, run_id: str) -> list[Any]:
        """The newest samples of a run, newest last, for its evidence."""
        run = self._engine.runs.get(run_id)
        number = _number(run_id)
        rows = series.read(self.series.folder, run.service)[0] if run is not None else []
        return [series.shown(row) for row in rows if row.run == number]

    def sample(self, run: Run) -> TreeSample | None:
        """The last look at a run, unless it is old."""
        watch = self.watches.get(run.service)
        found = watch.sample if watch is not None and watch.run is run else None
        fresh = found is not None and self._engine.machine.now().awake - found.at <= 2 * defaults.PACE_MOST
        return found if fresh else None

    def lines(self, service: Service) -> dict[str, Any]:
        """A service's lines for `ps`, and who holds the hard one: the kernel, or we by looking."""
        if not self.budget.basis:
            return {"warn_bytes": None, "soft_bytes": None, "hard_bytes": service.spec.launch.memory_hard, "by": None}
        lines, run = self.budget.of(service), service.run
        kernel = run is not None and run.containment.memory is not None and run.launch.memory_hard is not None
        by = None if lines.hard is None else "cgroup" if kernel else "polling"
        return {"warn_bytes": lines.warn, "soft_bytes": lines.soft, "hard_bytes": lines.hard, "by": by}

    def state(self) -> dict[str, Any]:
        """The guard itself for `ps`."""
        budget, host = self.budget, self.host
        return {
            "level": host.state.level, "period_s": round(self.period, 3), "late_s": round(self.late, 3),
            "read_us": round(self.cost * 1e6, 1), "held_bytes": host.held, "budget_bytes": budget.whole,
            "reserve_bytes": budget.reserve, "basis_bytes": budget.basis, "basis": budget.source,
            "available_bytes": host.sample.available_bytes if host.sample is not None else None,
        }  # fmt: skip

    def after_gap(self) -> None:
        """Nobody was awake: slopes and lateness of that time are nobody's."""
        self.late = 0.0
        for watch in self.watches.values():
            watch.after_gap()
        self.host.after_gap()
        self.leaks.after_gap()

    def close(self) -> None:
        """The engine ends; its successor goes on with what was known."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.kept.changed = True
        self.kept.save()
        self.host.close()
        self.fds.close()
        for name in list(self.watches):
            self._drop(name)
        self.series.close()


def _tried(watch: Watch, at: float) -> TreeSample | Exception | None:
    try:
        return watch.read(at)
    except Exception as error:  # noqa: BLE001  said by who judges
        return error


def _number(run_id: str) -> int:
    tail = run_id.rpartition(".")[2]
    return int(tail) if tail.isdigit() else 0


def _row(watch: Watch, sample: TreeSample, wall: float) -> Row:
    held = sample.held
    return Row(
        at=wall, held=held.value, quality=held.quality, run=watch.number, cgroup=sample.cgroup_bytes,
        swap=sample.swap_bytes, read=sample.read_bytes, written=sample.written_bytes,
        cpu_ms=None if sample.cpu_s is None else int(sample.cpu_s * 1000),
        fds=sample.fds, fd_limit=sample.fd_limit, members=sample.members, threads=sample.threads,
    )  # fmt: skip
