"""Loops: launchd's runs, systemd's NRestarts, our own services."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.inspect.doctor.machines import NOW, Machine, proc

from midwatch.inspect.look import loops
from midwatch.policy import defaults_inspect as d

LIST = "PID\tStatus\tLabel\n612\t0\tcom.apple.Finder\n-\t0\tcom.me.webui\n900\t1\tcom.me.calm\n"
LOOPING = "com.me.webui = {\n\tstate = spawn scheduled\n\truns = 412\n\tlast exit code = 0\n}\n"
CALM = "com.me.calm = {\n\tstate = running\n\truns = 30\n\tpid = 900\n\tlast exit code = 1\n}\n"
UNITS = """Id=web.service
ActiveState=activating
SubState=auto-restart
Result=exit-code
NRestarts=165
ExecMainStatus=1
MainPID=0

Id=calm.service
ActiveState=active
SubState=running
Result=success
NRestarts=0
ExecMainStatus=0
MainPID=77

Id=dead.service
ActiveState=failed
SubState=failed
Result=start-limit-hit
NRestarts=5
ExecMainStatus=78
MainPID=0
"""


def find(machine: Machine, rate: float | None = None) -> loops.Jobs:
    return loops.find(machine, machine.table(), lambda key, value: rate, time.monotonic() + 30)


def mac() -> Machine:
    machine = Machine("darwin")
    machine.uid = 501
    machine.says("launchctl list", LIST)
    machine.says("launchctl print gui/501/com.me.webui", LOOPING)
    machine.says("launchctl print gui/501/com.me.calm", CALM)
    machine.add(proc(900, "python3 x.py"))
    return machine


def linux() -> Machine:
    machine = Machine()
    machine.put("/run/systemd/system/x", "")
    shown = "Id,ActiveState,SubState,Result,NRestarts,ExecMainStatus,MainPID"
    argv = "systemctl{} show *.service --property=" + shown + " --no-pager"
    machine.says(argv.format(""), UNITS)
    machine.says(argv.format(" --user"), "", 1, "Failed to connect to bus")
    return machine


def test_launchd() -> None:
    """F-13, com.me.webui of users.md 5.1: 412 runs, exits 0; Apple's own and one that stays up are no loops."""
    jobs = find(mac())
    assert [(loop.manager, loop.name, loop.runs) for loop in jobs.loops] == [("launchd", "com.me.webui", 412)]
    assert "exits 0 each time" in jobs.loops[0].words
    assert jobs.counts == {"runs:launchd:com.me.webui": 412.0, "runs:launchd:com.me.calm": 30.0}


def test_systemd() -> None:
    """F-15: auto-restart, and one that systemd gave up on; what cannot be asked is said."""
    jobs = find(linux())
    assert [(loop.name, loop.runs) for loop in jobs.loops] == [("web.service", 165), ("dead.service", 5)]
    assert "gave up" in jobs.loops[1].words
    assert jobs.missing == ["systemctl --user: ended with 1: Failed to connect to bus"]


@pytest.mark.parametrize(
    ("age", "rate", "loop"),
    [
        (d.LOOP_FRESH - 1, None, True), (d.LOOP_FRESH + 1, None, False), (5.0, 0.0, False),
        (9e9, 2.9 / 3600, False), (9e9, 3.1 / 3600, True),
    ],
)  # fmt: skip
def test_a_job_that_runs_too_often(age: float, rate: float | None, loop: bool) -> None:
    """LOOP_RUNS with LOOP_FRESH on the first look, LOOP_RATE from the second on."""
    machine = mac()
    machine.add(proc(900, "python3 x.py", started=NOW - age))
    machine.says("launchctl print gui/501/com.me.webui", "runs = 1\n")
    names = [one.name for one in find(machine, rate).loops]
    assert ("com.me.calm" in names) is loop
    assert d.LOOP_RUNS == 10


def test_without_a_manager_nothing_is_missing() -> None:
    """Another first process on Linux; on a Mac without launchctl that is said."""
    assert find(Machine()) == loops.Jobs()
    assert find(Machine("darwin")).missing == ["launchctl: not installed here"]


def test_a_manager_that_hangs_is_named() -> None:
    machine = mac()
    machine.says("launchctl list", "", late=True)
    assert find(machine).missing == ["launchctl list: no answer within a second"]


def test_our_own() -> None:
    """States that are not simply up, and restarts that go on."""
    rows: list[dict[str, Any]] = [
        {"project": "shop", "name": "web", "state": "up", "restarts": {"clean": 200}, "uptime_s": 90000.0},
        {"project": "shop", "name": "spin", "state": "up", "restarts": {"clean": 200}, "uptime_s": 5.0},
        {"project": "shop", "name": "db", "state": "held", "restarts": {}, "decision": "code 78; edit it"},
        {"project": "shop", "name": "cron", "state": "scheduled", "restarts": {}},
    ]
    assert [(loop.name, loop.state) for loop in loops.ours(rows)] == [
        ("shop/spin", "up"),
        ("shop/db", "held"),
    ]
