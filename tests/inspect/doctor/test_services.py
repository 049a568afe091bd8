"""DOC-18: restarts by the managers' own counters, from recorded answers."""

from __future__ import annotations

import pytest
from tests.inspect.doctor.machines import Machine, ctx, proc
from tests.inspect.doctor.test_units import systemd, webui

from midwatch.inspect.doctor import services
from midwatch.inspect.doctor.check import Watched
from midwatch.inspect.doctor.run import run
from midwatch.inspect.sources import Ran
from midwatch.model.look import Checked

FACTS = (
    "Id={name}.service\nActiveState=active\nSubState={sub}\nResult={result}\nMainPID=10\nNRestarts={starts}\n"
    "ExecMainCode=1\nExecMainStatus=1\nRestartUSec=5s\nExecMainStartTimestampMonotonic=1000000\n"
    "ExecMainExitTimestampMonotonic=6000000\n"
)


def facts(name: str, starts: int, sub: str = "running", result: str = "success") -> str:
    return FACTS.format(name=name, starts=starts, sub=sub, result=result)


def bad(results: list[Checked]) -> list[Checked]:
    return [one for one in results if one.status in ("warn", "fail")]


@pytest.mark.parametrize(("starts", "status"), [(40, ""), (60, "warn"), (400, "fail")])
def test_rates_since_the_boot(machine: Machine, starts: int, status: str) -> None:
    """Ten hours up: over 5 restarts an hour warns, over 20 fails; the last exit is decoded."""
    machine.put("/proc/uptime", "36000.00 1.0\n")
    systemd(machine, system=facts("web", starts) + "\n" + facts("calm", 0))
    found = bad(run(ctx(machine), [services.CHECK]))
    assert [one.status for one in found] == ([status] if status else [])
    if status == "fail":
        assert (
            found[0].message
            == "web.service was started again 400 times, 40 an hour; it ended last with exit 1"
        )
        assert found[0].hint == "systemctl stop web.service, then read its log"


def test_a_loop_that_has_just_begun_is_seen(machine: Machine) -> None:
    """Up for 300 hours, eight restarts, all now: one each ten seconds is 360 an hour."""
    machine.put("/proc/uptime", "1080000.00 1.0\n")
    systemd(machine, system=facts("web", 8, "auto-restart"))
    assert "360 an hour" in bad(run(ctx(machine), [services.CHECK]))[0].message


def test_launchds_runs_are_counted(mac: Machine) -> None:
    """412 runs in 24 h of which the job waits for the next; a throttle of 14 s is 257 an hour."""
    (found,) = bad(run(ctx(webui(mac)), [services.CHECK]))
    assert found.message == "com.me.webui was started again 411 times, 257 an hour; it ended last with exit 0"
    assert found.hint.startswith("launchctl bootout gui/$(id -u)/com.me.webui")


def test_ends_that_a_manager_names(machine: Machine) -> None:
    """start-limit-hit, oom-kill and watchdog are told even if it restarts no more."""
    systemd(machine, system=facts("web", 0, "failed", "oom-kill"))
    assert [one.message for one in bad(run(ctx(machine), [services.CHECK]))] == [
        "web.service is active after oom-kill (exit 1)"
    ]


def test_a_port_that_another_has(machine: Machine) -> None:
    """DOC-18: port owner is not the manager's main process."""
    systemd(machine, system=facts("web", 0) + "ControlGroup=/system.slice/web.service\n")
    machine.put("/etc/systemd/system/web.service", "[Service]\nExecStart=/x/serve --port 8787\n")
    machine.put("/proc/net/tcp6", "head\n 0: 00:2253 00:0000 0A 0:0 0:0 0 0 0 777 1\n")
    machine.links = {"/proc/500/fd/3": "socket:[777]"}
    machine.add(proc(500, "python old.py", cgroup="/x"), proc(10, "serve"))
    (found,) = bad(run(ctx(machine), [services.CHECK]))
    assert found.hint == "kill 500, then systemctl restart web.service"
    machine.procs[500] = proc(500, "python old.py", ppid=10)  # a worker of it
    assert not bad(run(ctx(machine), [services.CHECK]))


def test_ours_by_their_state(machine: Machine) -> None:
    """A service of ours that gave up fails, with `why` as the next step; `doctor NAME` asks about one."""
    systemd(machine)
    rows = (
        Watched("home/web", {"state": "gave_up", "decision": "crash 10 of 10", "restarts": {"crash": 10}}),
        Watched("home/api", {"state": "backoff"}), Watched("home/db", {"state": "up"}),
    )  # fmt: skip
    found = bad(run(ctx(machine, services=rows), [services.CHECK]))
    assert [(one.status, one.hint) for one in found] == [
        ("fail", "midwatch why home/web"), ("warn", "midwatch why home/api"),
    ]  # fmt: skip
    assert found[0].message == "home/web is gave_up: crash 10 of 10"
    assert not bad(run(ctx(machine, services=rows, name="home/db"), [services.CHECK]))


def test_a_flood_of_units_is_read_in_part_and_said(machine: Machine) -> None:
    """More than 1 MiB of answers: what was read is judged, the rest is a skip."""
    systemd(machine, system=facts("web", 400))
    for argv, ran in list(machine.ran.items()):
        machine.ran[argv] = Ran(0, ran.out, cut="--user" not in argv)
    found = run(ctx(machine), [services.CHECK])
    assert [one.status for one in found] == ["warn", "skip"]
    assert "more than 1 MiB" in found[1].message


def test_root_without_a_manager_of_its_own(machine: Machine) -> None:
    """`systemctl --user` of root fails on most servers: that is no gap."""
    systemd(machine, system=facts("web", 0))
    machine.ran = {argv: ran for argv, ran in machine.ran.items() if "--user" not in argv}
    assert [one.status for one in run(ctx(machine), [services.CHECK])] == ["skip", "pass"]
    machine.uid = 0
    assert [one.status for one in run(ctx(machine), [services.CHECK])] == ["pass"]


def test_no_manager_is_a_skip(machine: Machine) -> None:
    """GEN-7: systemctl not here, or not booted with systemd."""
    assert [one.status for one in run(ctx(machine), [services.CHECK])][:2] == ["skip", "skip"]
