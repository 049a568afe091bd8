"""A tree stands still and goes on; what stood still before goes on standing still. And what is read meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from midwatch.machine.linux import scene
from midwatch.machine.linux.adapter import LinuxMachine


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def becomes(pid: int, states: str) -> bool:
    """A stop is carried out when the process is next looked at by the kernel."""
    for _ in range(2000):
        if state(pid) in states:
            return True
        time.sleep(0.002)
    return False


def test_a_tree_is_frozen_and_thawed(world: Any) -> None:
    """By its group where it has one, else by a stop to each."""
    tree = world.start()
    child = world.child(tree)
    how = world.machine.freeze(tree)
    assert how == ("cgroup" if tree.containment.kill else "stop")
    if how == "stop":
        pids = {proc.pid for proc in world.machine.stopped(tree)} if not world.real else {tree.main.pid, child}
        assert {tree.main.pid, child} <= pids
        assert not world.real or all(becomes(pid, "T") for pid in pids)
    elif world.real:
        assert "frozen 1" in Path(tree.containment.kill, "cgroup.events").read_text()
    world.machine.thaw(tree)
    if world.real:
        assert all(becomes(pid, "SR") for pid in (tree.main.pid, child))
    assert world.machine.stopped(tree) == ()


def test_who_stood_still_before_does_so_after(world: Any) -> None:
    """A process that a person has stopped is spared."""
    tree = world.start()
    child = world.child(tree)
    world.stop(child)
    assert not world.real or becomes(child, "T")
    spare = world.machine.stopped(tree)
    assert [proc.pid for proc in spare] == [child]
    world.machine.freeze(tree)
    world.machine.thaw(tree, spare)
    assert [proc.pid for proc in world.machine.stopped(tree)] == [child]


def test_a_frozen_tree_can_be_ended(world: Any) -> None:
    """Whoever froze it may die before the thaw."""
    tree = world.start()
    world.child(tree)
    world.machine.freeze(tree)
    assert world.machine.end(tree, 0, 10).left == ()


def test_nobody_is_frozen_where_nobody_is(world: Any) -> None:
    """"" and no error."""
    tree = world.start()
    world.machine.end(tree, 0, 10)
    assert world.machine.freeze(tree) in ("", "cgroup")
    world.machine.thaw(tree)


def test_the_scene_is_told_in_time_and_as_json(linux: Any) -> None:
    """guards 10, stage 1: limits, shared memory, the host; nothing of an environment."""
    tree = linux.start()
    linux.child(tree)
    told = linux.machine.scene(tree, 1.0)
    text = json.dumps(told)
    assert "MIDWATCH_RUN" not in text
    assert any(line.startswith("Max open files") for line in told["limits"])
    assert told["rollup"][str(tree.main.pid)]["Rss"] > 1 << 20
    assert told["host"]["memory"]["MemTotal"] > 1 << 28
    assert 1 <= len(told["host"]["largest"]) <= 10
    late = linux.machine.scene(tree, 0.0)
    assert late["rollup"] == {}
    assert any("out of time" in line for line in late["missing"])


def test_a_paused_tree_shows_its_mappings_and_where_it_is_in_the_kernel(linux: Any) -> None:
    """guards 10, stage 2: the twenty largest; kernel stacks for root only, said otherwise."""
    tree = linux.start()
    linux.tell(tree, "grow", size=32 << 20)
    linux.machine.freeze(tree)
    told = linux.machine.stills(tree, 2.0)
    linux.machine.thaw(tree)
    maps = told["maps"][str(tree.main.pid)]
    assert len(maps) <= 20
    assert maps == sorted(maps, key=lambda one: -one["bytes"])
    assert maps[0]["bytes"] >= 32 << 20
    if os.geteuid():
        assert told["missing"] == ["kernel stacks: only root may read them"]
    else:
        assert told["stacks"][f"{tree.main.pid}/{tree.main.pid}"]


def test_mappings_of_one_file_are_taken_together() -> None:
    """A library is several lines; odd lines are left out."""
    data = (
        b"00400000-00401000 r--p 0 08:01 7 /lib/a b.so\n00402000-00404000 r--p 0 08:01 7 /lib/a b.so\n"
        b"10000000-20000000 rw-p 0 00:00 0 \nnonsense\n\xff\xfe\n7f-zz r--p 0 0 0\n"
    )
    assert scene.mappings(data) == [
        {"bytes": 0x10000000, "count": 1, "rights": "rw-p", "what": "anonymous"},
        {"bytes": 0x3000, "count": 2, "rights": "r--p", "what": "/lib/a b.so"},
    ]


def test_the_rehearsal_says_each_rung_and_leaves_nothing(tmp_path: Path) -> None:
    """guards 6.2: freeze, kill and reap a dummy tree within a second or so; no process, no group is left."""
    machine = LinuxMachine(f"rehearsal-{os.getpid()}", os.getpid())
    before = {name for name in os.listdir("/proc") if name.isdigit()}
    told = machine.rehearse()
    assert set(told) == {"freeze", "kill", "reap", "memory release", "rehearsal"}
    assert (told["reap"], told["rehearsal"]) == ("yes", "yes")
    cgroups = machine.host().rungs["cgroup"] == "yes"
    assert told["freeze"] == "yes" if cgroups else told["freeze"].startswith("SIGSTOP only: ")
    assert told["kill"] == "yes" if cgroups else told["kill"].startswith("one by one: ")
    marker = b"MIDWATCH_RUN=midwatch.rehearsal.0"
    for name in {name for name in os.listdir("/proc") if name.isdigit()} - before:
        try:
            assert marker not in Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
    assert machine.leftover("midwatch.rehearsal.0").dirs == ()


FROZEN = """
import os, sys
from midwatch.machine import pause
from midwatch.machine.linux import adapter

def frozen_for_ever(scanner, hand, tree):
    how = was(scanner, hand, tree)
    print(*(proc.pid for proc in machine.members(tree)), flush=True)
    sys.stdin.read()
    return how

was, pause.freeze = pause.freeze, frozen_for_ever
machine = adapter.LinuxMachine(f"dies-{os.getpid()}", os.getpid())
machine._cgroups.make = lambda *_: adapter.Containment(why_not="none, for this test")
machine.rehearse()
"""


def test_who_dies_in_its_rehearsal_leaves_nobody_standing_still() -> None:
    """kill -9 while the dummies are stopped, where there is no cgroup: they do not see the end of the pipe, the warden
    does (found by the leftovers of a whole test run as an unprivileged user)."""
    ours = subprocess.Popen(
        [sys.executable, "-c", FROZEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    with ours:
        assert ours.stdout is not None
        dummies = [int(word) for word in ours.stdout.readline().split()]
        assert len(dummies) == 2
        assert [state(pid) for pid in dummies] == ["T", "T"] or all(becomes(pid, "T") for pid in dummies)
        ours.kill()
    assert all(gone(pid) for pid in dummies)


def gone(pid: int) -> bool:
    for _ in range(2000):
        try:
            if state(pid) == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.005)
    return False


def test_a_rehearsal_that_cannot_begin_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more processes: one line, no exception."""
    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "posix_spawn", refuse)
    told = LinuxMachine(f"refused-{os.getpid()}", os.getpid()).rehearse()
    assert "Resource temporarily unavailable" in told["rehearsal"]


def test_the_dummies_leave_with_us(tmp_path: Path) -> None:
    """Killed in the middle of a rehearsal, we leave nobody behind: the dummies wait for a pipe that we hold."""
    code = (
        "import os, signal, sys\nfrom midwatch.machine.linux import rehearsal\n"
        "waiting, hold = os.pipe()\npid = rehearsal._dummies('midwatch.rehearsal.x', waiting)\n"
        "print(pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    pid = int(done.stdout)
    for _ in range(3000):
        if not Path(f"/proc/{pid}").exists() or state(pid) == "Z":
            return
        time.sleep(0.01)
    raise AssertionError("the dummy is still there")
