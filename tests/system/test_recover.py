"""Recovery with real processes, in a scope of its own: a dry run changes nothing, a plan stops when it has helped."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
from tests.inspect.zoo import Scoped, Zoo, until
from tests.system.conftest import Instance, alive

from midwatch.front.cli import recover
from midwatch.inspect.leftovers.find import find
from midwatch.inspect.ours import Ours
from midwatch.inspect.recover.apply import run
from midwatch.inspect.recover.hands import Live
from midwatch.inspect.recover.order import Facts, plan
from midwatch.inspect.recover.plan import Pressure
from midwatch.inspect.sources import Table
from midwatch.inspect.sweep.ending import LinuxHands
from midwatch.model.look import Leftover

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="real leftovers are proven on Linux only")
SHORT, CALM = Pressure("warn", 1, "short"), Pressure("pass", 0, "calm")


def before_and_after(home: Path, zoo: Zoo) -> tuple[object, ...]:
    procs = Scoped(zoo.mark).table().procs
    mine = sorted((one.pid, one.start, one.state) for one in procs.values() if one.pid in zoo.pids.values())
    files = sorted(path for path in home.rglob("*") if path.is_file() and "control" not in path.name)
    return mine, [(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def test_s75_a_dry_run_changes_nothing(instance: Instance, zoo: Zoo) -> None:
    """Scenario 75: no process, no file; the plan lists at least one target identity in each of its steps."""
    zoo.orphan("server")
    before = before_and_after(instance.home, zoo)
    done = instance.cli("recover", "--json")
    assert done.returncode in (0, 1), done.stderr
    steps = json.loads(done.stdout)["plan"]["steps"]
    assert steps
    assert all(step["aims"] and all(aim["mark"] for aim in step["aims"]) for step in steps)
    assert before_and_after(instance.home, zoo) == before


def made(zoo: Zoo, home: Path) -> tuple[Facts, Live]:
    sources = Scoped(zoo.mark)
    table = sources.table()
    facts = Facts(
        sources, Ours(), record=str(home / "recover"), leftovers=find(sources, table, Ours(), young=0), stacks=[],
        table=table,
    )  # fmt: skip

    def look() -> tuple[list[Leftover], Table]:
        now = Scoped(zoo.mark)
        return find(now, now.table(), Ours(), young=0), now.table()

    return facts, Live(facts, home, look, LinuxHands(), lambda names: [], grace=2.0)


def test_s77_real_leftovers_end_and_the_rest_is_not_needed(zoo: Zoo, home: Path) -> None:
    """Scenario 77: two steps free what was missing; the later ones are marked not needed."""
    pids = [zoo.orphan("one"), zoo.orphan("two")]
    facts, hands = made(zoo, home)
    readings = iter([SHORT, CALM])
    told = plan(facts)
    outcome = run(told, hands, lambda: next(readings), lambda step: True, only=frozenset())
    by_step = {one.step: one for one in outcome.steps}
    assert by_step["leftovers"].state == "done"
    assert by_step["leftovers"].freed > 0
    assert not any(alive(pid) for pid in pids)
    assert all(one.state in ("done", "not needed", "only if named", "advice") for one in outcome.steps)


def test_s76_a_target_that_was_replaced_is_refused(zoo: Zoo, home: Path) -> None:
    """Scenario 76: between plan and act its client came back (here: it is not a leftover any more): it stays."""
    pid = zoo.orphan("server")
    facts, hands = made(zoo, home)
    told = plan(facts)
    os.kill(pid, 19)  # SIGSTOP: somebody paused it meanwhile, which protects it
    until(lambda: Scoped(zoo.mark).table().procs[pid].state == "T", "it stands still")
    outcome = run(told, hands, lambda: SHORT, lambda step: True, only=frozenset({"leftovers"}))
    assert outcome.steps[0].state == "refused"
    assert alive(pid)


def test_a_crash_loop_is_stopped_through_the_daemon(instance: Instance) -> None:
    """REC-2.1: the looping service stops, the healthy one stays, and the way back is a command."""
    instance.up(
        '[service.bad]\ncommand = ["sh", "-c", "exit 3"]\n[service.good]\ncommand = ["sleep", "600"]\n'
    )
    instance.until(lambda rows: rows["bad"]["state"] == "backoff", "it is in its back-off")
    done = instance.cli("recover", "--apply", "--yes", "--only", "services", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)["outcome"]
    assert told["steps"][0]["undo"] == ["midwatch start p/bad"]
    rows = instance.ps()
    assert (rows["bad"]["state"], rows["good"]["state"]) == ("stopped", "up")
    record = json.loads(Path(told["record"]).read_text())
    assert record["outcome"]["steps"][0]["state"] == "done"
    assert recover.VERB.name == "recover"
