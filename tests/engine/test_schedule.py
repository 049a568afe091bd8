"""Scheduled times: which they are (also across summer time), and that none comes twice or is lost silently, whatever
clocks, machine and engine do. Issue 3, item 5. The clock is the fake machine's.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.conftest import Stagehand, a_spec
from tests.plain import default_rules

from midwatch.engine import cron
from midwatch.engine.cron import newest_slot, next_slot, slots
from midwatch.engine.schedule import Schedules
from midwatch.engine.status import status_of
from midwatch.model.event import Due
from midwatch.model.identity import Now
from midwatch.model.service import Schedule
from midwatch.model.state import ServiceState
from midwatch.policy import defaults

HOUR = 3600.0


def wall(text: str) -> float:
    """UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def utc(stamp: float) -> str:
    return datetime.fromtimestamp(stamp, UTC).strftime("%m-%d %H:%M")


def coming(text: str, after: str, count: int, zone: str | None = "Europe/Berlin") -> list[str]:
    found = slots(Schedule(text, zone), wall(after))
    return [utc(next(found)) for _ in range(count)]


# -- which times


def test_a_time_that_spring_skips_comes_when_the_clock_has_jumped() -> None:
    """2026-03-29: 02:00 CET becomes 03:00 CEST (01:00 UTC); 02:30 does not exist."""
    assert coming("30 2 * * *", "2026-03-28T00:00", 3) == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]
    assert coming("0,30 2 * * *", "2026-03-28T12:00", 3) == ["03-29 01:00", "03-30 00:00", "03-30 00:30"]


def test_a_time_that_autumn_shows_twice_comes_once() -> None:
    """2026-10-25: 03:00 CEST becomes 02:00 CET (01:00 UTC); 02:30 exists at 00:30 and at 01:30 UTC."""
    assert coming("30 2 * * *", "2026-10-24T12:00", 2) == ["10-25 00:30", "10-26 01:30"]
    for after in ("2026-10-25T00:40", "2026-10-25T01:10", "2026-10-25T01:40"):  # asked in either pass of that hour
        assert coming("30 2 * * *", after, 1) == ["10-26 01:30"]
        assert coming("50 2 * * *", "2026-10-25T01:40", 1) == ["10-26 01:50"]


def test_a_job_of_every_so_many_minutes_goes_by_the_minutes_that_pass() -> None:
    """Debian's cron: a star in minute or hour is not moved by summer time; every hour has them."""
    spring = coming("*/30 * * * *", "2026-03-29T00:00", 4)
    assert spring == ["03-29 00:30", "03-29 01:00", "03-29 01:30", "03-29 02:00"]
    autumn = coming("*/30 * * * *", "2026-10-25T00:00", 4)
    assert autumn == ["10-25 00:30", "10-25 01:00", "10-25 01:30", "10-25 02:00"]


def test_the_machines_zone_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Not from TZ, which differs between cron, launchd and a shell."""
    monkeypatch.setenv("TZ", "America/New_York")
    monkeypatch.setattr(cron, "LOCALTIME", str(tmp_path / "localtime"))
    assert coming("0 3 * * *", "2026-07-01T00:00", 1, None) == ["07-01 03:00"]  # no file: UTC
    name = next(p for p in ("/usr/share/zoneinfo/Asia/Tokyo", "/usr/lib/zoneinfo/Asia/Tokyo") if os.path.exists(p))
    (tmp_path / "localtime").symlink_to(name)
    assert coming("0 3 * * *", "2026-07-01T00:00", 1, None) == ["07-01 18:00"]


def test_counting_what_was_missed_is_bounded() -> None:
    """Eight months of minutes: the newest is exact, the count says 'this many or more'."""
    every = Schedule("* * * * *", "UTC")
    start, end = wall("2026-01-01T00:00"), wall("2026-09-01T12:34")
    assert newest_slot(every, start, end + 20, 1000) == (end, 1000)
    assert newest_slot(every, start, start + 600, 1000) == (start + 600, 9)
    assert newest_slot(every, start, start + 59, 1000) is None
    rare = Schedule("0 0 29 2 *", "UTC")
    assert newest_slot(rare, wall("2001-01-01T00:00"), wall("2027-01-01T00:00"), 2) == (wall("2024-02-29T00:00"), 2)


def test_a_clock_that_no_calendar_knows_has_no_times() -> None:
    assert next_slot(Schedule("* * * * *", "UTC"), 1e15) is None
    assert next_slot(Schedule("0 0 31 2 *", "UTC"), 0.0) is None


# -- never twice, never lost silently


class World:
    """A clock that anything can happen to, and engines that come and go. The policy's part: it keeps the slot."""

    def __init__(self, schedule: Schedule, start: float) -> None:
        self.schedule = schedule
        self.awake, self.wall = 1000.0, start
        self.told: list[Due] = []
        self.notes: list[str] = []
        rules = msgspec.structs.replace(default_rules(), schedule=schedule)
        self.state = ServiceState("p/a", rules, "scheduled", "up", since=1000.0)
        self.engine()

    def engine(self) -> None:
        service = SimpleNamespace(state=self.state)
        stub: Any = SimpleNamespace(
            machine=SimpleNamespace(now=lambda: Now(self.awake, self.wall, "b")), services={"p/a": service},
            post=self.post, write=lambda event, **_: self.notes.append(event), pulse=SimpleNamespace(also=[]),
        )  # fmt: skip
        self.schedules = Schedules(stub)
        self.schedules._set = lambda: None  # type: ignore[method-assign]  # timers only say when to look
        self.schedules.observe(service)  # type: ignore[arg-type]

    def post(self, _: Any, due: Due) -> None:
        self.state = msgspec.structs.replace(self.state, slot=due.slot)
        if not due.begin:
            self.told.append(due)

    def act(self, what: str, seconds: float) -> None:
        if what == "pass":
            self.awake += seconds
        if what != "engine":
            self.wall += -seconds if what == "back" else seconds
        if what == "engine":
            self.engine()
        self.schedules.check()


CRONS = ["* * * * *", "*/7 * * * *", "30 2 * * *", "0,30 1-3 * * 0", "15 */2 * * *", "0 0 1 * *", "50 2 * 3,10 *"]
STEPS = st.tuples(st.sampled_from(["pass", "sleep", "forward", "back", "engine"]), st.floats(0.0, 3 * HOUR))
SEASONS = st.sampled_from(["2026-03-28T22:00", "2026-10-24T22:00", "2026-12-31T20:00"]).map(wall)


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"])


@given(st.sampled_from(CRONS), ZONES, SEASONS, st.lists(STEPS, max_size=25))
def test_no_time_comes_twice_and_none_is_lost_silently(
    text: str, zone: str, start: float, steps: list[tuple[str, float]]
) -> None:
    """Sleeps, clock steps either way (up to three hours back), engines that die: each time is told once or counted."""
    world = World(Schedule(text, zone), start)
    latest = start
    for what, seconds in steps:
        if what == "back" and latest - world.wall + seconds > 3 * HOUR:
            continue  # further back than a step: that clock was wrong before, see below
        world.act(what, seconds)
        latest = max(latest, world.wall)
    told = [start, *(due.slot for due in world.told)]
    assert all(early < late for early, late in pairwise(told))
    for (early, late), due in zip(pairwise(told), world.told, strict=True):
        between = _until(world.schedule, early, late)
        assert between[-1] == late
        assert due.missed == min(len(between) - 1, defaults.SCHEDULE_MISSED)
    assert not _until(world.schedule, told[-1], latest), "a time has come and was not told"


def _until(schedule: Schedule, after: float, until: float) -> list[float]:
    found = []
    for slot in slots(schedule, after):
        if slot > until:
            break
        found.append(slot)
    return found


def test_a_clock_that_was_far_ahead_is_said_and_counting_goes_on() -> None:
    """Otherwise nothing would come for as long as it was ahead."""
    world = World(Schedule("0 * * * *", "UTC"), wall("2026-06-01T00:30"))
    world.act("forward", 30 * 86400.0)
    assert (utc(world.told[-1].slot), world.told[-1].missed) == ("07-01 00:00", 30 * 24 - 1)
    world.act("back", 30 * 86400.0)
    assert world.notes[-2:] == ["schedule.clock", "schedule.next"]
    world.act("pass", HOUR)
    assert [utc(due.slot) for due in world.told[1:]] == ["06-01 01:00"]


# -- the whole engine


def nightly(text: str = "0 3 * * *", zone: str = "Europe/Berlin", **more: Any) -> Any:
    return a_spec(schedule=Schedule(text, zone, **more))


def at(stage: Stagehand, text: str) -> Stagehand:
    """Set the wall clock before anything is there."""
    stage.machine.wall = wall(text)
    return stage


def beating(stage: Stagehand, text: str) -> Stagehand:
    """The same with the engine's pulse, for what shows at its next beat."""
    stage.do(stage.engine.pulse.start)
    return at(stage, text)


def test_up_arms_it_and_its_time_starts_it(bare: Stagehand) -> None:
    """Issue 3, item 5: `ps` shows when it comes; exit 0 makes it wait for the next time."""
    at(bare, "2026-06-01T00:30").apply(nightly())
    assert bare.phase() == "scheduled"
    row = bare.do(lambda: status_of(bare.engine, bare.service(), bare.machine.now()))
    assert utc(row["next_at"]) == "06-01 01:00"
    bare.pass_time(29 * 60)
    assert (bare.phase(), bare.keeper.ops("spawn")) == ("scheduled", [])
    bare.pass_time(61)
    assert bare.phase() == "up"
    bare.exits(code=0)
    assert bare.phase() == "scheduled"
    bare.pass_time(23 * HOUR)
    assert bare.keeper.ops("spawn") == ["p.a.1"]
    bare.pass_time(HOUR)
    assert bare.keeper.ops("spawn") == ["p.a.1", "p.a.2"]
    (first, second) = bare.events("schedule.due")
    assert (utc(first["slot"]), utc(second["slot"])) == ("06-01 01:00", "06-02 01:00")


def test_start_runs_it_now_and_stop_disarms_it(bare: Stagehand) -> None:
    at(bare, "2026-06-01T00:30").apply(nightly())
    bare.ask("start", "a")
    assert bare.phase() == "up"
    bare.exits(code=0)
    bare.ask("stop", "a")
    assert bare.phase() == "stopped"
    assert bare.engine.schedules.next_at("p/a") is None
    bare.pass_time(25 * HOUR)
    assert bare.keeper.ops("spawn") == ["p.a.1"]


def test_single_flight(bare: Stagehand) -> None:
    """A time that comes while the last run still works is skipped, and said."""
    at(bare, "2026-06-01T00:00").apply(nightly("*/10 * * * *"))
    bare.pass_time(31 * 60)
    assert bare.keeper.ops("spawn") == ["p.a.1"]
    assert [line["reason"] for line in bare.events("schedule.skipped")] == ["running", "running"]
    bare.exits(code=0)
    bare.pass_time(600)
    assert bare.keeper.ops("spawn") == ["p.a.1", "p.a.2"]


@pytest.mark.parametrize("catch_up", [True, False])
def test_after_eight_hours_of_suspend_one_run_makes_up_for_all(bare: Stagehand, catch_up: bool) -> None:
    """Issue 3, items 5 and 6: seen at the next beat, not when the frozen timer would have ended."""
    beating(bare, "2026-06-01T00:30").apply(nightly("0 * * * *", catch_up=catch_up))
    bare.pass_time(1)
    bare.do(lambda: bare.machine.sleep(8 * HOUR))
    bare.pass_time(6)
    if catch_up:
        (line,) = bare.events("schedule.due")
        assert bare.keeper.ops("spawn") == ["p.a.1"]
    else:
        (line,) = bare.events("schedule.skipped")
        assert bare.phase() == "scheduled"
        assert line["reason"] == "late"
    assert (utc(line["slot"]), line["missed"]) == ("06-01 08:00", 7)


def test_the_clock_steps_over_the_time_and_back(bare: Stagehand) -> None:
    """B6: forward brings it at once; back by an hour repeats nothing."""
    at(bare, "2026-06-01T00:30").apply(nightly())
    bare.machine.wall += HOUR
    bare.pass_time(60)
    assert bare.keeper.ops("spawn") == ["p.a.1"]
    bare.exits(code=0)
    bare.machine.wall -= HOUR
    bare.pass_time(2 * HOUR)
    assert bare.keeper.ops("spawn") == ["p.a.1"]
    bare.pass_time(24 * HOUR)
    assert bare.keeper.ops("spawn") == ["p.a.1", "p.a.2"]


@pytest.mark.parametrize("both", [False, True], ids=["engine", "keeper-and-engine"])
def test_what_came_while_we_were_dead_is_made_up_for_once(bare: Stagehand, both: bool) -> None:
    """Also when it had never run before: from when it began to wait."""
    at(bare, "2026-06-01T00:30").apply(nightly("0 * * * *"))
    for run in (1, 2):
        bare.keeper_dies() if both else bare.engine_dies()
        bare.machine.advance(5 * HOUR)
        bare.boot()
        bare.pass_time(1)
        assert bare.keeper.ops("spawn") == [f"p.a.{n}" for n in range(1, run + 1)]
        assert bare.events("schedule.due")[-1]["missed"] == 4
        bare.exits(code=0)
        bare.keeper_dies() if both else bare.engine_dies()
        bare.boot()
        bare.pass_time(1)
        assert bare.phase() == "scheduled"


def test_another_schedule_has_missed_nothing(bare: Stagehand) -> None:
    """Reload: times count from now on, also for the next engine."""
    at(bare, "2026-06-01T00:30").apply(nightly("0 0 1 1 *"))
    bare.pass_time(100 * HOUR)
    bare.apply(nightly("45 * * * *"))
    bare.engine_dies()
    bare.boot()
    bare.pass_time(10)
    assert bare.phase() == "scheduled"
    assert bare.keeper.ops("spawn") == []
    bare.pass_time(HOUR)
    assert bare.keeper.ops("spawn") == ["p.a.1"]


def test_a_run_over_its_deadline_is_stopped(bare: Stagehand) -> None:
    at(bare, "2026-06-01T00:59").apply(nightly("0 * * * *", deadline=600.0))
    bare.pass_time(120)
    assert bare.phase() == "up"
    bare.pass_time(600)
    assert bare.phase() == "scheduled"


def test_without_a_schedule_there_is_no_timer(bare: Stagehand) -> None:
    """The engine's memory counts (0.5 MB for cronsim and zones: tests/test_layers.py); and no timer."""
    bare.apply(a_spec())
    assert bare.engine.schedules._timer is None


def test_a_changed_machine_zone_counts_at_once(bare: Stagehand, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(cron, "LOCALTIME", str(tmp_path / "localtime"))
    beating(bare, "2026-06-01T00:30").apply(a_spec(schedule=Schedule("0 3 * * *")))
    assert utc(bare.engine.schedules.next_at("p/a") or 0) == "06-01 03:00"
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    bare.pass_time(6)
    assert utc(bare.engine.schedules.next_at("p/a") or 0) == "06-01 01:00"
