"""The end of a tree, rung by rung: fork bombs, zombie leaders, what is done to those who do not leave."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.machine.conftest import LinuxWorld, open_world

from midwatch.machine import end
from midwatch.machine.fake import FakeMachine
from midwatch.machine.linux.source import LinuxHand
from midwatch.machine.ports import Containment, Tree
from midwatch.machine.procs import Stat
from midwatch.machine.tree import Scanner
from midwatch.model.identity import ProcId


@pytest.mark.parametrize("kind", ["linux-bare", "linux-cgroup"])
def test_g9_a_bounded_fork_bomb_is_ended(kind: str, tmp_path: Path) -> None:
    """guards 13.9: with a cgroup or without, nobody is left of sixty processes that fork, flee and leave."""
    world: Any = open_world("linux", kind.endswith("cgroup"), tmp_path)
    try:
        tree = world.start()
        world.tell(tree, "bomb", width=60)
        most = 0
        for _ in range(500):
            most = max(most, len(world.machine.members(tree)))
            if most > 20:
                break
            time.sleep(0.01)
        assert most > 20, "the bomb did not go off"
        ended = world.machine.end(tree, 0, 9)
        assert ended.left == ()
        assert world.machine.members(tree) == []
        assert ended.verified_by == ("cgroup" if tree.containment.kill else "tree")
    finally:
        world.close()


def test_g8_a_zombie_leader_with_a_living_thread_is_alive(linux: LinuxWorld) -> None:
    """guards 13.8: it holds memory still, it is a member, and `end` does not stop before its threads are gone."""
    tree = linux.start()
    linux.ask("whisper", pid=tree.main.pid, what={"do": "headless"})
    stat = Path(f"/proc/{tree.main.pid}/stat")
    for _ in range(3000):
        if stat.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.01)
    assert stat.read_text().rpartition(")")[2].split()[0] == "Z"
    assert linux.machine.alive(tree.main)
    assert tree.main in linux.machine.members(tree)
    ended = linux.machine.end(tree, 0, 10)
    assert (ended.left, ended.ended) == ((), 1)
    assert not linux.machine.alive(tree.main)
    assert len(os.listdir(f"/proc/{tree.main.pid}/task")) == 1  # the zombie itself, unreaped


class Script:
    """A source and a hand whose members change from look to look."""

    subreaper = True

    def __init__(self, looks: list[set[int]], group: str | None) -> None:
        self.looks = looks
        self.at = -1
        self.did: list[tuple[str, Any]] = []
        self.grouped = group

    def stats(self) -> list[Stat]:
        self.at += 1
        now = self.looks[min(self.at, len(self.looks) - 1)]
        return [Stat(2, "S", 1, 2, 2, 1, 2), *(Stat(pid, "S", 2, 500, 500, 1, pid) for pid in sorted(now))]

    def stat(self, pid: int) -> Stat | None:
        now = self.looks[min(max(self.at, 0), len(self.looks) - 1)]
        return Stat(pid, "S", 2, 500, 500, 1, pid) if pid in now else None

    def marker(self, pid: int) -> str | None:
        return "p.x.1"

    def may_read(self, pid: int) -> bool:
        return True

    def writes_to(self, run: str, pid: int) -> bool:
        return False

    def group(self, directory: str) -> set[int] | None:
        return None

    def send(self, proc: ProcId, signum: int) -> bool:
        self.did.append((signal.Signals(signum).name, proc.pid))
        return True

    def wait(self, procs: list[ProcId], seconds: float) -> None:
        self.did.append(("wait", len(procs)))

    def kill_group(self, directory: str) -> bool:
        self.did.append(("kill group", directory))
        return True

    def freeze_group(self, directory: str, on: bool) -> bool:
        self.did.append(("freeze" if on else "thaw", directory))
        return True

    def group_frozen(self, directory: str) -> bool:
        return True

    def release(self, procs: list[ProcId]) -> None:
        self.did.append(("release", [proc.pid for proc in procs]))

    def thaw_group(self, directory: str) -> None:
        self.did.append(("thaw", directory))

    def group_empty(self, directory: str) -> bool:
        return False


def ended_by(looks: list[set[int]], group: str | None = None) -> tuple[Script, Any]:
    """`end` over these looks, without TERM."""
    script = Script(looks, group)
    tree = Tree("p.x.1", ProcId(900, 100, "b"), "p.x.1", Containment(kill=group), keeper=2, own_group=False)
    return script, end.Ending(Scanner(script, 2, "b"), script, tree).run(0, 5)


def test_g9_two_empty_looks_in_a_row_are_the_proof() -> None:
    """guards 13.9: one that shows up after an empty look begins the count anew."""
    script, ended = ended_by([{500}, {500}, {500}, set(), {501}, {501}, set(), set(), {502}])
    assert ended.left == ()
    assert script.at == 7  # the third, lonely member of the script is never looked for
    assert ("SIGKILL", 500) in script.did
    assert ("SIGKILL", 501) in script.did


def test_who_does_not_leave_loses_his_memory_and_only_he() -> None:
    """guards 6.2: process_mrelease is for those still there a moment after KILL."""
    script, _ = ended_by([{500, 501}, {500, 501}, {500, 501}, {501, 502}, {501, 502}, {501}, set(), set()])
    released = [pids for what, pids in script.did if what == "release"]
    assert released[0] == []
    assert released[1:3] == [[501], [501]]
    assert 502 not in {pid for pids in released for pid in pids}


def test_a_group_is_frozen_before_it_is_killed_and_let_go_after() -> None:
    """guards 6.2: frozen processes still die, and fork no more."""
    script, _ = ended_by([{500}, {500}, set(), set()], "/g")
    order = [what for what, _ in script.did if what in ("freeze", "kill group", "thaw", "SIGKILL")]
    assert order[:3] == ["freeze", "kill group", "SIGKILL"]
    assert order[-1] == "thaw"


def test_a_frozen_member_that_cannot_be_killed_is_named_and_let_go() -> None:
    """Bounded: what is left is said."""
    script = Script([{500}], "/g")
    tree = Tree("p.x.1", ProcId(900, 100, "b"), "p.x.1", Containment(kill="/g"), keeper=2, own_group=False)
    ended = end.Ending(Scanner(script, 2, "b"), script, tree).run(0, 0.05)
    assert [proc.pid for proc in ended.left] == [500]
    assert script.did[-1] == ("thaw", "/g")


def test_the_real_hand_and_the_fake_agree_on_what_there_is() -> None:
    """The fake machine has what the guard's path calls."""
    for name in ("freeze", "thaw", "stopped", "scene", "stills", "rehearse", "oom_by"):
        assert callable(getattr(FakeMachine(), name))
    assert LinuxHand().releaser.why == ""
