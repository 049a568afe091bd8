"""What the kernel knows of a container, by cgroup v1 and v2; another kernel's pid is not believed."""

from __future__ import annotations

import pytest
from tests.inspect.doctor.machines import Machine

from midwatch.inspect.containers import cgroups
from midwatch.inspect.containers.values import Container

ID = "c" * 64
ONE = Container(ID, "one", status="running", pid=50)
MIB = 1 << 20


@pytest.fixture
def old() -> Machine:
    """cgroup v1, podman's names."""
    machine = Machine()
    path = f"/libpod_parent/libpod-{ID}"
    machine.put("/proc/50/cgroup", f"4:memory:{path}\n2:cpuacct:{path}\n0::{path}\n")
    folder = f"/sys/fs/cgroup/memory{path}"
    machine.put(f"{folder}/memory.usage_in_bytes", f"{900 * MIB}\n")
    machine.put(f"{folder}/memory.stat", f"inactive_file 1\ntotal_inactive_file {500 * MIB}\n")
    machine.put(f"{folder}/memory.limit_in_bytes", f"{1024 * MIB}\n")
    machine.put(f"{folder}/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    machine.put(f"/sys/fs/cgroup/cpuacct{path}/cpuacct.usage", "3000000000\n")
    return machine


def test_s48_version_1(old: Machine) -> None:
    """Scenario 48 by the cgroup: total_inactive_file goes off; kills and CPU are counted."""
    found = cgroups.usage(old, ONE)
    assert found is not None
    assert (found.used, found.limit, found.ooms, found.cpu) == (400 * MIB, 1024 * MIB, 2, 3.0)
    assert found.exact


def test_version_1_without_a_limit(old: Machine) -> None:
    """The largest number there is means none."""
    old.put(f"/sys/fs/cgroup/memory/libpod_parent/libpod-{ID}/memory.limit_in_bytes", "9223372036854771712\n")
    found = cgroups.usage(old, ONE)
    assert found is not None
    assert found.limit is None


def test_s48_version_2() -> None:
    """Scenario 48 by v2's names; "max" is no limit."""
    machine = Machine()
    path = f"/system.slice/docker-{ID}.scope"
    machine.put("/proc/50/cgroup", f"0::{path}\n")
    folder = f"/sys/fs/cgroup{path}"
    machine.put(f"{folder}/memory.current", f"{900 * MIB}\n")
    machine.put(f"{folder}/memory.stat", f"anon 5\ninactive_file {500 * MIB}\n")
    machine.put(f"{folder}/memory.max", "max\n")
    machine.put(f"{folder}/memory.events", "low 0\noom 3\noom_kill 3\n")
    machine.put(f"{folder}/cpu.stat", "usage_usec 2500000\n")
    found = cgroups.usage(machine, ONE)
    assert found is not None
    assert (found.used, found.limit, found.ooms, found.cpu) == (400 * MIB, None, 3, 2.5)


def test_a_pid_of_another_kernel_is_a_stranger(old: Machine) -> None:
    """The engine's VM has a process 50 too: only one whose cgroup names the container is it."""
    assert cgroups.usage(old, Container("d" * 64, "other", status="running", pid=50)) is None
    assert cgroups.usage(old, Container(ID, "gone", status="running", pid=51)) is None
    assert cgroups.usage(old, Container(ID, "created", status="created")) is None
