"""One life of a service as the engine handles it: the nouns of spawning, ending and watching put together.

The truth about what may be alive is the run record on disk; this object is its working copy. Must not decide.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from midwatch.engine.layout import Layout
from midwatch.machine.ports import Containment, Tree
from midwatch.model.identity import ProcId
from midwatch.model.service import Launch, ServiceSpec
from midwatch.record.runs import RunRecord, RunStream

ANSWERS = 10  # of probes, kept for the evidence
Gate = Literal["none", "closed", "open"]


class Run:
    """A run that was asked for. `proc` is None until the keeper has answered."""

    __slots__ = (
        "active", "adopted", "answers", "containment", "counters", "dropped", "exited", "gate", "id", "launch",
        "marker", "placed", "proc", "released", "service", "spawned_wall", "status", "streams", "tree", "warm",
    )  # fmt: skip

    def __init__(self, run_id: str, service: str, launch: Launch, marker: str) -> None:
        self.id = run_id
        self.service = service
        self.launch = launch
        self.marker = marker
        self.gate: Gate = "none"
        self.containment = Containment()
        self.proc: ProcId | None = None
        self.tree: Tree | None = None
        self.streams: dict[str, dict[str, str]] = {}
        self.spawned_wall = 0.0
        self.active: float | None = None  # units at work, as its probe said last (json_active); None: not known
        self.counters: dict[str, float] = {}  # what the json_counter of each kind of probe said last
        self.answers: list[dict[str, Any]] = []  # of its probes, the last few; an empty deque takes 0.8 KB
        self.status = ""  # what it said last with STATUS=
        self.warm = False  # a gate that waits for the next start of its service
        self.dropped = False  # a warm gate that is not needed after all, and has not left yet
        self.placed = False  # the gate may be opened
        self.released = False  # the service's own program was let go
        self.exited = False
        self.adopted = False  # it outlived a keeper: its orphans fall to somebody else

    def born(self, proc: ProcId, keeper: int, own_group: bool, since: int = 0) -> None:
        """The keeper has made its first process."""
        self.proc = proc
        self.tree = Tree(
            run=self.id,
            main=proc,
            marker=self.marker,
            containment=self.containment,
            keeper=keeper,
            own_group=own_group,
            since=since or (self.tree.since if self.tree is not None else 0),
        )

    def follow(self, proc: ProcId) -> None:
        """Its launcher has left; `proc` is what it left behind. The tree still begins with the launcher."""
        if self.tree is not None:
            self.tree = msgspec.structs.replace(self.tree, main=proc, since=self.tree.began)
        self.proc = proc
        self.exited = False

    def record(self, awake: float, state: Literal["spawning", "running"]) -> RunRecord:
        """What goes to disk about it."""
        proc = self.proc
        return RunRecord(
            run=self.id,
            service=self.service,
            pid=proc.pid if proc else None,
            start=proc.start if proc else None,
            since=self.tree.since if self.tree else 0,
            boot=proc.boot if proc else "",
            spawned_wall=self.spawned_wall,
            spawned_awake=awake,
            marker=self.marker,
            kill_dir=self.containment.kill,
            memory_dir=self.containment.memory,
            streams={name: RunStream(**where) for name, where in self.streams.items()},
            gate=self.gate != "none",
            state=state,
        )

    @classmethod
    def from_record(
        cls, record: RunRecord, launch: Launch, keeper: int, own_group: bool, *, adopted: bool = False
    ) -> Run:
        """The working copy of a run that an earlier engine started."""
        run = cls(record.run, record.service, launch, record.marker)
        run.adopted = adopted
        run.containment = Containment(kill=record.kill_dir, memory=record.memory_dir)
        run.streams = {name: {"fifo": s.fifo, "log": s.log} for name, s in record.streams.items()}
        run.spawned_wall = record.spawned_wall
        run.gate = "open" if record.gate else "none"
        run.released = True
        if record.pid is not None:
            run.born(ProcId(record.pid, record.start or 0, record.boot), keeper, own_group, record.since)
        return run


def stream_paths(layout: Layout, spec: ServiceSpec, run_id: str) -> dict[str, dict[str, str]]:
    """FIFO and first log file of each output stream of a run."""
    names = ("out", "err") if spec.launch.stderr == "own" else ("out",)
    folder = layout.service_logs(spec.id)
    return {
        name: {"fifo": f"{layout.fifos}/{run_id}.{name}", "log": f"{folder}/{run_id}.{name}.0.log"} for name in names
    }


def child_environment(spec: ServiceSpec, run: Run, home: str | None, notify: str | None) -> dict[str, str]:
    """The launch's environment plus our marker; HOME and user names follow a `user`."""
    env = dict(spec.launch.env)
    env["MIDWATCH_RUN"] = run.marker
    env["MIDWATCH_SERVICE"] = spec.id
    if spec.launch.user is not None:
        env.setdefault("USER", spec.launch.user)
        env.setdefault("LOGNAME", spec.launch.user)
        if home is not None:
            env.setdefault("HOME", home)
    if notify is not None:
        env["NOTIFY_SOCKET"] = notify
        if spec.rules.watchdog is not None:
            # Without WATCHDOG_PID, which nobody knows before the exec: clients take it as meant for them.
            env["WATCHDOG_USEC"] = str(round(spec.rules.watchdog * 1e6))
    return env
