"""Evidence before an intervention (HLT-7): what a wedged run looks like, written before it is touched.

A capture is the state of every process of the tree, its last output and its probes' last answers; a service that has
declared a dump signal prints its stacks first (HLT-8). Signals and kills of the run wait for it, at most
`defaults.CAPTURE_WAIT` seconds. Must not decide when evidence is wanted. Tests: tests/engine/test_capture.py.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from midwatch.model.action import Capture
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.run import Run
    from midwatch.machine.ports import Machine, Tree

INSPECT = 2.0  # seconds that a look at the tree may take
MARGIN = 0.2  # of the wait, for the disk


class Order(msgspec.Struct):
    """Everything a capture needs to know, taken in the loop, used in a worker thread."""

    run: str
    reason: str
    facts: dict[str, Any]
    tree: Any
    logs: tuple[str, ...]
    folder: Path
    seconds: float


class Captures:
    """One per engine: the captures that are under way, and what waits for them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open: dict[str, list[Callable[[], None]]] = {}

    def take(self, service: Service, action: Capture) -> None:
        """Begin; the run is held until it is done."""
        engine = self._engine
        run = service.run
        if run is None or run.tree is None or run.exited or run.id in self._open:
            return
        waiting: list[Callable[[], None]] = []
        self._open[run.id] = waiting
        over = lambda: self._over(run.id, waiting)  # noqa: E731
        engine.later(defaults.CAPTURE_WAIT, over)
        signum = service.spec.rules.dump_signal
        facts = self._facts(service, run, action.reason)
        if signum is None:
            self._inspect(run, action.reason, facts, INSPECT, over)
            return
        facts["dump_signal"] = int(signum)
        try:
            engine.machine.signal(run.tree.main, signum)
        except PermissionError:
            facts["missing"] = ["its stacks: it has another user's rights and may not be signalled"]
        left = defaults.CAPTURE_WAIT - defaults.CAPTURE_DUMP - MARGIN
        seconds = min(INSPECT, left)
        engine.later(defaults.CAPTURE_DUMP, lambda: self._inspect(run, action.reason, facts, seconds, over))

    def holds(self, run_id: str, then: Callable[[], None]) -> bool:
        """Is a capture of this run under way? Then `then` is called once it is over."""
        waiting = self._open.get(run_id)
        if waiting is None:
            return False
        waiting.append(then)
        return True

    def _over(self, run_id: str, waiting: list[Callable[[], None]]) -> None:
        """Done, or out of time; whichever comes second finds another capture, or none."""
        if self._open.get(run_id) is waiting:
            del self._open[run_id]
            for then in waiting:
                then()

    def _facts(self, service: Service, run: Run, reason: str) -> dict[str, Any]:
        now, state = self._engine.machine.now(), service.state
        return {
            "schema_version": 1,
            "run_id": run.id,
            "service": service.spec.id,
            "reason": reason,
            "at": now.wall,
            "pid": run.proc.pid if run.proc is not None else None,
            "uptime_s": round(now.awake - state.spawned_at, 3) if state.spawned_at is not None else None,
            "phase": state.phase,
            "health": state.health,
            "decision": state.decision,
            "probe": state.probe_detail,
            "status": run.status,
            "answers": list(run.answers),
        }

    def _inspect(
        self, run: Run, reason: str, facts: dict[str, Any], seconds: float, over: Callable[[], None]
    ) -> None:
        order = Order(
            run=run.id,
            reason=reason,
            facts=facts,
            tree=run.tree,
            logs=tuple(stream["log"] for stream in run.streams.values()),
            folder=self._engine.layout.home / "evidence",
            seconds=seconds,
        )
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, collect, self._engine.machine, order)
        future.add_done_callback(lambda done: self._collected(run, reason, done, over))

    def _collected(
        self, run: Run, reason: str, done: asyncio.Future[tuple[Path, int]], over: Callable[[], None]
    ) -> None:
        engine = self._engine
        problem = done.exception()
        if problem is None:
            path, size = done.result()
            fields = {"run_id": run.id, "path": str(path), "reason": reason, "bytes": size}
            engine.write("evidence.captured", service=run.service, run=run.id, fields=fields)
        else:
            words = getattr(problem, "strerror", None) or repr(problem)
            message = f"the evidence about {run.id} could not be written: {words}"
            engine.write("limit.warning", service=run.service, run=run.id, fields={"message": message})
        over()


def collect(machine: Machine, order: Order) -> tuple[Path, int]:
    """In a worker thread: look, then write. Raises OSError when the disk refuses."""
    from midwatch.record.evidence import Evidence
    from midwatch.record.redact import redact, redact_value

    facts = dict(order.facts)
    facts |= _look(machine, order.tree, order.seconds, facts.get("missing", []))
    text = "\n".join(filter(None, (_tail(path) for path in order.logs)))
    store = Evidence(order.folder, count=defaults.EVIDENCE_COUNT, max_bytes=defaults.EVIDENCE_BYTES)
    return store.write(order.run, order.reason, redact_value(facts), redact(text))


def _look(machine: Machine, tree: Tree, seconds: float, missing: list[str]) -> dict[str, Any]:
    try:
        found = machine.inspect_tree(tree, (), seconds)
    except OSError as error:
        return {"missing": [*missing, f"the tree: {error.strerror}"]}
    return {**found, "missing": [*missing, *found.get("missing", [])]}


def _tail(path: str) -> str:
    """The end of one output file, from the start of a line."""
    try:
        with open(path, "rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - defaults.EVIDENCE_TAIL)
            file.seek(start)
            data = file.read(defaults.EVIDENCE_TAIL)
    except OSError:
        return ""
    if start:
        data = data.partition(b"\n")[2] or data
    return data.decode("utf-8", "replace")
