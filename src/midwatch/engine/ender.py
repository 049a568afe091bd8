"""Ends runs: the signal, the kill of the whole tree, the exit's facts, the removal of what is left.

Blocking work (a kill takes up to its deadline, a cgroup's removal some milliseconds) happens in worker
threads. Must not decide whether to end anything.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from midwatch.machine.ports import Containment, Ended
from midwatch.model.action import Kill, Signal
from midwatch.model.event import Exited, TreeGone
from midwatch.model.exit import ExitFacts

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.run import Run


class Ender:
    """One per engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def signal(self, service: Service, action: Signal) -> None:
        """The first rung: the whole group gets the polite signal, once the evidence is taken."""
        if self._engine.captures.holds(action.run, lambda: self.signal(service, action)):
            return
        run = service.run
        if run is not None and run.tree is not None and not run.exited:
            try:
                self._engine.machine.signal_group(run.tree, action.signum)
            except PermissionError:
                # It took another user's rights (setuid). The ladder goes on; the kill says what could not be ended.
                words = f"may not signal {run.id}: it has another user's rights; run midwatch as that user or root"
                self._engine.write("limit.warning", service=run.service, run=run.id, fields={"message": words})

    def kill(self, service: Service, action: Kill) -> None:
        """The last rung, in a thread; its outcome is `TreeGone`. It waits for the evidence, too."""
        if self._engine.captures.holds(action.run, lambda: self.kill(service, action)):
            return
        run = service.run
        if run is None or run.tree is None:
            self._engine.post(service, TreeGone(run=action.run, verified_by="tree"))
            return
        self._engine.gates.drop(service)
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, self._engine.machine.end, run.tree, action.polite, action.verify)
        future.add_done_callback(lambda done: self._killed(service, run, done.result()))

    def _killed(self, service: Service, run: Run, ended: Ended) -> None:
        self._engine.post(
            service,
            TreeGone(run=run.id, verified_by=ended.verified_by, ended=ended.ended, left=len(ended.left)),
        )

    def release(self, containment: Containment) -> asyncio.Future[None]:
        """Remove a dead run's cgroups."""
        return asyncio.get_running_loop().run_in_executor(None, self._engine.machine.release, containment)

    def exited(self, frame: dict[str, Any]) -> None:
        """The keeper reports that a main process is gone."""
        engine = self._engine
        run = engine.runs.get(frame["run"])
        if run is None:
            engine.link.send(op="taken", run=frame["run"])
            return
        service = engine.services.get(run.service)
        if service is None or run.warm or not run.released:
            run.exited = True
            if service is not None:
                engine.gates.left(service, run)
            engine.gates.gone(run, engine.end_run(run))
            return
        facts = self._facts(service, run, frame)
        engine.heirs.examine(service, run, facts, lambda facts: self._judged(service, run, facts))

    def _judged(self, service: Service, run: Run, facts: ExitFacts) -> None:
        """Everything about an exit is known. Only from now on its run may be forgotten."""
        run.exited = True
        fingerprint = ""
        if facts.heir is not None or facts.code in service.spec.rules.permanent_codes:
            fingerprint = self._engine.machine.fingerprint(run.launch)
        if facts.oom_kills or facts.kernel_oom:
            self._engine.captures.after(service, run, "oom")
        self._engine.post(service, Exited(run=run.id, facts=facts, fingerprint=fingerprint))

    def _facts(self, service: Service, run: Run, frame: dict[str, Any]) -> ExitFacts:
        engine = self._engine
        machine = engine.machine
        status = frame["status"]
        counter = machine.oom_kills(run.containment)
        oom_kills = counter or 0
        spawned = service.state.spawned_at
        ended = frame.get("at") or machine.now().awake
        checked = ["oom-counter"] if counter is not None else []
        kernel, marked = None, ""
        looks_oom = status is not None and ((status & 0x7F) == 9 or (status >> 8) == 137)
        if looks_oom and spawned is not None:
            kernel = machine.kernel_oom({frame["pid"]}, spawned)
            checked += ["kernel-log"] if machine.sees_kernel_log() else []
            if run.containment.kill and not kernel:
                marked = machine.oom_by(run.containment)
                checked.append("oomd")
        return ExitFacts(
            status=status,
            duration=max(0.0, ended - spawned) if spawned is not None else 0.0,
            oom_kills=oom_kills,
            kernel_oom=kernel,
            oom_by=marked,
            max_rss_bytes=frame.get("max_rss_bytes"),
            cpu_seconds=frame.get("cpu_seconds"),
            strays=self._strays(run, frame.get("strays")),
            unseen=frame.get("unseen") or 0.0,
            checked=tuple(checked),
        )

    def _strays(self, run: Run, orphans: list[int] | None) -> int:
        """How many of its tree outlived the main process.

        One read of cgroup.events, or: every orphan falls to the keeper (the subreaper), so without unknown
        children of the keeper nobody can be left, and the full look through /proc is only needed when there are some.
        """
        tree = run.tree
        if tree is None:
            return 0
        empty = self._engine.machine.empty(tree)
        # None: the keeper does not know (any more): a successor reads an exit from its table without them.
        if empty is True or (empty is None and orphans == [] and not run.adopted):
            return 0
        return len(self._engine.machine.members(tree)) or (0 if empty is None else 1)
