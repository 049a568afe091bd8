"""Two worlds for one contract: the fake machine, and this Linux with real children below a real subreaper.

A world starts runs and lets them misbehave; the tests speak only to `world.machine` and to these few verbs.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from midwatch.machine.fake import FakeMachine
from midwatch.machine.linux import pidfd
from midwatch.machine.linux.adapter import LinuxMachine
from midwatch.machine.ports import Containment, Machine, Tree
from midwatch.model.service import Launch

PUPPET = Path(__file__).with_name("puppet.py")
_counter = itertools.count(1)


class World(Protocol):
    machine: Machine
    contained: bool  # runs get cgroups, where the machine has them
    real: bool
    fifos: Path

    def start(self, *, own_group: bool = True, launch: Launch | None = None) -> Tree: ...
    def child(self, tree: Tree, **how: bool) -> int: ...
    def racer(self, tree: Tree) -> None: ...
    def ignore(self, tree: Tree) -> None: ...
    def leave(self, tree: Tree, code: int) -> None: ...
    def reap(self, tree: Tree) -> int | None: ...
    def stop(self, pid: int) -> None: ...
    def freeze(self, tree: Tree) -> None: ...
    def listen(self, tree: Tree) -> int: ...
    def heir(self, tree: Tree) -> tuple[int, int]: ...
    def close(self) -> None: ...


HOW = {"new_session": False, "double": False, "clear_env": False, "ignore_term": False, "quiet": False}


def a_launch(**facts: Any) -> Launch:
    return Launch(**{"argv": ("sleep", "1"), "cwd": "/", "env": {"PATH": "/usr/bin:/bin"}, **facts})


class FakeWorld:
    def __init__(self, contained: bool) -> None:
        self.fake = FakeMachine(cgroups=contained)
        self.machine: Machine = self.fake
        self.contained = contained
        self.real = False
        self.fifos = Path("/fake/fifo")

    def start(self, *, own_group: bool = True, launch: Launch | None = None) -> Tree:
        run = f"p.x.{next(_counter)}"
        containment = self.machine.contain(run, launch or a_launch())
        main = self.fake.spawn(env={"MIDWATCH_RUN": run}, fifo_of=run)
        assert self.machine.place([(containment, main.pid)]) == [None]
        return Tree(run, main, run, containment, self.fake.keeper, own_group)

    def child(self, tree: Tree, **how: bool) -> int:
        how = {**HOW, **how}
        facts: dict[str, Any] = {"new_session": how["new_session"]}
        if how["clear_env"]:
            facts["env"] = {}
        if how["quiet"]:
            facts["fifo_of"] = ""
        if how["ignore_term"]:
            facts["ignores"] = {signal.SIGTERM}
        parent = tree.main.pid
        if how["double"]:
            parent = self.fake.fork(parent, new_session=facts.pop("new_session")).pid
        pid = self.fake.fork(parent, **facts).pid
        if how["double"]:
            self.fake.exit(parent)
        return pid

    def racer(self, tree: Tree) -> None:
        self.fake.fork(tree.main.pid)

    def ignore(self, tree: Tree) -> None:
        self.fake.procs[tree.main.pid].ignores = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}

    def leave(self, tree: Tree, code: int) -> None:
        self.fake.exit(tree.main.pid, code)

    def reap(self, tree: Tree) -> int | None:
        return self.fake.reap(tree.main.pid)

    def stop(self, pid: int) -> None:
        self.fake.procs[pid].stopped = True

    def freeze(self, tree: Tree) -> None:
        assert tree.containment.kill
        self.fake.frozen.add(tree.containment.kill)

    def listen(self, tree: Tree) -> int:
        port = 20000 + next(_counter)
        self.fake.listen(tree.main.pid, port)
        return port

    def heir(self, tree: Tree) -> tuple[int, int]:
        port = 20000 + next(_counter)
        return self.fake.hand_over(tree.main.pid, port).pid, port

    def close(self) -> None:
        pass


class LinuxWorld:
    """Real processes. `contained` False: as where no cgroup is to be had."""

    def __init__(self, contained: bool, tmp: Path) -> None:
        self.contained = contained
        self.real = True
        self.fifos = tmp / "fifo"
        self.fifos.mkdir()
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(PUPPET), "keeper"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.linux = LinuxMachine(f"test-{os.getpid()}-{next(_counter)}", self._keeper.pid)
        self.machine: Machine = self.linux
        self.trees: list[Tree] = []
        self._reaped: set[int] = set()

    def ask(self, do: str, **facts: Any) -> Any:
        assert self._keeper.stdin
        assert self._keeper.stdout
        self._keeper.stdin.write(json.dumps({"do": do, **facts}) + "\n")
        self._keeper.stdin.flush()
        return json.loads(self._keeper.stdout.readline())

    def tell(self, tree: Tree, do: str, **facts: Any) -> Any:
        return self.ask("tell", pid=tree.main.pid, what={"do": do, **facts})

    def start(self, *, own_group: bool = True, launch: Launch | None = None) -> Tree:
        run = f"p.x.{next(_counter)}"
        launch = launch or a_launch(contain="auto" if self.contained else "none")
        containment = self.machine.contain(run, launch)
        fifo = self.fifos / f"{run}.err"
        os.mkfifo(fifo)
        pid = self.ask("spawn", env={"MIDWATCH_RUN": run}, own_group=own_group, out=str(fifo))
        wait_environ(pid)
        main = self.machine.identify(pid)
        assert main
        tree = Tree(run, main, run, containment, self._keeper.pid, own_group)
        self.trees.append(tree)
        assert self.machine.place([(containment, pid)]) == [None]
        return tree

    def child(self, tree: Tree, **how: bool) -> int:
        return int(self.tell(tree, "child", **{**HOW, **how}))

    def racer(self, tree: Tree) -> None:
        self.tell(tree, "racer", generations=4000)

    def ignore(self, tree: Tree) -> None:
        self.tell(tree, "ignore")

    def leave(self, tree: Tree, code: int) -> None:
        fd = pidfd.open_checked(tree.main)
        assert fd is not None
        self.tell(tree, "leave", code=code)
        wait_readable(fd)
        os.close(fd)

    def reap(self, tree: Tree) -> int | None:
        self._reaped.add(tree.main.pid)
        status = self.ask("reap", pid=tree.main.pid)
        return None if status is None else int(status)

    def stop(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)

    def freeze(self, tree: Tree) -> None:
        Path(tree.containment.kill or "", "cgroup.freeze").write_text("1")

    def listen(self, tree: Tree) -> int:
        return int(self.tell(tree, "listen", host="127.0.0.1"))

    def heir(self, tree: Tree) -> tuple[int, int]:
        pid, port = self.tell(tree, "heir", host="127.0.0.1")
        self.leave(tree, 0)
        return int(pid), int(port)

    def close(self) -> None:
        for tree in self.trees:
            self.machine.end(tree, 0, 10)
            if tree.main.pid not in self._reaped:
                self.ask("reap", pid=tree.main.pid)
            self.machine.release(tree.containment)
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            assert pipe
            pipe.close()
        self._keeper.wait(30)


def wait_environ(pid: int) -> None:
    """Until the program that was started shows its own environment: exec closes descriptors a moment before."""
    for _ in range(5000):
        if b"MIDWATCH_RUN=" in Path(f"/proc/{pid}/environ").read_bytes():
            return
        time.sleep(0.001)


def wait_readable(fd: int, seconds: float = 30) -> None:
    import select

    assert select.select([fd], [], [], seconds)[0], "nothing happened in time"


def open_world(kind: str, contained: bool, tmp: Path) -> World:
    if kind == "fake":
        return FakeWorld(contained)
    if contained and (why := LinuxMachine("probe", os.getpid()).host().rungs["cgroup"]) != "yes":
        pytest.skip(f"no cgroups for us here: {why}")
    return LinuxWorld(contained, tmp)


@pytest.fixture(params=["fake-bare", "fake-cgroup", "linux-bare", "linux-cgroup"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Each contract test runs in all four."""
    kind, _, how = request.param.partition("-")
    opened = open_world(kind, how == "cgroup", tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def linux(tmp_path: Path) -> Iterator[LinuxWorld]:
    """Only the real one, without cgroups."""
    opened = LinuxWorld(False, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def contained(tmp_path: Path) -> Iterator[World]:
    """Only the real one, with cgroups."""
    opened = open_world("linux", True, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def launch() -> Any:
    return a_launch


@pytest.fixture
def none() -> Containment:
    return Containment()
