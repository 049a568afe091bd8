"""A run's own memory cgroup: the right lines of v1 and v2, read seldom, and the peak between two looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from midwatch.machine.linux.group import MOVED, REREAD, Group, held
from midwatch.machine.linux.handle import Budget

MIB = 1 << 20
V2 = b"anon 1000\nfile 90000\nkernel 77\nkernel_stack 10\npagetables 20\nsock 5\nshmem 300\nslab_reclaimable 4000\n"
V2 += b"slab_unreclaimable 40\nslab 4040\n"
V1 = b"cache 50000\nrss 1\nshmem 2\nswap 3\ntotal_cache 60000\ntotal_rss 1000\ntotal_shmem 300\ntotal_swap 8\n"


def test_what_reclaim_cannot_give_back() -> None:
    """guards 2.4: v2 anon + shmem + swap + unreclaimable kernel; v1 the totals of the subtree; cache is not in it."""
    assert held(V2, b"8\n") == 1000 + 300 + 40 + 10 + 20 + 5 + 8
    assert held(V1, None) == 1308
    assert held(b"cache 5\n", b"8") is None


class Files:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.put("memory.stat", V2)
        self.put("memory.swap.current", b"0\n")
        self.put("memory.current", b"1000000\n")

    def put(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)


@pytest.fixture
def folder(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_memory_stat_is_read_only_when_the_usage_has_moved(folder: Files) -> None:
    """It costs the kernel a sum over all CPUs."""
    group = Group(str(folder.folder), Budget(9))
    assert group.read(0.0)[0] == 1375
    folder.put("memory.stat", V2.replace(b"anon 1000", b"anon 2000"))
    assert group.read(1.0)[0] == 1375
    folder.put("memory.current", b"1000001\n")
    assert group.read(2.0)[0] == 1375
    assert group.read(REREAD)[0] == 2375
    folder.put("memory.stat", V2)
    folder.put("memory.current", b"%d\n" % (1000001 + MOVED))
    assert group.read(REREAD + 0.1)[0] == 1375


def test_a_peak_that_resets_is_the_peak_since_the_last_look(folder: Files) -> None:
    """Linux >= 6.12: each look writes to its own descriptor."""
    folder.put("memory.peak", b"5000000\n")
    group = Group(str(folder.folder), Budget(9))
    assert group.read(0.0)[1] == 5000000
    assert (folder.folder / "memory.peak").read_bytes().startswith(b"r\n")


def test_a_lifetime_peak_speaks_only_when_it_has_risen(folder: Files) -> None:
    """Before 6.12, and v1: it was reached since the last look, or nothing is known."""
    folder.put("memory.max_usage_in_bytes", b"5000000\n")
    group = Group(str(folder.folder), Budget(9))
    assert group.read(0.0)[1] == 5000000
    assert group.read(1.0)[1] is None
    folder.put("memory.max_usage_in_bytes", b"6000000\n")
    assert group.read(2.0)[1] == 6000000


def test_a_group_that_is_gone_is_absent_and_everything_is_given_back(folder: Files) -> None:
    """Absent is never 0."""
    budget = Budget(9)
    group = Group(str(folder.folder / "nowhere"), budget)
    assert group.read(0.0) == (None, None)
    other = Group(str(folder.folder), budget)
    assert budget.used
    other.close()
    other.close()
    assert budget.used == 0


def test_a_real_group_agrees_with_what_was_allocated(contained: Any, launch: Any, tmp_path: Path) -> None:
    """As root, with the kernel's own limit: anonymous memory counts, 60 MiB of a mapped file do not."""
    if (why := contained.machine.host().rungs["memory limit"]) != "yes":
        pytest.skip(f"no memory cgroups for us here: {why}")
    tree = contained.start(launch=launch(memory_hard=300 * MIB))
    meter = contained.machine.meter(tree)
    before = meter.read(1.0)
    contained.tell(tree, "grow", size=50 * MIB)
    after = meter.read(2.0)
    assert abs(after.cgroup_bytes - before.cgroup_bytes - 50 * MIB) < 4 * MIB
    assert after.peak_bytes is None or after.peak_bytes >= 50 * MIB
    big = tmp_path / "file"
    with big.open("wb") as out:
        out.truncate(60 * MIB)
    contained.tell(tree, "map_file", path=str(big))
    assert meter.read(20.0).cgroup_bytes - after.cgroup_bytes < 10 * MIB
    meter.close()
