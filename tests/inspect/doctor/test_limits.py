"""DOC-19: limits that are met by surprise."""

from __future__ import annotations

from tests.inspect.doctor.machines import Machine, ctx, proc

from midwatch.inspect.doctor import limits
from midwatch.inspect.doctor.check import Watched
from midwatch.inspect.doctor.run import run
from midwatch.model.look import Checked

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max core file size        0                    unlimited            bytes
Max processes             {procs}                 15000                processes
Max open files            {files}                 1048576              files
"""


def own(files: str = "1024", procs: str = "15000") -> str:
    return LIMITS.format(files=files, procs=procs)


def found(machine: Machine, **changes: object) -> list[Checked]:
    return run(ctx(machine, **changes), [limits.CHECK])


def test_few_open_files_warn_and_a_server_with_256_fails(machine: Machine, mac: Machine) -> None:
    """Soft 256 warns; of a declared server it fails, with the plist's key as the cure (FDW-12)."""
    machine.put("/proc/self/limits", own("512"))
    assert [one.status for one in found(machine)] == ["warn"]
    machine.put("/proc/self/limits", own("unlimited"))
    assert [one.status for one in found(machine)] == ["pass"]
    mac.says("launchctl limit maxfiles", "\tmaxfiles    256            unlimited      \n")
    service = Watched("home/web", pid=5, fds_limit=256, fds_open=100)
    rows = found(mac, services=(service,))
    assert [one.status for one in rows] == ["fail", "warn"]
    assert rows[0].offenders[0].name == "home/web"
    assert "NumberOfFiles" in rows[0].hint


def test_room_of_processes_and_tasks(machine: Machine) -> None:
    """Threads of the user, tasks of the unit (tightest group above us), threads of the machine."""
    machine.put("/proc/self/limits", own(procs="100"))
    machine.add(*(proc(n, "x", threads=3) for n in range(10, 42)))
    machine.put("/proc/self/cgroup", "0::/user.slice/a.service\n")
    machine.put("/sys/fs/cgroup/user.slice/pids.max", "100")
    machine.put("/sys/fs/cgroup/user.slice/pids.current", "85")
    machine.put("/sys/fs/cgroup/user.slice/a.service/pids.max", "max")
    machine.sysctls["kernel.threads-max"] = "1000"
    rows = {one.message: one.status for one in found(machine)}
    assert rows["96 of 100 threads of this user (96%)"] == "fail"
    assert rows["85 of 100 processes of /sys/fs/cgroup/user.slice (85%)"] == "warn"
    assert len(rows) == 3


def test_the_last_terminals_of_a_mac_are_told(mac: Machine) -> None:
    """Story 7: 500 of 511 terminals in use."""
    mac.sysctls["kern.tty.ptmx_max"] = "511"
    mac.add(*(proc(n, "bash", tty=f"ttys{n}") for n in range(10, 500)))
    assert ("fail", "490 of 511 terminals in use (96%)") in [(one.status, one.message) for one in found(mac)]


def test_a_crash_without_core_is_a_note(machine: Machine) -> None:
    """core_pattern "core" and size 0: said, not judged."""
    machine.put("/proc/self/limits", own())
    machine.sysctls["kernel.core_pattern"] = "core"
    assert "leaves no core" in found(machine)[-1].message
    machine.sysctls["kernel.core_pattern"] = "|/usr/lib/systemd/systemd-coredump %P"
    assert len(found(machine)) == 1


def test_nothing_readable_is_a_skip(machine: Machine, mac: Machine) -> None:
    """GEN-7."""
    assert [one.status for one in found(machine)] == ["skip"]
    assert [one.status for one in found(mac)] == ["skip"]
