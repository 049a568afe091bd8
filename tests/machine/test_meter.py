"""A tree under the meter, on the fake and on real processes: who belongs, what is held, how good the number is."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import psutil
import pytest

from midwatch.machine.linux import crowd, handle, meter
from midwatch.machine.linux.adapter import LinuxMachine
from midwatch.machine.ports import Containment, Tree
from midwatch.model.identity import ProcId

MIB = 1 << 20
GIB = 1 << 30


def test_one_process_then_two_then_none(world: Any) -> None:
    """F10: a child in a session of its own counts from the next look on; a sum is an upper bound, nobody is absent."""
    tree = world.start()
    world.ignore(tree)  # answered: it has grown up
    reading = world.machine.meter(tree)
    first = reading.read(1.0)
    assert (first.members, first.at) == (1, 1.0)
    assert first.held.quality == ("exact" if world.machine.counter_error() == 0 else "approximate")
    assert first.held.value == first.largest[1] > 0
    assert first.largest[0] == tree.main.pid
    child = world.child(tree, new_session=True)
    reading.read(2.0)
    both = reading.read(10.0)
    assert both.members == 2
    assert both.held.quality == "upper-bound"
    assert both.held.value > first.held.value
    assert (both.fds, both.fd_limit) == world.machine.open_fds(tree.main.pid)
    os.kill(child, 9) if world.real else world.fake.exit(child)
    world.machine.end(tree, 0, 10)
    world.reap(tree)
    gone = reading.read(11.0)
    assert (gone.held.value, gone.held.quality, gone.members) == (None, "absent", 0)
    reading.close()
    reading.close()


def test_a_daemonised_grandchild_is_found(world: Any) -> None:
    """F10: it fell to the keeper before anybody looked; in time a full look finds it by its marker or group."""
    tree = world.start()
    reading = world.machine.meter(tree)
    reading.read(1.0)
    world.child(tree, new_session=True, double=True)
    reading.read(2.0)
    assert reading.read(2.0 + crowd.LOOK_AGAIN).members == 2
    reading.close()


def test_growth_is_seen_at_the_next_look(linux: Any) -> None:
    """F9: 200 MiB anonymous => the figure rises by 200 +- 10 MiB; psutil's rss less the mapped files agrees."""
    tree = linux.start()
    reading = linux.machine.meter(tree)
    before = reading.read(1.0)
    linux.tell(tree, "grow", size=200 * MIB)
    after = reading.read(1.1)
    assert abs(after.held.value - before.held.value - 200 * MIB) < 10 * MIB
    memory = psutil.Process(tree.main.pid).memory_full_info()
    assert abs(after.held.value - memory.uss) < 10 * MIB
    reading.close()


def test_a_mapped_file_of_2_gib_is_not_held(linux: Any, tmp_path: Path) -> None:
    """S51, F8: the file is mapped and every page of it read; held memory rises by less than 50 MiB, so does its PSS."""
    if psutil.virtual_memory().available < 4 * GIB:
        pytest.skip("less than 4 GiB of memory available")
    file = tmp_path / "big"
    with file.open("wb") as out:
        out.truncate(2 * GIB)
    tree = linux.start()
    reading = linux.machine.meter(tree)
    before = reading.read(1.0).held.value
    linux.tell(tree, "map_file", path=str(file))
    if b"RssShmem:\t       0 kB" not in Path(f"/proc/{tree.main.pid}/status").read_bytes():
        pytest.skip("the temporary folder is itself in memory (tmpfs)")
    assert psutil.Process(tree.main.pid).memory_info().rss > 2 * GIB
    assert reading.read(2.0).held.value - before < 50 * MIB
    assert linux.machine.confirm(tree, 5).value - before < 50 * MIB
    file.unlink()
    reading.close()


def test_swapped_memory_is_held(world: Any) -> None:
    """S52, F11 on the fake: RSS 1 GB and swap 9 GB are 10 GB."""
    if world.real:
        pytest.skip("swaps on the fake only")
    tree = world.start()
    process = world.fake.procs[tree.main.pid]
    process.held_bytes, process.swap_bytes = 10 * GIB, 9 * GIB
    sample = world.machine.meter(tree).read(1.0)
    assert (sample.held.value, sample.swap_bytes) == (10 * GIB, 9 * GIB)


def test_descriptors_threads_cpu_and_io_agree_with_the_oracle(linux: Any) -> None:
    """psutil's num_fds, num_threads, cpu_times and io_counters."""
    tree = linux.start()
    linux.tell(tree, "fds", count=30)
    linux.tell(tree, "grow", size=30 * MIB)
    sample = linux.machine.meter(tree).read(1.0)
    oracle = psutil.Process(tree.main.pid)
    assert (sample.fds, sample.threads) == (oracle.num_fds(), oracle.num_threads())
    times = oracle.cpu_times()
    assert abs(sample.cpu_s - times.user - times.system) < 0.1
    io: Any = oracle.io_counters()
    assert (sample.read_bytes, sample.written_bytes) == (io.read_bytes, io.write_bytes)


def test_what_has_left_stays_in_the_cpu_time(linux: Any) -> None:
    """The tree's counters never fall."""
    tree = linux.start()
    child = linux.child(tree)
    reading = linux.machine.meter(tree)
    both = reading.read(1.0)
    os.kill(child, 9)
    linux.machine.members(tree)
    now = 100.0
    while reading.read(now).members > 1:
        now += 1.0
    assert reading.read(now + 100).cpu_s >= both.cpu_s
    reading.close()


def test_a_sum_taken_while_somebody_came_is_approximate_for_one_look(contained: Any, monkeypatch: Any) -> None:
    """guards 2.3: pids, numbers, pids again; the sum is kept and said to be approximate."""
    tree = contained.start()
    contained.child(tree)
    reading = contained.machine.meter(tree)
    with monkeypatch.context() as patch:
        patch.setattr(crowd.Crowd, "moved", lambda _: True)
        assert reading.read(1.0).held.quality == "approximate"
    assert reading.read(1.1).held.quality == "upper-bound"
    reading.close()


def test_groups_below_the_runs_own_are_members_too(contained: Any) -> None:
    """A service that makes cgroups of its own (a container engine) keeps its children in the sum."""
    tree = contained.start()
    child = contained.child(tree)
    reading = contained.machine.meter(tree)
    assert reading.read(1.0).members == 2
    below = Path(tree.containment.kill, "below")
    below.mkdir()
    (below / "cgroup.procs").write_text(str(child))
    assert reading.read(200.0).members == 2
    contained.child(tree)
    assert reading.read(201.0).members == 3
    reading.close()


def test_a_main_process_that_is_another_is_not_read(linux: Any) -> None:
    """A recycled pid: same number, other start: nobody (H16)."""
    tree = linux.start()
    main = ProcId(tree.main.pid, tree.main.start - 1, tree.main.boot)
    other = Tree("p.other.1", main, "p.other.1", Containment(), tree.keeper)
    sample = linux.machine.meter(other).read(1.0)
    assert (sample.held.quality, sample.members) == ("absent", 0)


def test_without_descriptors_to_spare_the_numbers_are_the_same(linux: Any) -> None:
    """The budget is for all meters together; beyond it everything is read by path."""
    tree = linux.start()
    linux.tell(tree, "grow", size=20 * MIB)
    rich = linux.machine.meter(tree).read(1.0)
    shared = linux.machine._shared()
    used = shared.budget.used
    shared.budget.most = used
    poor = linux.machine.meter(tree)
    assert poor.read(1.0).held == rich.held
    assert shared.budget.used == used
    linux.tell(tree, "grow", size=20 * MIB)
    assert poor.read(2.0).held.value > rich.held.value + 19 * MIB


def test_a_hundred_thousand_looks_leave_nothing(linux: Any, launch: Any) -> None:
    """guards 13 test 12: flat memory and descriptors over 10^5 reads; `close` gives everything back."""
    trees = [linux.start() for _ in range(2)]
    shared = linux.machine._shared()
    readings = [linux.machine.meter(tree) for tree in trees]
    now = 0.0

    def looks(count: int) -> None:
        nonlocal now
        for turn in range(count):
            now += 0.5
            for reading in readings:
                reading.read(now)
            if turn % 1000 == 0:
                linux.tell(trees[0], "grow", size=1000 * turn)

    looks(2000)
    before = len(os.listdir("/proc/self/fd"))
    tracemalloc.start()
    looks(500)
    first = tracemalloc.get_traced_memory()[0]
    looks(48_000)
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    assert grown < 512 << 10  # 5 bytes a look; what is known of others' births is bounded
    assert len(os.listdir("/proc/self/fd")) == before
    for reading in readings:
        reading.close()
    assert shared.budget.used == 0


def test_meters_come_and_go_without_a_trace() -> None:
    """A thousand runs: every descriptor of theirs is given back."""
    machine = LinuxMachine("meters", os.getpid())
    me = machine.identify(os.getppid())
    assert me
    tree = Tree("p.x.1", me, "p.x.1", Containment(), 1)
    machine.meter(tree).close()
    before = len(os.listdir("/proc/self/fd"))
    for turn in range(1000):
        reading = machine.meter(tree)
        if turn % 100 == 0:
            reading.read(float(turn))
        reading.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_hugetlb_pool_makes_status_be_read_each_time(linux: Any, monkeypatch: Any) -> None:
    """Pages from the pool do not move statm."""
    tree = linux.start()
    reading = linux.machine.meter(tree)
    reading.read(1.0)
    process = next(iter(reading._procs.values()))
    process.held = 1
    assert reading.read(1.1).held.value != 1
    process.held = 1
    monkeypatch.setattr(meter.Meters, "huge", lambda *_: True)
    reading.read(1.2)
    assert process.held != 1
    reading.close()


def test_who_is_listed_but_hidden_is_unread_not_nobody(contained: Any, monkeypatch: Any) -> None:
    """Absent has a reason: a /proc that hides others' processes is not an empty tree; a part of it is approximate."""
    tree = contained.start()
    child = contained.child(tree)
    real = handle.Process.__init__

    def hidden(self: Any, pid: int, *facts: Any) -> None:
        if pid in blind:
            raise FileNotFoundError(pid)
        real(self, pid, *facts)

    monkeypatch.setattr(handle.Process, "__init__", hidden)
    blind = {tree.main.pid, child}
    reading = contained.machine.meter(tree)
    nothing = reading.read(1.0)
    assert (nothing.held.value, nothing.held.why, nothing.members) == (None, "no process of the tree could be read", 2)
    blind = {child}
    part = reading.read(1.1)
    assert (part.held.quality, part.members) == ("approximate", 2)
    blind = set()
    assert reading.read(1.2).held.quality == "upper-bound"
    reading.close()


def test_when_the_engine_has_no_descriptor_left_everybody_is_still_read(linux: Any, monkeypatch: Any) -> None:
    """EMFILE is our trouble, not the end of the process: read by path."""
    tree = linux.start()
    opened = os.open

    def full(path: Any, *facts: Any, **more: Any) -> int:
        if str(path).endswith("/statm") and not broken:
            broken.append(path)
            raise OSError(24, "Too many open files")
        return opened(path, *facts, **more)

    broken: list[Any] = []
    monkeypatch.setattr(os, "open", full)
    sample = linux.machine.meter(tree).read(1.0)
    assert broken
    assert sample.members == 1
    assert sample.held.value
