"""Carrying a plan out: one step after the other, a measurement between, and whoever changed is refused."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import sys
from pathlib import Path

import msgspec
import pytest
from tests.inspect.doctor.machines import Machine, proc

from midwatch.inspect.ours import Ours
from midwatch.inspect.recover.apply import Done, Outcome, run, write
from midwatch.inspect.recover.hands import Live, truncate
from midwatch.inspect.recover.order import Facts
from midwatch.inspect.recover.plan import Aim, Plan, Pressure, Step
from midwatch.inspect.sources import Table
from midwatch.inspect.sources.live import Live as Sources
from midwatch.model.look import Leftover, Proc
from midwatch.policy.defaults_inspect import RECOVER_RECORDS

SHORT = Pressure("warn", 100, "short", 5, 1000)
CALM = Pressure("pass", 0, "calm", 200, 1000)


def step(name: str, acts: bool = True, asks: bool = False, aims: tuple[Aim, ...] = ()) -> Step:
    return Step(
        name,
        name,
        f"do {name}",
        aims or (Aim("process", name, "1", 1),),
        "",
        "",
        "low",
        10,
        acts=acts,
        asks=asks,
    )


class Hands:
    def __init__(self) -> None:
        self.done: list[str] = []

    def do(self, step: Step) -> Done:
        self.done.append(step.id)
        return Done(step.id, "done", freed=10)


PLAN = Plan(SHORT, tuple(step(name) for name in ("snapshot", "services", "leftovers", "stacks", "vm")))


def test_s77_it_stops_when_pressure_is_normal() -> None:
    """Scenario 77: normal after the second acting step; the others are skipped and marked not needed."""
    hands = Hands()
    readings = iter([SHORT, SHORT, CALM])
    told = run(PLAN, hands, lambda: next(readings), lambda step: True)
    assert hands.done == ["snapshot", "services", "leftovers"]
    assert [(one.step, one.state) for one in told.steps][3:] == [
        ("stacks", "not needed"),
        ("vm", "not needed"),
    ]
    assert (told.before, told.after) == (SHORT, CALM)


def test_a_calm_machine_is_left_alone() -> None:
    """Nothing warns: nothing is done."""
    hands = Hands()
    run(PLAN, hands, lambda: CALM, lambda step: True)
    assert hands.done == []


def test_each_step_is_asked_for() -> None:
    """REC-1: who says no to one is asked for the next."""
    hands = Hands()
    told = run(PLAN, hands, lambda: SHORT, lambda step: step.id != "leftovers")
    assert hands.done == ["snapshot", "services", "stacks", "vm"]
    assert told.steps[2].state == "declined"


def test_only_what_was_named() -> None:
    """--only: this step and no other, also without pressure; what asks to be named is done only so."""
    plan = Plan(CALM, (step("leftovers"), step("copies", asks=True), step("sessions", acts=False)))
    hands = Hands()
    run(plan, hands, lambda: CALM, lambda step: True, only=frozenset({"copies"}))
    assert hands.done == ["copies"]
    told = run(plan, Hands(), lambda: SHORT, lambda step: True)
    assert [one.state for one in told.steps] == ["done", "only if named", "advice"]


class Signals:
    def __init__(self) -> None:
        self.sent: list[int] = []

    def send(self, one: Proc, signum: int) -> bool:
        self.sent.append(one.pid)
        return True

    def alive(self, one: Proc) -> bool:
        return one.pid not in self.sent


def hands(tmp_path: Path, now: list[Leftover], planned: list[Leftover]) -> tuple[Live, Signals]:
    signals = Signals()
    facts = Facts(Machine("linux"), Ours(), leftovers=planned)
    table = Table({one.proc.pid: one.proc for one in now}, 0.0)
    return Live(facts, tmp_path, lambda: (now, table), signals, lambda names: [], grace=0.2), signals


def left(pid: int, start: int) -> Leftover:
    return Leftover(proc(pid, "npx x-mcp", start=start, held=100), "r", ("p",), "x-mcp")


def test_s76_a_recycled_target_is_refused(tmp_path: Path) -> None:
    """Scenario 76: the plan's pid belongs to somebody else now: refused, nothing is signalled."""
    made, signals = hands(tmp_path, [left(11, 999)], [left(11, 5)])
    told = made.do(step("leftovers", aims=(Aim("process", "x", "5", 11),)))
    assert told.state == "refused"
    assert signals.sent == []


def test_leftovers_end_and_the_way_back_is_told(tmp_path: Path) -> None:
    """With an undo list on disk, and what came free."""
    made, signals = hands(tmp_path, [left(11, 5)], [left(11, 5)])
    told = made.do(step("leftovers", aims=(Aim("process", "x", "5", 11),)))
    assert (told.state, told.freed, signals.sent) == ("done", 100, [11])
    assert str(tmp_path / "undo") in told.undo[0]


def test_a_virtual_machine_that_changed_is_refused(tmp_path: Path) -> None:
    """Its process is another one than the plan's."""
    made, _ = hands(tmp_path, [left(900, 999)], [])
    told = made.do(Step("vm", "", "orbctl restart", (Aim("app", "OrbStack", "5", 900),), "", "", "medium"))
    assert told.state == "refused"


def test_a_step_that_breaks_is_said(tmp_path: Path) -> None:
    """And the next ones go on."""
    made, _ = hands(tmp_path, [], [])
    assert made.do(Step("vm", "", "no-such-program", (), "", "", "low")).state == "failed"


def database(path: Path) -> sqlite3.Connection:
    link = sqlite3.connect(path)
    link.execute("PRAGMA journal_mode=WAL")
    link.execute("PRAGMA wal_autocheckpoint=0")
    link.execute("CREATE TABLE t (x)")
    link.executemany("INSERT INTO t VALUES (?)", [("y" * 4000,)] * 300)
    link.commit()
    return link


def test_a_log_is_truncated_and_nothing_is_lost(tmp_path: Path) -> None:
    """REC-2.6, with a real SQLite log whose writer was killed; one that is open is not touched."""
    path = tmp_path / "state.db"
    if os.fork() == 0:  # a writer that dies without closing leaves its log behind
        database(path)
        os._exit(0)
    os.wait()
    log = Path(f"{path}-wal")
    aim = Aim("file", str(path), str(log.stat().st_size))
    assert log.stat().st_size > 1 << 20
    assert "changed since the plan" in truncate(Sources(), msgspec.structs.replace(aim, mark="1"))
    assert truncate(Sources(), aim) == ""
    assert not log.exists() or log.stat().st_size == 0
    assert sqlite3.connect(path).execute("SELECT count(*) FROM t").fetchone() == (300,)


def test_a_log_that_somebody_reads_is_left(tmp_path: Path) -> None:
    """A reader holds it: busy, and it stays as it is."""
    path = tmp_path / "state.db"
    writer = database(path)
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM t").fetchone()
    writer.execute("INSERT INTO t VALUES (1)")
    writer.commit()
    size = Path(f"{path}-wal").stat().st_size
    assert "open" in truncate(Sources(), Aim("file", str(path), str(size)))
    assert Path(f"{path}-wal").stat().st_size == size
    reader.close()
    writer.close()


def test_the_record_is_bounded_and_private(tmp_path: Path) -> None:
    """REC-5: before and after, steps, undo; 0600, no secrets, the oldest are removed."""
    secret = Done(
        "leftovers", "done", ("ended x --token=sk-live-1234567890abcdef1234",), ("the commands are in x",)
    )
    outcome = Outcome(SHORT, CALM, (secret,))
    for at in range(RECOVER_RECORDS + 4):
        write(tmp_path, PLAN, outcome, 1_800_000_000 + at)
    path = write(tmp_path, PLAN, outcome, 1_900_000_000)
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "sk-live" not in text
    told = json.loads(text)["outcome"]
    assert (told["before"]["available"], told["after"]["available"]) == (5, 200)
    assert len(list((tmp_path / "recover").iterdir())) == RECOVER_RECORDS


@pytest.mark.skipif(sys.platform != "linux", reason="the doctor of this machine")
def test_the_snapshot_is_the_doctors_word(tmp_path: Path) -> None:
    """Step 0: every result of the cheap checks in a file of ours."""
    facts = Facts(Sources(), Ours())
    made = Live(facts, tmp_path, lambda: ([], Table({}, 0.0)), Signals(), lambda names: [])
    told = made.do(step("snapshot"))
    assert told.state == "done", told
    (path,) = (tmp_path / "recover").iterdir()
    assert "DOC-1" in {one["id"] for one in json.loads(path.read_text())["checks"]}
