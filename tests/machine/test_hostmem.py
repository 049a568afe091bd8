"""The machine's memory on recorded files, and the pressure trigger on this kernel (F12, guards 2.4, 5, 13 test 6)."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from midwatch.machine.linux.hostmem import HostMemory, pressure_shares

GIB = 1 << 30
MEMINFO = """MemTotal:       {total} kB
MemFree:         1000 kB
MemAvailable:   5000000 kB
AnonPages:       777 kB
SwapTotal:       2000 kB
SwapFree:        1500 kB
"""
PSI = "some avg10=1.25 avg60=0.50 avg300=0.10 total=5\nfull avg10=0.75 avg60=0.20 avg300=0.00 total=3\n"
V1_NONE = 9223372036854771712


class Machine:
    """A recorded /proc and /sys/fs/cgroup. `v2`, `v1`: path of our group -> text of its limit file."""

    def __init__(self, folder: Path, total: int = 126 * GIB) -> None:
        self.folder = folder
        self.proc = folder / "proc"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "pressure").mkdir()
        (self.proc / "meminfo").write_text(MEMINFO.format(total=total // 1024))
        (self.proc / "pressure" / "memory").write_text(PSI)
        self.mounts: list[str] = []
        self.own: list[str] = []
        self.write()

    def write(self) -> None:
        (self.proc / "self" / "mountinfo").write_text("".join(self.mounts))
        (self.proc / "self" / "cgroup").write_text("".join(self.own))

    def v2(self, own: str, limits: dict[str, str], root: str = "/") -> None:
        top = self.folder / "v2"
        self.mounts.append(f"40 1 0:30 {root} {top} rw - cgroup2 cgroup2 rw\n")
        self.own.append(f"0::{own}\n")
        for path, text in limits.items():
            (top / path).mkdir(parents=True, exist_ok=True)
            (top / path / "memory.max").write_text(text + "\n")
        self.write()

    def v1(self, own: str, files: dict[str, str]) -> None:
        top = self.folder / "v1"
        self.mounts.append(f"41 1 0:31 / {top} rw - cgroup cgroup rw,memory\n")
        self.own.append(f"4:memory:{own}\n")
        for path, text in files.items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_text(text + "\n")
        self.write()

    def memory(self) -> HostMemory:
        return HostMemory(str(self.proc))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_sample_has_every_number_and_says_whose(machine: Machine) -> None:
    """guards 2.4: MemAvailable, swap and both shares of pressure, of the host."""
    sample = machine.memory().sample(5.0)
    assert (sample.at, sample.total_bytes, sample.available_bytes) == (5.0, 126 * GIB, 5000000 * 1024)
    assert (sample.swap_total_bytes, sample.swap_free_bytes) == (2048000, 1536000)
    assert (sample.some, sample.full, sample.world) == (1.25, 0.75, "host")
    assert (sample.limit_bytes, sample.limit_source, sample.limit_used_bytes) == (
        126 * GIB, "MemTotal of the host", None,
    )  # fmt: skip


def test_a_4_gib_cgroup_on_a_126_gib_host_is_the_basis(machine: Machine) -> None:
    """F12: cgroup-limited, with the file that says so and what is used of it."""
    machine.v2("/a/b", {"": "max", "a": str(4 * GIB), "a/b": "max"})
    (machine.folder / "v2/a/memory.stat").write_text("anon 1000\nshmem 24\n")
    memory = machine.memory()
    limit, source = memory.basis()
    assert limit == 4 * GIB
    assert source == f"cgroup-limited: {machine.folder}/v2/a/memory.max"
    sample = memory.sample(1.0)
    assert (sample.limit_bytes, sample.limit_used_bytes, sample.total_bytes) == (4 * GIB, 1024, 126 * GIB)


def test_the_smallest_of_all_ancestors_counts(machine: Machine) -> None:
    """guards 2.4: not the nearest."""
    machine.v2("/a/b/c", {"a": str(8 * GIB), "a/b": str(2 * GIB), "a/b/c": str(6 * GIB)})
    assert machine.memory().basis()[0] == 2 * GIB


def test_in_a_container_the_visible_root_counts(machine: Machine) -> None:
    """The mount shows our own group as its root."""
    machine.v2("/docker/1", {"": str(3 * GIB)}, root="/docker/1")
    assert machine.memory().basis()[0] == 3 * GIB


@pytest.mark.parametrize("size", [8, 16, 32, 126])
def test_v1_without_a_limit_is_the_host(tmp_path: Path, size: int) -> None:
    """F12: the sentinel of v1 is none; so is a limit above what there is."""
    machine = Machine(tmp_path, size * GIB)
    machine.v1("/x", {"x/memory.stat": f"cache 1\nhierarchical_memory_limit {V1_NONE}"})
    assert machine.memory().basis() == (size * GIB, "MemTotal of the host")
    (tmp_path / "v1/x/memory.stat").write_text(f"hierarchical_memory_limit {500 * GIB}\n")
    assert machine.memory().basis()[0] == size * GIB


def test_v1_tells_the_limit_of_its_whole_ancestry(machine: Machine) -> None:
    """hierarchical_memory_limit; limit_in_bytes where it is missing."""
    machine.v1("/x", {"x/memory.stat": f"hierarchical_memory_limit {5 * GIB}"})
    assert machine.memory().basis()[0] == 5 * GIB
    (machine.folder / "v1/x/memory.stat").write_text("cache 1\n")
    (machine.folder / "v1/x/memory.limit_in_bytes").write_text(f"{6 * GIB}\n")
    assert machine.memory().basis()[0] == 6 * GIB


def test_what_is_not_readable_is_absent(tmp_path: Path) -> None:
    """Never 0, never an exception."""
    sample = HostMemory(str(tmp_path)).sample(1.0)
    assert (sample.total_bytes, sample.available_bytes, sample.some, sample.limit_bytes) == (None, None, None, None)
    assert HostMemory(str(tmp_path)).trigger() is None
    assert pressure_shares(b"some avg10=x avg60=1\nfull") == (None, None)


def test_this_machine_agrees_with_the_oracle() -> None:
    """psutil's total, swap and (nearly) available."""
    sample = HostMemory().sample(1.0)
    theirs = psutil.virtual_memory()
    assert sample.total_bytes == theirs.total
    assert sample.swap_total_bytes == psutil.swap_memory().total
    assert sample.available_bytes
    assert abs(sample.available_bytes - theirs.available) < GIB
    assert sample.limit_bytes
    assert sample.limit_bytes <= theirs.total



@contextmanager
def nobody() -> Iterator[None]:
    """Without any capability, if we have them."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_without_privilege_only_windows_of_2_s_are_accepted() -> None:
    """guards 13 test 6: EINVAL for 1 s falls back to 2 s, and where that fails to polling (None)."""
    if not os.path.exists("/proc/pressure/memory"):
        pytest.skip("no pressure information here")
    with nobody():
        memory = HostMemory()
        if not os.access("/proc/pressure/memory", os.W_OK, effective_ids=True):
            assert memory.trigger() is None
            return
        assert memory.trigger(windows=(1_000_000,)) is None
        fd = memory.trigger(windows=(1_000_000, 2_000_000))
    if fd is None:
        pytest.skip("this kernel lets nobody without privilege listen")
    os.close(fd)


def test_the_trigger_can_be_waited_for() -> None:
    """A descriptor for POLLPRI; an epoll over it is what an event loop can read."""
    fd = HostMemory().trigger()
    if fd is None:
        pytest.skip("no pressure trigger for us here")
    with select.epoll() as waiting:
        waiting.register(fd, select.EPOLLPRI)
        assert waiting.poll(0) in ([], [(fd, select.EPOLLPRI)])
    os.close(fd)


def test_a_refused_trigger_leaks_nothing(machine: Machine) -> None:
    """Twenty refusals, no descriptor more."""
    os.chmod(machine.proc / "pressure/memory", 0o400)
    memory = HostMemory()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with nobody():
            assert memory.trigger(windows=(1_000_001,)) is None
    assert len(os.listdir("/proc/self/fd")) == before
