"""The leaf of a delegated cgroup: moved into only where a manager gave us the group, and nobody else's process with us.

On this machine with real v2 groups where they can be made (no controller is needed for that); memory limits below a
real systemd unit with Delegate=yes need a pure v2 machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from midwatch.machine.linux import files, leaf
from midwatch.machine.linux.adapter import LinuxMachine
from midwatch.machine.linux.cgroup import Cgroups


@pytest.fixture
def group() -> Iterator[Path]:
    """A real v2 group of our own, removed afterwards."""
    own = Cgroups("leaf")._unified
    if own is None or not os.access(own, os.W_OK):
        pytest.skip("no cgroup v2 hierarchy that we may write")
    path = Path(own, f"leaf-test-{os.getpid()}")
    path.mkdir()
    yield path
    for folder in (path / leaf.LEAF, path):
        if folder.exists():
            folder.rmdir()


@pytest.fixture
def delegated(group: Path) -> Path:
    """As systemd marks it."""
    for name in ("trusted.delegate", "user.delegate"):
        try:
            os.setxattr(group, name, b"1")
            return group
        except OSError:
            continue
    pytest.skip("cgroups take no extended attributes here")


@pytest.fixture
def pair() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keeper and engine, played by two who wait."""
    argv = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"]
    started = [subprocess.Popen(argv, stdin=subprocess.PIPE) for _ in range(3)]
    yield started
    for process in started:
        process.kill()
        process.communicate(timeout=30)


def put(group: Path, *processes: subprocess.Popen[bytes]) -> list[int]:
    for process in processes:
        (group / "cgroup.procs").write_text(str(process.pid))
    return [process.pid for process in processes]


def inside(group: Path) -> set[int]:
    return {int(word) for word in (group / "cgroup.procs").read_text().split()}


def test_our_two_processes_move_into_the_leaf(delegated: Path, pair: Any) -> None:
    """Delegate=yes: the group itself is left empty, so that it can have controllers; once is enough."""
    ours = put(delegated, *pair[:2])
    words = leaf.settle(str(delegated), ours)
    assert words == f"moved into {delegated}/midwatch: runs get their groups beside it"
    assert inside(delegated) == set()
    assert inside(delegated / "midwatch") == set(ours)
    assert leaf.settle(str(delegated), ours) == ""
    assert leaf.above(str(delegated / "midwatch")) == str(delegated)
    leave(pair)


def leave(pair: Any) -> None:
    """Out of the group, so that it can be removed: by ending."""
    for process in pair:
        process.kill()
        process.wait(30)


def test_others_in_the_group_are_not_moved(delegated: Path, pair: Any) -> None:
    """Runs of an earlier daemon or a shell's child: they stay, we stay, and it is said why there are no limits."""
    ours = put(delegated, *pair[:2])
    put(delegated, pair[2])
    words = leaf.settle(str(delegated), ours)
    assert f"pid {pair[2].pid}" in words
    assert inside(delegated) == {*ours, pair[2].pid}
    assert not (delegated / "midwatch").exists()
    leave(pair)


def test_runs_in_their_own_groups_do_not_matter(delegated: Path, pair: Any) -> None:
    """A run that outlived an earlier daemon sits in a group of its own: left there, and we move."""
    run = delegated / "midwatch-x"
    run.mkdir()
    put(run, pair[2])
    ours = put(delegated, *pair[:2])
    assert leaf.settle(str(delegated), ours).startswith("moved")
    assert inside(run) == {pair[2].pid}
    leave(pair)
    run.rmdir()


def test_a_group_nobody_delegated_is_left_alone(group: Path, pair: Any) -> None:
    """As root we could write anywhere: being able to is no permission."""
    ours = put(group, *pair[:2])
    if os.geteuid() == 0:
        assert leaf.why_not(str(group)) == "no manager has delegated it to us"
        assert leaf.settle(str(group), ours) == ""
        assert inside(group) == set(ours)
        (group / "midwatch").mkdir()
        assert leaf.above(str(group / "midwatch")) == str(group / "midwatch")
    leave(pair)


def test_a_move_that_fails_is_undone(delegated: Path, pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """EBUSY, ENOSPC, EACCES in the middle: as if nothing had been tried, and said."""
    ours = put(delegated, *pair[:2])
    real = files.write
    calls: list[str] = []

    def second_fails(path: str, text: str) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(16, "Device or resource busy", path)
        real(path, text)

    monkeypatch.setattr(files, "write", second_fails)
    words = leaf.settle(str(delegated), ours)
    assert words.endswith("Device or resource busy")
    assert inside(delegated) == set(ours)
    assert not (delegated / "midwatch").exists()
    leave(pair)


def test_the_root_of_the_hierarchy_is_nobodys(tmp_path: Path) -> None:
    """No cgroup.events: the real root; a plain folder is no cgroup either."""
    assert leaf.why_not(str(tmp_path)) == "it is the root of the hierarchy"
    assert leaf.above(str(tmp_path / "midwatch")) == str(tmp_path / "midwatch")
    assert leaf.above(None) is None


def test_settle_does_nothing_on_this_kind_of_machine() -> None:
    """v1 and hybrid machines have no such rule."""
    machine = LinuxMachine("settle", os.getpid())
    before = Path("/proc/self/cgroup").read_text()
    if "memory" in before:
        assert machine.settle() == ""
    assert Path("/proc/self/cgroup").read_text() == before or "midwatch" in Path("/proc/self/cgroup").read_text()
