"""Evidence before an intervention (HLT-7): what a wedged run looks like, written before it is touched.

A capture is the state of every process of the tree, its last output and its probes' last answers, and more by stages
(collect.py); a service that has declared a dump signal prints its stacks first (HLT-8). Signals and kills of the run
wait for it, at most `defaults.CAPTURE_WAIT` seconds. Must not decide when evidence is wanted. Tests:
tests/engine/test_capture.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midwatch import __version__
from midwatch.engine.collect import Order, collect, release, store
from midwatch.model.action import Capture
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.run import Run
    from midwatch.machine.ports import Machine
    from midwatch.record.evidence import Bundle

MARGIN = 0.2  # seconds of the wait, for the disk
URGENT = 1.0  # seconds for a capture that may only read, or that holds the run


class Captures:
    """One per engine: the captures that are under way, and what waits for them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open: dict[str, list[Callable[[], None]]] = {}
        # The newest measurements of a run, oldest first: the sampler's (JSON, at most some hundred).
        self.samples: Callable[[str], list[Any]] = lambda run_id: []

    def take(self, service: Service, action: Capture) -> None:
        """Begin; the run is held until it is done."""
        engine = self._engine
        run = service.run
        if run is None or run.tree is None or run.exited:
            return
        if run.id in self._open:
            if action.freeze:  # its end waits for the capture that is under way, and must not grow meanwhile
                self._hold(run)
            return
        waiting: list[Callable[[], None]] = []
        self._open[run.id] = waiting
        over = lambda: self._over(run.id, waiting)  # noqa: E731
        engine.later(defaults.CAPTURE_WAIT, over)
        calm = action.stage >= 2 and not action.freeze
        signum = service.spec.rules.dump_signal if calm else None
        facts = self._facts(service, run, action.reason)
        most = defaults.CAPTURE_WAIT if calm else URGENT
        until = time.monotonic() + most - MARGIN
        if signum is None:
            self._collect(run, action, facts, until, over)
            return
        facts["dump_signal"] = int(signum)
        try:
            engine.machine.signal(run.tree.main, signum)
        except PermissionError:
            facts["missing"] = ["its stacks: it has another user's rights and may not be signalled"]
        engine.later(defaults.CAPTURE_DUMP, lambda: self._collect(run, action, facts, until, over))

    def after(self, service: Service, run: Run, reason: str) -> None:
        """Nobody could look before it died (the kernel was quicker): keep what was known already."""
        if run.id in self._open:
            return
        order = Capture(run.id, reason, stage=0)
        facts = self._facts(service, run, reason)
        self._collect(run, order, facts, time.monotonic() + defaults.CAPTURE_WAIT, lambda: None)

    def _hold(self, run: Run) -> None:
        """It is being looked at, and meanwhile it has to be stopped, and soon: it stands still until then."""
        machine, tree, loop = self._engine.machine, run.tree, asyncio.get_running_loop()
        assert tree is not None
        loop.run_in_executor(None, machine.freeze, tree)

        def go_on() -> None:
            if not run.exited:
                loop.run_in_executor(None, lambda: machine.thaw(tree))

        self._engine.later(defaults.PAUSE_MOST, go_on)

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
            "command": list(run.launch.argv),
            "versions": {"midwatch": __version__, "kernel": self._engine.machine.host().kernel},
            "pid": run.proc.pid if run.proc is not None else None,
            "uptime_s": round(now.awake - state.spawned_at, 3) if state.spawned_at is not None else None,
            "phase": state.phase,
            "health": state.health,
            "decision": state.decision,
            "probe": state.probe_detail,
            "status": run.status,
            "answers": list(run.answers),
        }

    def _collect(
        self, run: Run, action: Capture, facts: dict[str, Any], until: float, over: Callable[[], None]
    ) -> None:
        order = Order(
            run=run.id,
            reason=action.reason,
            stage=1 if action.freeze else action.stage,
            freeze=action.freeze,
            facts=facts,
            tree=run.tree,
            logs=tuple(stream["log"] for stream in run.streams.values()),
            home=self._engine.layout.home,
            samples=self.samples(run.id),
            until=until,
        )
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, collect, self._engine.machine, order)
        future.add_done_callback(lambda done: self._collected(run, action.reason, done, over))

    def _collected(
        self, run: Run, reason: str, done: asyncio.Future[Bundle], over: Callable[[], None]
    ) -> None:
        problem = done.exception()
        if problem is None:
            bundle = done.result()
            self._tell(run.service, run.id, reason, bundle.path, bundle.size, "done")
            asyncio.get_running_loop().run_in_executor(None, _synced, bundle)  # no stop waits for a disk
        else:
            words = getattr(problem, "strerror", None) or repr(problem)
            message = f"the evidence about {run.id} could not be written: {words}"
            self._engine.write("limit.warning", service=run.service, run=run.id, fields={"message": message})
        over()

    def _tell(self, service: str, run: str, reason: str, path: Path, size: int, state: str) -> None:
        fields = {"run_id": run, "path": str(path), "reason": reason, "bytes": size, "state": state}
        self._engine.write("evidence.captured", service=service, run=run, fields=fields)

    def recover(self) -> None:
        """At the start: what an engine that died in the middle of a capture has left. Its run goes on, its bundle is
        told as what it is."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, left_behind, self._engine.machine, self._engine.layout.home)
        future.add_done_callback(self._recovered)

    def _recovered(self, done: asyncio.Future[list[tuple[Path, dict[str, Any]]]]) -> None:
        if done.exception() is not None:
            self._engine.complain(f"unfinished evidence could not be looked at: {done.exception()!r}")
            return
        for path, head in done.result():
            words = [str(head.get(name) or "") for name in ("service", "run_id", "reason")]
            self._tell(words[0], words[1], words[2], path, int(head.get("bytes") or 0), "cut short")


def left_behind(machine: Machine, home: Path) -> list[tuple[Path, dict[str, Any]]]:
    """In a thread: let go who stands still, mark what is not complete."""
    found = list(store(home).cut_short())
    for path, head in found:
        if release(machine, path):
            head["released"] = True
    return found


def _synced(bundle: Bundle) -> None:
    try:
        bundle.sync()
    except OSError:
        pass  # it is written; a disk that cannot say so is told of by the journal
