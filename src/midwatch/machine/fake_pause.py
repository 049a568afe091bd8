"""The fake machine stands still: freeze, thaw and what is read around a run, and other killers' marks.

What a test puts into `scenes` and `marks` is answered here. Must not touch the real system.
"""

from __future__ import annotations

import signal
from typing import Any

from midwatch.machine.fake_net import FakeNet
from midwatch.machine.fake_stage import FakeProcess
from midwatch.machine.ports import Containment, Tree
from midwatch.model.identity import ProcId


class FakePause(FakeNet):
    """Below `FakeMachine`."""

    def __init__(self, *args: Any, **facts: Any) -> None:
        super().__init__(*args, **facts)
        self.scenes: dict[str, dict[str, Any]] = {}  # run -> what `scene` answers
        self.marks: dict[str, str] = {}  # group -> what another killer has written on it
        self.log_readable = False
        self.rungs_tried = {"rehearsal": "yes", "freeze": "yes", "kill": "yes"}

    def _of(self, tree: Tree) -> list[FakeProcess]:
        return [self.procs[proc.pid] for proc in self.members(tree)]

    def freeze(self, tree: Tree) -> str:
        self._raise("freeze")
        if tree.containment.kill in self.groups:
            self.frozen.add(tree.containment.kill)
            return "cgroup"
        return "stop" if [self._deliver(process, signal.SIGSTOP) for process in self._of(tree)] else ""

    def thaw(self, tree: Tree, spare: tuple[ProcId, ...] = ()) -> None:
        self._raise("thaw")
        self._thaw(tree.containment.kill)
        left = {proc.pid for proc in spare}
        for process in self._of(tree):
            if process.stopped and process.pid not in left:
                self._deliver(process, signal.SIGCONT)

    def stopped(self, tree: Tree) -> tuple[ProcId, ...]:
        return tuple(proc for proc in self.members(tree) if self.procs[proc.pid].stopped)

    def scene(self, tree: Tree, seconds: float) -> dict[str, Any]:
        self._raise("scene")
        return self.scenes.get(tree.run, {"missing": []})

    def stills(self, tree: Tree, seconds: float) -> dict[str, Any]:
        self._raise("stills")
        return {"maps": {}, "stacks": {}, "missing": []}

    def sees_kernel_log(self) -> bool:
        return self.log_readable

    def tracing(self) -> str:
        return "yes"

    def rehearse(self) -> dict[str, str]:
        self._raise("rehearse")
        return dict(self.rungs_tried)

    def oom_by(self, containment: Containment) -> str:
        return next((self.marks[group] for group in containment.dirs if group in self.marks), "")
