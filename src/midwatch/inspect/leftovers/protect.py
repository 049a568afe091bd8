"""Who is never touched, whatever was proven about him (REC-4 and more).

Asked for every process of a leftover's tree, when it is found and once more right before a signal. A name may protect
here: to spare one too many costs memory, to end one too many costs trust. Must not judge who is a leftover. Tests:
tests/inspect/test_protect.py.
"""

from __future__ import annotations

import os
import re

from midwatch.inspect.leftovers import kinds
from midwatch.inspect.ours import Ours, lineage
from midwatch.inspect.sources import Sources, Table
from midwatch.machine.linux import procfs
from midwatch.model.look import Proc
from midwatch.policy.defaults_inspect import SWEEP_YOUNG

_CONTAINER = re.compile(r"docker|libpod|containerd|kubepods|crio-|/lxc|machine\.slice|nspawn")
_KERNEL = 2  # kthreadd


class Guard:
    """The protected set of one table. `me`: the process that sweeps, 0 in a recording; `young`: seconds."""

    def __init__(
        self, sources: Sources, table: Table, ours: Ours, *, me: int | None = None, young: float = SWEEP_YOUNG
    ) -> None:
        """Nothing is read before the first question."""
        self._sources = sources
        self._table = table
        self._ours = ours
        self._young = young
        self._me = (0 if sources.recorded else os.getpid()) if me is None else me
        own = table.procs.get(self._me)
        self._above = {one.pid for one in lineage(own, table.procs)} if own else {self._me}
        self._space: str | None = None

    def why(self, proc: Proc) -> str:
        """Why it is protected, as the end of "it is protected: ..."; "" when it is not."""
        return (
            self._place(proc)
            or self._nature(proc)
            or self._life(proc)
            or self._ours.whose(proc, self._table.procs)
        )

    def _place(self, proc: Proc) -> str:
        if proc.pid <= _KERNEL or proc.ppid == _KERNEL or not proc.argv:
            return (
                "it belongs to the kernel, or shows no command"
                if proc.pid > 1
                else "it is the machine's first process"
            )
        if proc.pid in self._above:
            return "midwatch itself runs below it"
        if self._me and any(one.pid == self._me for one in lineage(proc, self._table.procs)):
            return "midwatch started it"
        if proc.uid != self._sources.uid:
            return f"it belongs to another user (uid {proc.uid})"
        unit = unit_of(proc.cgroup)
        if unit:
            return f"it is a job of systemd ({unit})"
        return self._container(proc)

    def _container(self, proc: Proc) -> str:
        if self._sources.platform != "linux" or self._sources.recorded:
            return ""
        try:
            if self._space is None:
                self._space = self._sources.link("/proc/self/ns/pid")
            space = self._sources.link(f"/proc/{proc.pid}/ns/pid")
        except OSError:
            return "it cannot be told whether it is a container's"
        if space != self._space:
            return "it lives in a container"
        return (
            "it lives in a container"
            if _CONTAINER.search(proc.cgroup) and proc.cgroup != self._cgroup()
            else ""
        )

    def _cgroup(self) -> str:
        mine = self._table.procs.get(self._me)
        return mine.cgroup if mine is not None else ""

    def _nature(self, proc: Proc) -> str:
        kind = kinds.never(proc)
        if kind:
            return f"it is {_article(kind)} ({proc.name}), and those are never swept"
        if kinds.is_login(proc):
            return "it is a login shell"
        if kinds.is_shell(proc) and proc.pid == proc.sid and proc.tty:
            return f"it is the shell of terminal {proc.tty}"
        return ""

    def _life(self, proc: Proc) -> str:
        if proc.state in ("T", "t"):
            return "it is stopped: somebody paused it"
        if proc.state in ("Z", "X", "x"):
            return "it has ended already"
        tracer = self._tracer(proc)
        if tracer:
            return f"pid {tracer} traces it: somebody debugs it"
        age = self._table.at - proc.started
        if age < self._young:
            return f"it was started {max(0, age):.0f} s ago (less than {self._young:.0f} s)"
        return ""

    def _tracer(self, proc: Proc) -> int:
        try:
            text = self._sources.read(f"/proc/{proc.pid}/status", 1 << 16)
        except OSError:
            return 0
        return procfs.count(text, b"\nTracerPid:") or 0


def _article(kind: str) -> str:
    return {"ssh": "part of ssh", "editor": "an editor"}.get(kind, f"a {kind}")


def unit_of(cgroup: str) -> str:
    """The service unit that a cgroup path belongs to, or "". Scopes hold what a person or a terminal started, unless
    they are inside of a service.
    """
    parts = [part for part in cgroup.split("/") if part.endswith(".service") and not part.startswith("user@")]
    return parts[-1] if parts else ""
