"""Feeds the leak watch of every run: floors of memory and of descriptors, and a look at the descriptors themselves.

Counts come with the samples, every five seconds; the descriptors are looked through by kind in a thread, on a new
record or every five minutes. What is found is said once, and once more when it is over. Must not judge (policy/leaks).
Tests: tests/engine/test_guard_leaks.py.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from midwatch.engine.guard.known import LOAD, SHAPE, Known, by_kind, louder, record, tier_of, units
from midwatch.model.event import Eased, Tripped
from midwatch.model.finding import FdSnapshot, Finding, Sign, Silence, Tier
from midwatch.model.sample import TreeSample
from midwatch.model.units import format_seconds
from midwatch.policy import defaults
from midwatch.policy.leaks import signs
from midwatch.policy.leaks.detector import detectable, judge
from midwatch.policy.leaks.floors import Series, annotate, fold, skip

if TYPE_CHECKING:
    from midwatch.engine.core import Engine
    from midwatch.engine.guard.sampler import Sampler
    from midwatch.engine.guard.watch import Watch


class Leaks:
    """One per engine."""

    def __init__(self, engine: Engine, sampler: Sampler) -> None:
        self._engine = engine
        self._sampler = sampler
        self._known: dict[str, Known] = {}
        self._queue: deque[tuple[Watch, Known]] = deque()  # at most two for each service
        self._busy = False

    def take(self, watch: Watch, sample: TreeSample) -> None:
        """A sample of a run."""
        known = self._known.get(watch.service.spec.id) or self._known.setdefault(watch.service.spec.id, Known())
        if known.life != watch.run.id:
            known.begin(watch.run.id)
        lines = watch.lines
        limit = lines.hard or lines.soft or lines.warn
        held = watch.value if sample.held.value is not None else None
        for tier in (defaults.LEAK_SLOW, defaults.LEAK_FAST):
            self._fold(watch, known, f"memory, {tier.name}", "memory", tier, sample.at, held, limit)
        if sample.fds is not None:
            self._count(watch, known, sample)

    def _fold(
        self, watch: Watch, known: Known, key: str, kind: str, tier: Tier, at: float, value: float | None,
        limit: float | None,
    ) -> None:  # fmt: skip
        series = known.series.get(key)
        if series is None:
            series = known.series[key] = Series(kind)
        known.limits[key] = limit
        load = self._load(watch, known, key, tier, at)
        if fold(series, tier, watch.run.id, at, value):
            self._answer(watch, known, key, judge(tier, series, limit, load), limit)

    def _load(self, watch: Watch, known: Known, key: str, tier: Tier, at: float) -> Series | None:
        """Floors of the units under way, folded alongside; None: its probes do not tell."""
        rules = watch.service.spec.rules
        if rules.health is None and rules.deep is None:
            return None  # most services: asked for each number of each of them
        if not any(probe is not None and probe.json_active is not None for probe in (rules.health, rules.deep)):
            known.series.pop(LOAD + key, None)
            return None
        load = known.series.get(LOAD + key)
        if load is None:
            load = known.series[LOAD + key] = Series("load")
        fold(load, tier, watch.run.id, at, watch.run.active)
        return load

    def _answer(self, watch: Watch, known: Known, key: str, new: Finding | Silence, limit: float | None) -> None:
        """Say a finding once, louder when it has become worse, and its end."""
        old = known.answers.get(key)
        known.answers[key] = new
        engine, run = self._engine, watch.run.id
        if isinstance(new, Finding):
            if isinstance(old, Finding) and signs.LEVELS.index(old.level) <= signs.LEVELS.index(new.level):
                return
            told = {"kind": key, "level": new.level, "words": new.words, "rate": round(new.rate, 3), "ttl_s": new.ttl}
            spans = {"low": round(new.low, 3), "high": round(new.high, 3), "reasons": list(new.reasons)}
            engine.write("leak.found", service=watch.run.service, run=run, fields={"run_id": run, **told, **spans})
            if new.level != "note":
                known.said.add(key)
                trip = Tripped(run, "leak", "warn", int(new.now), int(limit or 0), "approximate", new.words)
                engine.post(watch.service, trip)
        elif isinstance(old, Finding):
            fields = {"run_id": run, "kind": key, "words": new.words}
            engine.write("leak.over", service=watch.run.service, run=run, fields=fields)
            known.said.discard(key)
            if not known.said:
                engine.post(watch.service, Eased(run, "leak"))

    # -- descriptors -------------------------------------------------------------------------------------------

    def _count(self, watch: Watch, known: Known, sample: TreeSample) -> None:
        count, at = sample.fds or 0, sample.at
        known.totals.append(count)
        del known.totals[:-SHAPE]
        known.counted_at = at
        state = watch.service.state
        if state.phase == "up":
            if known.up_since is None:
                known.up_since = at
            age = at - known.up_since
            if age <= defaults.FD_BASE[1] and (not known.base or age - known.base[-1][0] >= defaults.SAMPLE_DETAIL):
                known.base.append((age, max(0, count - round(units(watch)[1]))))
        self._fold(watch, known, "total", "descriptors", signs.tier_of("total"), at, count, sample.fd_limit)
        self._room(watch, known, sample)
        since = at - known.looked_at
        new_record = count > known.record and since >= defaults.FD_LOOK_LEAST
        known.record = max(known.record, count)
        if known.looking or not (new_record or since >= defaults.FD_LOOK_EVERY):
            return
        old = known.snapshot
        if old is not None and count == known.looked and not old.half_closed and at - old.at < defaults.FD_LOOK_TRUE:
            known.looked_at = at  # as many as then: the same ones, as far as floors are concerned
            self._kinds(watch, known, old.kinds(), at)
        else:
            self._look(watch, known, at)

    def _room(self, watch: Watch, known: Known, sample: TreeSample) -> None:
        """S6: how near the limit is."""
        rules, limit = watch.service.spec.rules.fds, sample.fd_limit
        if not known.room and limit is not None and 2 * known.totals[-1] < limit and rules is None:
            return
        shares = (rules.warn, rules.act) if rules is not None else None
        totals = list(known.totals)[-defaults.FD_ROOM_LOOKS :]
        sign = signs.headroom(totals, limit, *((shares,) if shares else ()))
        level = "" if sign is None else "hard" if sign.level == "act" else "warn"
        again = level == "hard" == known.room and rules is not None and sample.at >= known.again_at
        if (level == known.room and not again) or (level == "warn" and known.room == "hard"):
            return
        if known.urgent and level != "hard" and sample.at < known.again_at:
            return  # this number may be from before the count that was in a hurry
        known.room = level
        run = watch.run.id
        if sign is None or limit is None:
            self._engine.post(watch.service, Eased(run, "fds"))
            return
        share = (shares or defaults.FD_ROOM)[level == "hard"]
        severity: Literal["warn", "hard"] = "hard" if level == "hard" else "warn"
        trip = Tripped(run, "fds", severity, totals[-1], int(share * limit), words=sign.words)
        if level == "warn":
            self._engine.post(watch.service, trip)
        else:
            self._act(watch, known, trip, sample.at)

    def _act(self, watch: Watch, known: Known, trip: Tripped, at: float) -> None:
        """FDW-10: what was open is on record before anything is done about it."""
        known.room, known.again_at, known.urgent = "hard", at + defaults.FD_AGAIN, False
        known.trip = trip
        self._look(watch, known, at, urgent=True)

    def urgent(self, watch: Watch, count: int, soft: int, slope: float) -> None:
        """It fills up faster than regular counts are taken."""
        known, at = self._known.get(watch.service.spec.id), self._engine.machine.now().awake
        rules = watch.service.spec.rules.fds
        if known is None or known.life != watch.run.id or rules is None or at < known.again_at:
            return
        words = f"{count} of {soft} descriptors ({count / soft:.0%}) and {slope:.0f} more each second: full in "
        words += format_seconds(round((soft - count) / slope, 1))
        trip = Tripped(watch.run.id, "fds", "hard", count, int(rules.act * soft), words=words)
        self._act(watch, known, trip, at)
        known.urgent = True

    def _look(self, watch: Watch, known: Known, at: float, *, urgent: bool = False) -> None:
        """Look through them, in a thread; one service after the other, because kills and starts need threads, too."""
        known.looked_at = at
        if urgent or not known.looking:
            known.looking = True
            (self._queue.appendleft if urgent else self._queue.append)((watch, known))
        if not self._busy:
            self._next()

    def _next(self) -> None:
        self._busy = bool(self._queue)
        if not self._queue:
            return
        watch, known = self._queue.popleft()
        future = asyncio.get_running_loop().run_in_executor(None, self._engine.machine.fd_snapshot, watch.tree)
        future.add_done_callback(lambda done: self._looked(watch, known, done))

    def _looked(self, watch: Watch, known: Known, done: asyncio.Future[FdSnapshot | None]) -> None:
        self._engine.later(defaults.FD_LOOK_PAUSE, self._next)
        known.looking = False
        error = done.exception()
        snapshot = done.result() if error is None else None
        trip, known.trip = known.trip, None
        if known.life != watch.run.id:
            return
        recorded = False
        try:
            if error is not None and not isinstance(error, OSError):
                raise error
            if snapshot is not None:
                recorded = self._seen(watch, known, snapshot)
        except Exception as fault:  # noqa: BLE001  a bug of ours in a rule: what is known already is still acted upon (G11)
            self._engine.faults.caught("leak watch", fault, watch.run.service, watch.run.id)
        if trip is not None and trip.run == watch.run.id:
            if not recorded:
                self._record(watch, known)
            self._engine.post(watch.service, trip)

    def _record(self, watch: Watch, known: Known) -> None:
        fields = record(watch, known, self._engine)
        self._engine.write("fds.record", service=watch.run.service, run=watch.run.id, fields=fields)

    def _kinds(self, watch: Watch, known: Known, kinds: dict[str, int], at: float) -> None:
        limit = watch.sample.fd_limit if watch.sample is not None else None
        for kind in {*kinds, *by_kind(known)}:
            tier = signs.tier_of(kind)
            self._fold(watch, known, kind, kind, tier, at, kinds.get(kind, 0), limit)

    def _seen(self, watch: Watch, known: Known, snapshot: FdSnapshot) -> bool:
        """What it means; was the record of it written?"""
        known.seen_at = self._engine.machine.now().awake
        known.snapshot, known.looked = snapshot, known.totals[-1] if known.totals else 0
        known.half = signs.half_closed_since(known.half, snapshot)
        limit = watch.sample.fd_limit if watch.sample is not None else None
        self._kinds(watch, known, snapshot.kinds(), snapshot.at)
        rules = watch.service.spec.rules.fds
        pools = rules.pools if rules is not None else {}
        growing = [key for key, answer in known.answers.items() if isinstance(answer, Finding)]
        found = signs.signs(snapshot, known.half, pools or None, growing)
        if (low := signs.low_limit(limit)) is not None:
            found.append(low)
        ground = signs.base(known.base)
        active, each = watch.run.active, rules.per_unit if rules is not None else None
        parts = {"under way": (active, each)} if each and active is not None else None
        if ground is not None and known.totals and (over := signs.ratio(known.totals[-1], ground, parts)) is not None:
            found.append(over)
        return self._signs(watch, known, found)

    def _signs(self, watch: Watch, known: Known, found: list[Sign]) -> bool:
        """New ones are said, with the record of what was open (FDW-9)."""
        new = {(sign.rule, sign.subject): sign for sign in found}
        engine, run = self._engine, watch.run.id
        fresh = [sign for key, sign in new.items() if louder(sign, known.signs.get(key))]
        known.signs = new
        for sign in fresh:
            fields = {"rule": sign.rule, "level": sign.level, "subject": sign.subject, "words": sign.words}
            engine.write("fds.sign", service=watch.run.service, run=run, fields={"run_id": run, **fields})
        told = any(sign.level != "note" for sign in fresh)
        if told:
            self._record(watch, known)
        return told

    # -- for others --------------------------------------------------------------------------------------------

    def report(self, watch: Watch) -> dict[str, Any]:
        """Everything `leaks NAME` shows."""
        known = self._known.get(watch.service.spec.id) or Known()
        rows = []
        for key, series in known.series.items():
            if key.startswith(LOAD):
                continue
            tier = tier_of(key)
            load = known.series.get(LOAD + key)
            answer = known.answers.get(key) or judge(tier, series, known.limits.get(key), load)
            least = detectable(tier, series)
            rows.append({
                "kind": key, "unit": tier.unit, "bucket_s": tier.bucket, "floors": len(series.floors),
                "detectable_per_hour": None if least is None else round(least * 3600, 1),
                "limit": known.limits.get(key), "finding" if isinstance(answer, Finding) else "silence":
                msgspec.to_builtins(answer),
            })  # fmt: skip
        now = self._engine.machine.now().awake
        ages: dict[str, Any] = {
            "counted_s": round(now - known.counted_at, 1) if known.totals else None,
            "looked_s": round(now - known.seen_at, 1) if known.snapshot is not None else None,
        }
        count, soft = self._engine.machine.open_fds(watch.tree.main.pid)
        if count is not None:
            ages |= {"total": count, "soft": soft, "counted_s": 0.0}
        return {"kinds": rows, "signs": [msgspec.to_builtins(sign) for sign in known.signs.values()],
                "fds": {**record(watch, known, self._engine), **ages}}  # fmt: skip

    def stale(self, watch: Watch) -> bool:
        """Was the last look through its descriptors longer ago than a moment?"""
        known = self._known.get(watch.service.spec.id)
        now = self._engine.machine.now().awake
        return known is not None and known.life == watch.run.id and now - known.seen_at >= defaults.FD_COUNT[1]

    def looked(self, watch: Watch, snapshot: FdSnapshot | None) -> None:
        """Somebody asked: a look out of turn."""
        known = self._known.get(watch.service.spec.id)
        if snapshot is not None and known is not None and known.life == watch.run.id:
            self._seen(watch, known, snapshot)

    def totals(self, service: str) -> list[float]:
        """Its counts of descriptors of the last ten minutes."""
        known = self._known.get(service)
        return [float(count) for count in known.totals] if known is not None else []

    def annotate(self, service: str, words: str) -> None:
        """A change that explains what follows."""
        known = self._known.get(service)
        now = self._engine.machine.now().awake
        for series in known.series.values() if known is not None else ():
            annotate(series, now, words)

    def after_gap(self) -> None:
        """The open buckets have a hole."""
        for known in self._known.values():
            for series in known.series.values():
                skip(series)

    def forget(self, service: str) -> None:
        """The service is gone."""
        self._known.pop(service, None)

    def kept(self) -> dict[str, dict[str, Series]]:
        """What a successor needs."""
        return {name: known.series for name, known in self._known.items()}

    def restore(self, series: dict[str, dict[str, Series]]) -> None:
        """What an earlier engine had."""
        for name, kinds in series.items():
            known = self._known[name] = Known()
            known.series = kinds
            known.life = next((one.life for one in kinds.values()), "")
