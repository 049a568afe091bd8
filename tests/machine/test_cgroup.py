"""Containment: where our groups are, why there are none, the kernel's own OOM kill, and a v2 machine on paper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from midwatch.machine.linux import cgroup, pidfd
from midwatch.machine.linux.adapter import LinuxMachine
from midwatch.machine.ports import Containment

MIB = 1 << 20
FILES = {
    "cgroup.procs": "", "cgroup.events": "populated 0\nfrozen 0\n", "cgroup.controllers": "memory pids",
    "cgroup.subtree_control": "", "memory.max": "max", "memory.swap.max": "max", "memory.oom.group": "0",
    "memory.events": "oom_kill 0\n",
}  # fmt: skip


def rung(name: str) -> str:
    return LinuxMachine("probe", os.getpid()).host().rungs[name]


def proc_with(tmp: Path, mountinfo: str, own: str) -> str:
    os.makedirs(tmp / "proc/self")
    (tmp / "proc/self/mountinfo").write_text(mountinfo)
    (tmp / "proc/self/cgroup").write_text(own)
    return str(tmp / "proc")


@pytest.fixture
def v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pure v2 hierarchy made of plain files: mkdir fills a group, rmdir refuses one that is populated."""
    mkdir, rmdir = os.mkdir, os.rmdir

    def fill(path: str, mode: int = 0o777) -> None:
        mkdir(path, mode)
        for name, content in FILES.items():
            Path(path, name).write_text(content)

    def empty(path: str) -> None:
        if Path(path, "cgroup.procs").read_text().strip() or any(
            entry.is_dir() for entry in os.scandir(path)
        ):
            raise OSError(16, "busy")
        for name in FILES:
            Path(path, name).unlink()
        rmdir(path)

    fill(str(tmp_path / "own"))
    monkeypatch.setattr(os, "mkdir", fill)
    monkeypatch.setattr(os, "rmdir", empty)
    return tmp_path


def test_a_real_oom_kill_is_counted_and_named(linux: Any, launch: Any) -> None:
    """A 64 MiB limit and a process that wants 200: the kernel ends it, the counter says 1, the log names it."""
    if (why := rung("memory limit")) != "yes":
        pytest.skip(f"no memory limit here: {why}")
    since = linux.machine.now().awake
    tree = linux.start(launch=launch(memory_hard=64 * MIB))
    assert tree.containment.memory
    assert linux.machine.oom_kills(tree.containment) == 0
    fd = pidfd.open_checked(tree.main)
    assert fd is not None
    linux.tell(tree, "grow", size=200 * MIB)
    os.close(fd)
    assert linux.reap(tree) == 9
    assert linux.machine.oom_kills(tree.containment) == 1
    line = linux.machine.kernel_oom({tree.main.pid}, since)
    if line is not None:  # the log may be unreadable, or the pids of another namespace
        assert f"Killed process {tree.main.pid}" in line
    assert linux.machine.kernel_oom({2**22 + 5}, since) is None
    assert linux.machine.kernel_oom({tree.main.pid}, since + 10**7) is None


def test_a_leftover_group_is_made_anew(launch: Any) -> None:
    """A fresh group has fresh counters; an empty leftover of a dead run is replaced, not reused."""
    machine = LinuxMachine(f"left-{os.getpid()}", os.getpid())
    if (why := machine.host().rungs["cgroup"]) != "yes":
        pytest.skip(f"no cgroups for us here: {why}")
    first = machine.contain("p.x.1", launch())
    os.mkdir(f"{first.kill}/made-by-the-run")
    again = machine.contain("p.x.1", launch())
    assert again == first
    assert not os.path.exists(f"{first.kill}/made-by-the-run")
    machine.release(again)
    assert not os.path.exists(os.path.dirname(first.kill or ""))


def test_our_groups_lie_below_our_own(launch: Any) -> None:
    """The base is named after the instance; a name with odd characters cannot leave it."""
    machine = LinuxMachine(f"a/../b {os.getpid()}", os.getpid())
    if machine.host().rungs["cgroup"] != "yes":
        pytest.skip("no cgroups for us here")
    made = machine.contain("p.x.1", launch())
    assert made.kill
    assert made.kill.endswith(f"/midwatch-a-..-b-{os.getpid()}/p.x.1")
    machine.release(made)
    for run in ("", ".", "..", "a/b"):
        with pytest.raises(OSError, match="cannot name"):
            machine.contain(run, launch())


def test_a_damaged_record_cannot_remove_anything_else(tmp_path: Path) -> None:
    """release() touches only cgroup directories below a base of ours, whatever a record says."""
    victim = tmp_path / "midwatch-x" / "run"
    victim.mkdir(parents=True)
    (tmp_path / "other").mkdir()
    machine = LinuxMachine("x", os.getpid())
    machine.release(Containment(str(victim), str(tmp_path / "other")))
    machine.release(Containment("/", "relative"))
    assert victim.exists()
    assert (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("mountinfo", "own", "words"),
    [
        ("", "0::/\n", "no cgroup v2"),
        ("1 0 0:1 / {tmp} rw - cgroup2 cgroup2 rw\n", "", "no cgroup v2"),
        ("1 0 0:1 / {tmp} rw - cgroup2 cgroup2 rw\n", "0::/gone\n", "does not exist"),
        ("1 0 0:1 /docker/1 {tmp} rw - cgroup2 cgroup2 rw\n", "0::/other\n", "no cgroup v2"),
        ("1 0 0:1 / {tmp} rw - cgroup2 cgroup2 rw\n", "0::/../x\n", "no cgroup v2"),
        ("1 0 0:1 / /proc rw - cgroup2 cgroup2 rw\n", "0::/\n", "not writable"),
    ],
)
def test_why_there_is_no_cgroup(tmp_path: Path, mountinfo: str, own: str, words: str) -> None:
    """Each way of not having one is said in words and never raises."""
    found = cgroup.Cgroups("i", proc_with(tmp_path, mountinfo.replace("{tmp}", str(tmp_path)), own))
    assert words in found.kill_why
    made = found.make("p.x.1", 1, demand=False)
    assert made.dirs == ()
    assert "kill: " in made.why_not
    with pytest.raises(OSError, match=words):
        found.make("p.x.1", None, demand=True)


def test_a_pure_v2_machine_has_one_group_for_both(v2: Path) -> None:
    """kill and memory name the same directory; controllers are switched on from our group down; a quarter may be
    swapped, and who runs out of memory goes as a whole."""
    proc = proc_with(v2, f"40 23 0:30 / {v2} rw - cgroup2 cgroup2 rw\n", "0::/own\n")
    groups = cgroup.Cgroups("i", proc)
    made = groups.make("p.x.1", 64 * MIB, demand=True)
    assert made == Containment(f"{v2}/own/midwatch-i/p.x.1", f"{v2}/own/midwatch-i/p.x.1")
    assert made.dirs == (made.kill,)
    assert Path(made.memory or "", "memory.max").read_text() == str(64 * MIB)
    assert Path(made.memory or "", "memory.swap.max").read_text().startswith(str(16 * MIB))
    assert Path(made.memory or "", "memory.oom.group").read_text().startswith("1")
    assert "+memory" in Path(v2, "own/midwatch-i/cgroup.subtree_control").read_text()
    assert cgroup.populated(made.kill or "") is False
    assert cgroup.oom_kills(made.memory or "") == 0
    groups.release(made)
    assert not Path(v2, "own/midwatch-i").exists()


def test_a_v2_group_without_the_controller_says_so(v2: Path) -> None:
    """The memory line is refused or reported; kill, freeze and events are there all the same."""
    Path(v2, "own/cgroup.controllers").write_text("pids")
    groups = cgroup.Cgroups("i", proc_with(v2, f"40 23 0:30 / {v2} rw - cgroup2 cgroup2 rw\n", "0::/own\n"))
    made = groups.make("p.x.1", 1, demand=False)
    assert made.kill
    assert made.memory is None
    assert "memory controller" in made.why_not
    with pytest.raises(OSError, match="memory controller"):
        groups.make("p.x.2", 1, demand=True)
    assert not Path(v2, "own/midwatch-i/p.x.2").exists()


def test_a_pid_that_is_none_is_never_written() -> None:
    """0 in cgroup.procs would move us."""
    with pytest.raises(OSError, match="no process"):
        cgroup.place("/nowhere", 0)
