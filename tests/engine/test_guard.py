"""The sampler on the fake machine: what is read when, what is proposed to the policy, what survives an engine."""

from __future__ import annotations

import gc
import os
import signal
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from tests.engine.conftest import Stagehand, a_spec

from midwatch.engine.guard.watch import Watch
from midwatch.model.service import DrainRules, MemoryLines
from midwatch.record import series

MIB, GIB = 1 << 20, 1 << 30


def guarded(stage: Stagehand, **rules: Any) -> Stagehand:
    """Service a runs, and its guard."""
    stage.apply(a_spec(**rules))
    stage.do(stage.engine.guards.start)
    stage.pass_time(1)
    return stage


def grow(stage: Stagehand, size: int, name: str = "a") -> None:
    stage.machine.procs[stage.pid(name)].held_bytes = size


def test_it_is_read_and_kept(bare: Stagehand) -> None:
    """Every run is read at least every 2 s, and each sample is on disk when it is taken (S53)."""
    guarded(bare)
    for size in (50, 90, 130):
        grow(bare, size * MIB)
        bare.pass_time(2.1)
    rows, _ = series.read(bare.layout.home / "series", "p/a")
    assert [row.held for row in rows][-3:] == [50 * MIB, 90 * MIB, 130 * MIB]
    assert rows[-1].run == 1
    assert bare.machine.wall - rows[-1].at <= 2.1


def test_a_run_over_its_hard_line_is_ended_and_started_again(bare: Stagehand) -> None:
    """F16 and D5: the intent is written first, the cause is memory-guard, never the crash budget."""
    guarded(bare, memory=MemoryLines(hard=512 * MIB))
    pid = bare.pid()
    grow(bare, 600 * MIB)
    bare.pass_time(15)
    (tripped,) = bare.events("guard.tripped")
    assert tripped["level"] == "hard"
    assert tripped["held_bytes"] == 600 * MIB
    (gone,) = bare.events("run.exited")
    assert gone["cause"] == "memory-guard"
    assert bare.dead(pid)
    assert bare.phase() == "up"
    assert bare.service().state.crash_count == 0
    names = [line["event"] for line in bare.events("guard.tripped", "stop.begin", "run.exited")]
    assert names == ["guard.tripped", "stop.begin", "run.exited"]


def test_a_burst_to_sixty_per_cent_is_left_alone(bare: Stagehand) -> None:
    """Guards 13.3: a prediction captures, it never ends a run; evidence is there."""
    guarded(bare, memory=MemoryLines(hard=4 * GIB))
    for size in (0.5, 0.9, 1.4, 1.9, 2.4):
        grow(bare, int(size * GIB))
        bare.pass_time(0.5)
    bare.pass_time(60)
    assert bare.events("run.exited", "stop.begin") == []
    assert 2 in {line["stage"] for line in bare.events("guard.growing")}
    (captured, *_) = bare.events("evidence.captured")
    assert captured["reason"] == "growing"
    samples = Path(captured["path"]) / "samples.json"
    assert samples.exists(), "the ring goes into the evidence"


def test_a_forked_tree_is_confirmed_once_and_left_alone(bare: Stagehand) -> None:
    """Guards 13.2: five processes sharing 400 MB sum up to 2.5 GB, a walk finds 0.6 GB, the line is 1 GB."""
    guarded(bare, memory=MemoryLines(hard=GIB))
    main = bare.machine.procs[bare.pid()]
    for _ in range(4):
        bare.machine.fork(main.pid)
    for process in bare.machine.procs.values():
        if main.pid in (process.pid, process.ppid):
            process.held_bytes, process.shared_bytes = 500 * MIB, 480 * MIB
    bare.pass_time(30)
    confirmed = bare.events("guard.confirmed")
    assert len(confirmed) == 1
    assert confirmed[0]["held_bytes"] == 2500 * MIB
    assert confirmed[0]["pss_bytes"] == 580 * MIB
    assert bare.events("run.exited", "guard.tripped") == []


def test_the_soft_line_asks_to_drain_by_signal(bare: Stagehand) -> None:
    """F16: at its soft line it is asked to leave, and its successor is started by the drain budget."""
    guarded(
        bare, memory=MemoryLines(soft=200 * MIB, hard=512 * MIB), drain_code=12,
        drain=DrainRules(signal=int(signal.SIGUSR1), within=20.0),
    )  # fmt: skip
    process = bare.machine.procs[bare.pid()]
    process.leaves = {signal.SIGUSR1: (0.5, 12 << 8)}
    grow(bare, 250 * MIB)
    bare.pass_time(10)
    (gone,) = bare.events("run.exited")
    assert gone["cause"] == "drain"
    assert gone["code"] == 12
    bare.pass_time(40)
    assert bare.phase() == "up"


def test_no_number_is_never_zero_nor_a_reason(bare: Stagehand) -> None:
    """Absent is never 0: nothing happens, and the row says so."""
    guarded(bare, memory=MemoryLines(hard=100 * MIB))
    bare.machine.memory.readable = False
    grow(bare, GIB)
    bare.pass_time(30)
    assert bare.events("guard.tripped", "run.exited") == []
    rows, _ = series.read(bare.layout.home / "series", "p/a")
    assert rows[-1].held is None


def test_meters_follow_the_runs(bare: Stagehand) -> None:
    """A meter for each living run, none for any other; the file goes with the service."""
    guarded(bare)
    assert bare.machine.meters_open == 1
    for _ in range(3):
        bare.exits(code=1)
        bare.pass_time(10)
    assert bare.machine.meters_open == 1
    bare.ask("stop", "a")
    bare.pass_time(20)
    assert bare.machine.meters_open == 0
    bare.apply()
    bare.pass_time(5)
    assert not series.path_of(bare.layout.home / "series", "p/a").exists()


def test_a_new_engine_does_not_warn_again(bare: Stagehand) -> None:
    """S53, D3: what the guards remember survives the engine; an episode is told once."""
    guarded(bare, memory=MemoryLines(hard=1000 * MIB))
    for size in range(100, 900, 20):
        grow(bare, size * MIB)
        bare.pass_time(2)
    bare.pass_time(20)
    assert [line["level"] for line in bare.events("guard.tripped")] == ["warn"]
    bare.engine_dies()
    bare.boot()
    bare.do(bare.engine.guards.start)
    bare.pass_time(60)
    assert len(bare.events("guard.tripped")) == 1
    assert bare.engine.guards.watches["p/a"].state.arms["warn"].on
    grow(bare, 1001 * MIB)
    bare.pass_time(5)
    assert [line["level"] for line in bare.events("guard.tripped")] == ["warn", "hard"]


def test_after_a_sleep_nobody_is_blamed(bare: Stagehand) -> None:
    """Guards 13.11: eight hours of suspend are no slope, no late tick, no alarm."""
    guarded(bare, memory=MemoryLines(hard=GIB))
    bare.do(bare.engine.pulse.start)
    bare.pass_time(30)
    bare.machine.sleep(8 * 3600.0)
    grow(bare, 300 * MIB)
    bare.pass_time(30)
    assert bare.events("clock.gap") != []
    assert bare.events("guard.tripped", "guard.growing", "run.exited") == []
    assert bare.engine.guards.late < 1


def test_memory_that_goes_at_once_is_seen_between_the_passes(
    bare: Stagehand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F18: many calm services are read every 2 s; when the machine's memory falls, everything is read at once."""
    guarded(bare, memory=MemoryLines(hard=1000 * MIB))
    guards = bare.engine.guards
    monkeypatch.setattr(Watch, "pace", calmly)
    bare.pass_time(30.05)
    assert guards.period <= 1.0, "the machine itself is looked at more often"
    grow(bare, 700 * MIB)
    before = bare.machine.awake
    while guards.watches["p/a"].value < 700 * MIB:
        bare.pass_time(0.05)
    assert bare.machine.awake - before <= 1.1


def calmly(watch: Watch, cost: float) -> None:
    """As if there were so many that each is read every 2 s only."""
    assert watch.sample is not None
    watch.due = watch.sample.at + 2.0


def test_a_service_without_lines_costs_the_reading_only(bare: Stagehand) -> None:
    """Nothing is judged while it stands still far from every line."""
    guarded(bare)
    bare.pass_time(30)
    watch = bare.engine.guards.watches["p/a"]
    judged = watch.last
    bare.pass_time(6)
    assert watch.last is judged
    assert watch.sample is not judged


def in_use() -> int:
    """Bytes of Python's objects, or of the whole process where they are not traced."""
    gc.collect()
    if tracemalloc.is_tracing():
        return tracemalloc.get_traced_memory()[0]
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def test_a_million_looks_leave_nothing_behind(bare: Stagehand) -> None:
    """Guards 13.12: memory and descriptors stay flat. A million looks with MIDWATCH_LOOKS=1000000."""
    guarded(bare, memory=MemoryLines(hard=GIB))
    guards = bare.engine.guards

    watches, process = list(guards.watches.values()), bare.machine.procs[bare.pid()]

    def look(count: int) -> None:
        for number in range(count):
            bare.machine.awake += 2.0
            bare.machine.wall += 2.0
            process.held_bytes = (100 + number % 7 * 5) * MIB
            process.fds = 10 + number % 5
            guards._looked(guards._read(watches))

    looks = int(os.environ.get("MIDWATCH_LOOKS", "5000"))
    bare.do(lambda: look(20_000))  # the rings, the floors and the minutes are full
    if looks <= 10_000:
        tracemalloc.start()  # exact, and ten times slower
    before, fds = in_use(), len(os.listdir("/proc/self/fd"))
    bare.do(lambda: look(looks))
    grown = in_use() - before
    tracemalloc.stop()
    assert grown < MIB
    assert len(os.listdir("/proc/self/fd")) == fds


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), ProcessLookupError(3, "gone")])
def test_a_run_that_cannot_be_read_does_no_harm(bare: Stagehand, error: OSError) -> None:
    """A meter that fails costs its own sample."""
    guarded(bare)
    bare.machine.fail("read", error)
    bare.pass_time(10)
    assert bare.phase() == "up"


def test_s52_what_is_swapped_out_counts(bare: Stagehand) -> None:
    """S52: 1 GB resident and 9 GB in swap under 4 GiB: ended at its line, although RSS never came near it."""
    guarded(bare, memory=MemoryLines(hard=4 * GIB))
    process = bare.machine.procs[bare.pid()]
    process.held_bytes, process.swap_bytes = 10 * 10**9, 9 * 10**9
    bare.pass_time(15)
    (gone,) = bare.events("run.exited")
    assert gone["cause"] == "memory-guard"
    (tripped,) = bare.events("guard.tripped")
    assert tripped["held_bytes"] == 10 * 10**9
