"""DOC-2: the largest processes and trees, with the number that is shown."""

from __future__ import annotations

from tests.inspect.doctor.machines import Machine, ctx, proc

from midwatch.inspect.doctor import users
from midwatch.inspect.doctor.run import run

GIB = 1 << 30


def test_a_tree_with_half_of_the_memory_warns(machine: Machine) -> None:
    """A session with its helpers is one tree; one that holds most of the machine warns and names the root."""
    machine.put("/proc/meminfo", f"MemTotal: {8 * GIB // 1024} kB\n")
    machine.add(
        proc(10, "bash", held=GIB // 100), proc(11, "claude", ppid=10, held=3 * GIB),
        proc(12, "npx some-mcp", ppid=11, held=2 * GIB), proc(20, "vim", held=GIB // 10),
    )  # fmt: skip
    (found,) = run(ctx(machine), [users.CHECK])
    assert found.status == "warn"
    assert (found.offenders[0].pid, found.offenders[0].detail) == (11, "5 GiB in 2 processes")
    assert found.evidence["basis"] == "held memory"


def test_resident_memory_is_called_so(mac: Machine) -> None:
    """Trap 4: where only resident pages are known, it is said that shared ones count in each."""
    mac.add(proc(11, "claude", rss=GIB), proc(12, "node x", rss=GIB))
    (found,) = run(ctx(mac), [users.CHECK])
    assert found.status == "pass"
    assert "shared pages counted in each" in found.message


def test_nobody_readable_is_a_skip(machine: Machine) -> None:
    """GEN-7."""
    machine.add(proc(5, "x"))
    (found,) = run(ctx(machine), [users.CHECK])
    assert found.status == "skip"
