"""DOC-1: the kernel's or the system's own word on memory, and a container's limit instead of the host's."""

from __future__ import annotations

import pytest
from tests.inspect.doctor.machines import Machine, ctx

from midwatch.inspect.doctor import pressure
from midwatch.inspect.doctor.run import run
from midwatch.model.look import Checked

MEMINFO = "MemTotal: 16000000 kB\nMemAvailable: {left} kB\nSwapTotal: {swap} kB\nSwapFree: {free} kB\n"


def psi(some: float, full: float) -> str:
    """F-17."""
    return f"some avg10={some} avg60=1.84 avg300=0.60 total=2057443\nfull avg10={full} avg60=0.1 avg300=0.0 total=9\n"


def meminfo(left: int = 8_000_000, swap: int = 0, free: int = 0) -> str:
    return MEMINFO.format(left=left, swap=swap, free=free)


def only(machine: Machine) -> Checked:
    (result,) = run(ctx(machine), [pressure.CHECK])
    return result


@pytest.mark.parametrize(
    ("some", "full", "status"),
    [(0.59, 0, "pass"), (10, 0, "pass"), (12, 0, "warn"), (12, 11, "fail"), (41, 0, "fail"), (0, 10, "pass")],
)
def test_pressure_files_give_the_status_of_the_scenario(
    machine: Machine, some: float, full: float, status: str
) -> None:
    """Scenario 51: PSI some avg10=12 warns, full avg10=11 fails; the direction is said (GEN-8)."""
    machine.put("/proc/pressure/memory", psi(some, full))
    machine.put("/proc/meminfo", meminfo())
    found = only(machine)
    assert found.status == status
    if status != "pass":
        assert "low is good" in found.message
        assert found.hint == "midwatch recover"


@pytest.mark.parametrize(("level", "status"), [("1", "pass"), ("2", "warn"), ("4", "fail")])
def test_the_macs_level_decides_and_free_is_only_shown(mac: Machine, level: str, status: str) -> None:
    """Scenario 51: level 2 warns, 4 fails; free 66 % is shown as higher-is-better and never judged."""
    mac.sysctls["kern.memorystatus_vm_pressure_level"] = level
    mac.says(
        "memory_pressure -Q",
        "The system has 17179869184.\nSystem-wide memory free percentage: 66%\n",
    )
    mac.sysctls["vm.swapusage"] = "total = 3072.00M  used = 900.50M  free = 2171.50M  (encrypted)"
    found = only(mac)
    assert found.status == status
    assert found.evidence["free_percent"] == 66


def test_nothing_readable_is_a_skip(machine: Machine, mac: Machine) -> None:
    """Scenario 51, GEN-7: unreadable is a skip with the way to make it run, never a pass."""
    for one in (machine, mac):
        found = only(one)
        assert found.status == "skip"
        assert found.hint


def test_what_is_left_is_judged_by_the_tightest_limit(machine: Machine) -> None:
    """DOC-1: in a container its own limit counts (v2 and v1, inactive file pages given back), not the host's."""
    machine.put("/proc/meminfo", meminfo(15_000_000))
    assert only(machine).status == "pass"
    machine.put("/proc/self/cgroup", "0::/app.slice/x.scope\n")
    machine.put("/sys/fs/cgroup/app.slice/memory.max", str(1 << 30))
    machine.put("/sys/fs/cgroup/app.slice/memory.current", str((1 << 30) - 50_000_000))
    machine.put("/sys/fs/cgroup/app.slice/x.scope/memory.max", "max\n")
    found = only(machine)
    assert (found.status, found.evidence["limit"]) == ("fail", "/sys/fs/cgroup/app.slice/memory.max")
    machine.put("/sys/fs/cgroup/app.slice/memory.stat", "anon 5\ninactive_file 400000000\n")
    assert only(machine).status == "pass"
    v1 = Machine()
    v1.put("/proc/meminfo", meminfo(15_000_000))
    v1.put("/proc/self/cgroup", "5:memory:/docker/abc\n4:cpu:/\n")
    v1.put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    v1.put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n")
    v1.put("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", str(1 << 30))
    v1.put("/sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", str(int(0.92 * (1 << 30))))
    assert only(v1).status == "warn"


def test_swap_over_half_warns(machine: Machine, mac: Machine) -> None:
    """DOC-1: more than half of the swap used warns, on both platforms."""
    machine.put("/proc/meminfo", meminfo(swap=1000, free=400))
    assert only(machine).status == "warn"
    machine.put("/proc/meminfo", meminfo(swap=1000, free=600))
    assert only(machine).status == "pass"
    mac.sysctls["vm.swapusage"] = "total = 3072.00M used = 2100.50M free = 971.50M (encrypted)"
    assert only(mac).status == "warn"
