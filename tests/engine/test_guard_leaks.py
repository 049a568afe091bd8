"""Slow growth on the fake machine: floors, findings, descriptors; what is said once, what acts only when asked to."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.engine.conftest import Stagehand, a_spec

from midwatch.engine.guard.sampler import Sampler
from midwatch.model.finding import FdSnapshot
from midwatch.model.service import FdRules, MemoryLines

MIB, GIB = 1 << 20, 1 << 30


def started(stage: Stagehand, **rules: Any) -> Sampler:
    stage.apply(a_spec(**rules))
    stage.do(stage.engine.guards.start)
    stage.pass_time(1)
    return stage.engine.guards


def feed(stage: Stagehand, guards: Sampler, hours: float, held: int, rate: float = 0.0, fds: float = 0.0) -> None:
    """Hours of samples, one a minute, without the loop: MiB and descriptors an hour on top of `held`."""
    process = stage.machine.procs[stage.pid()]
    first = process.fds or 0
    watch = guards.watches["p/a"]
    for minute in range(int(hours * 60)):
        stage.machine.advance(60.0)
        process.held_bytes = int(held + rate * MIB * minute / 60)
        process.fds = int(first + fds * minute / 60)
        sample = watch.meter.read(stage.machine.awake)
        watch.take(sample)
        stage.do(partial(guards.leaks.take, watch, sample))


def test_a_leak_is_found_told_once_and_over(bare: Stagehand) -> None:
    """Guards 8.4: 60 MB an hour under 1 GiB is found within hours; one line, one more when it stops."""
    guards = started(bare, memory=MemoryLines(hard=GIB))
    feed(bare, guards, 11, 200 * MIB, rate=60)
    found = bare.events("leak.found")
    assert {line["kind"] for line in found} <= {"memory, slow", "memory, fast"}
    assert len(found) <= 3, "once, and louder when it is worse"
    assert 50 * MIB <= found[0]["rate"] * 3600 <= 70 * MIB
    assert found[0]["reasons"] != []
    assert bare.events("run.exited") == [], "said, never acted upon"
    feed(bare, guards, 12, bare.machine.procs[bare.pid()].held_bytes)
    assert bare.events("leak.over") != []


def test_eight_flat_hours_are_silent(bare: Stagehand) -> None:
    """S48: flat is silent, and `leaks` can say why."""
    guards = started(bare, memory=MemoryLines(hard=GIB))
    feed(bare, guards, 10, 168 * MIB)
    assert bare.events("leak.found") == []
    rows = {row["kind"]: row for row in guards.leaks.report(guards.watches["p/a"])["kinds"]}
    assert rows["memory, slow"]["silence"]["words"] != ""
    assert rows["memory, slow"]["detectable_per_hour"] is not None


def test_near_its_descriptor_limit_it_is_said_and_restarted_only_on_demand(bare: Stagehand) -> None:
    """S6, FDW-10: a warning at 70 %; at 85 % a restart where `action = "restart"`, with the table on record before."""
    guards = started(bare, fds=FdRules(action="restart"))
    process = bare.machine.procs[bare.pid()]
    process.table = FdSnapshot(0.0, (("/srv/state.db", "sqlite-main", 40),))
    process.fds, process.fd_limit = 800, 1024
    bare.pass_time(30)
    assert [line["level"] for line in bare.events("guard.tripped")] == ["warn"]
    process.fds = 1000
    bare.pass_time(40)
    assert [line["level"] for line in bare.events("guard.tripped")] == ["warn", "hard"]
    (gone,) = bare.events("run.exited")
    assert gone["cause"] == "fd-guard"
    (record, *_) = bare.events("fds.record")
    assert record["by_kind"] == {"sqlite-main": 40}
    assert guards.watches["p/a"].run.id == "p.a.2"


def test_by_default_descriptors_are_only_spoken_of(bare: Stagehand) -> None:
    """FDW-10: the default action is to say it."""
    started(bare)
    process = bare.machine.procs[bare.pid()]
    process.fds, process.fd_limit = 1000, 1024
    bare.pass_time(60)
    assert bare.events("guard.tripped") != []
    assert bare.events("run.exited") == []


def test_the_same_file_many_times_is_seen_in_one_look(bare: Stagehand) -> None:
    """S1: 48 handles of one database after weeks of two a day; no slope would have shown it."""
    started(bare)
    process = bare.machine.procs[bare.pid()]
    process.table = FdSnapshot(0.0, (("/srv/state.db", "sqlite-main", 48), ("/srv/state.db-wal", "sqlite-wal", 46)))
    process.fds = 120
    bare.pass_time(400)
    (sign,) = bare.events("fds.sign")
    assert sign["rule"] == "S1"
    assert "state.db" in sign["words"]
    bare.pass_time(1000)
    assert len(bare.events("fds.sign")) == 1, "once"


def test_floors_survive_the_engine(bare: Stagehand) -> None:
    """Guards 8.4: a new engine goes on with the same floors; another run begins anew."""
    guards = started(bare, memory=MemoryLines(hard=GIB))
    feed(bare, guards, 5, 200 * MIB)
    before = len(guards.leaks._known["p/a"].series["memory, slow"].floors)
    assert before >= 14
    bare.do(lambda: guards.kept.save(whole=True))
    bare.engine_dies()
    guards = bare.boot().guards
    bare.do(guards.start)
    bare.pass_time(10)
    assert len(guards.leaks._known["p/a"].series["memory, slow"].floors) >= before
    bare.exits(code=1)
    bare.pass_time(30)
    assert guards.leaks._known["p/a"].series["memory, slow"].floors == []
