"""Starts runs: look-up, cgroups, the keeper's spawn, the gate, placing, the record, the release.

The order is the safety: a run that needs a place waits in its gate until it has been placed and its record is on disk,
so nothing escapes and nothing runs that nobody knows. A restart usually finds its gate waiting (gates.py).
Must not decide when to start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from midwatch.engine.batch import Batcher
from midwatch.engine.run import Run, child_environment, stream_paths
from midwatch.machine.ports import Containment, LaunchProblem, Target
from midwatch.model.event import Spawned, SpawnFailed
from midwatch.model.identity import ProcId
from midwatch.model.service import Launch
from midwatch.policy import defaults

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service

TRACE_GATE = os.path.join(os.path.dirname(__file__), "tracegate.py")
Failed = Callable[[SpawnFailed], None]
Phase = Literal["lookup", "prepare", "fork", "place", "exec"]


class Spawner:
    """One per engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._contain: Batcher[tuple[str, Launch], Containment | OSError] = Batcher(self._contain_all)
        self._place: Batcher[tuple[Containment, int], OSError | None] = Batcher(engine.machine.place)
        self._outer = os.environ.get("MIDWATCH_RUN")
        self.may_start: Callable[[], bool] = lambda: True  # is this home still ours (E12)?
        self.outer_env: dict[str, str] = {}  # what the outer manager told this daemon, for `pass_manager`

    def spawn(self, service: Service, run_id: str) -> None:
        """Carry out the policy's Spawn; ends in `Spawned`, `SpawnFailed` or `PortBusy`."""
        self._engine.ports.before(service, run_id, lambda: self._begin(service, run_id))

    def _begin(self, service: Service, run_id: str) -> None:
        if not self.may_start():
            return  # another daemon has this home and brings the service back itself; we are leaving
        self._engine.sockets.ensure(service, run_id, lambda: self._take(service, run_id))

    def _take(self, service: Service, run_id: str) -> None:
        gate = self._engine.gates.take(service, run_id)
        if gate is None:
            self._engine.gates.when_free(run_id, lambda: self._spawn(service, run_id))
        elif gate.placed:
            service.run = gate
            self._release(service, gate)
        else:
            service.run = gate  # opened once it has been placed

    def _spawn(self, service: Service, run_id: str) -> None:
        run = self.make(service, run_id)
        service.run = run
        self.begin(service, run, lambda failed: self.failed(service, run, failed))

    def marker(self, run_id: str) -> str:
        """MIDWATCH_RUN of a run: names the instance too (two homes may have the same services, and a clean-up must
        find its own only), below the run we live in, if we are supervised ourselves."""
        own = f"{self._engine.layout.instance}:{run_id}"
        return f"{self._outer}/{own}" if self._outer else own

    def resume(self, service: Service, run_id: str, pid: int, start: int) -> None:
        """A successor engine finds the run in its gate: place it (again) and let it go."""
        engine = self._engine
        run = self.make(service, run_id)
        run.gate = "closed"
        service.run = run
        engine.runs[run_id] = run
        failed: Failed = lambda problem: self.failed(service, run, problem)  # noqa: E731
        answer = {"pid": pid, "start": start}

        run.containment = engine.machine.leftover(run_id)
        if run.containment.dirs:  # placed before the last engine died: placing it again does no harm
            self._forked(service, run, answer, failed)
            return

        def contained(made: Containment | OSError) -> None:
            if isinstance(made, OSError):
                failed(_failure(run, made, "prepare", f"cannot make the cgroup of {run.id}: {made.strerror}"))
                return
            run.containment = made
            self._forked(service, run, answer, failed)

        if engine.can_contain and run.launch.contain != "none":
            self._contain.add((run_id, run.launch), contained)
        else:
            self._forked(service, run, answer, failed)

    def make(self, service: Service, run_id: str) -> Run:
        run = Run(run_id, service.spec.id, service.spec.launch, self.marker(run_id))
        run.streams = stream_paths(self._engine.layout, service.spec, run_id)
        return run

    def begin(self, service: Service, run: Run, failed: Failed) -> None:
        engine = self._engine
        launch = run.launch
        target = self._target(service, launch)
        if isinstance(target, LaunchProblem):
            failed(self._problem(run, target))
            return
        engine.runs[run.id] = run
        if launch.contain != "none" and engine.can_contain:
            run.gate = "closed"
            self._contain.add((run.id, launch), lambda made: self._contained(service, run, target, made, failed))
        else:
            if run.warm or launch.rlimits or launch.nice is not None or launch.oom_score_adj is not None:
                run.gate = "closed"
            self._fork(service, run, target, failed)

    def _target(self, service: Service, launch: Launch) -> Target | LaunchProblem:
        """The look-up costs some 25 system calls; a restart by itself needs one, if the program has not changed."""
        known = service.target
        if known is not None and known[0] is launch and known[2] == _print_of(known[1].exe):
            return known[1]
        target = self._engine.machine.lookup(launch)
        service.target = (launch, target, _print_of(target.exe)) if isinstance(target, Target) else None
        return target

    def _contain_all(self, wanted: list[tuple[str, Launch]]) -> list[Containment | OSError]:
        results: list[Containment | OSError] = []
        for run_id, launch in wanted:
            try:
                results.append(self._engine.machine.contain(run_id, launch))
            except OSError as error:
                results.append(error)
        return results

    def _contained(
        self, service: Service, run: Run, target: Target, made: Containment | OSError, failed: Failed
    ) -> None:
        if isinstance(made, OSError):
            failed(_failure(run, made, "prepare", f"cannot make the cgroup of {run.id}: {made.strerror}"))
            return
        run.containment = made
        if run.dropped:
            self._engine.gates.gone(run, self._engine.forget(run))
        else:
            self._fork(service, run, target, failed)

    def _fork(self, service: Service, run: Run, target: Target, failed: Failed) -> None:
        engine = self._engine
        launch = run.launch
        spec = service.spec
        argv = list(launch.argv)
        exe = target.exe
        if run.gate == "closed":
            argv[0] = exe
        if launch.trace and sys.platform == "linux":
            argv = [sys.executable, "-I", "-S", TRACE_GATE, str(engine.keeper_pid), exe, *argv]
            exe = sys.executable
        notify = engine.notify.path_for(run.id) if engine.wants_notify(spec) else None
        if notify is not None:
            try:
                engine.notify.open(run.id, target.uid)
            except OSError as error:
                engine.forget(run)
                failed(_failure(run, error, "prepare", f"cannot make its notify socket {notify}: {error.strerror}"))
                return
        limit = spec.logs.file_bytes
        engine.link.ask(
            lambda answer: self._forked(service, run, answer, failed),
            op="spawn",
            run=run.id,
            argv=argv,
            exe=exe,
            env=self._passed(launch) | child_environment(spec, run, target.home, notify),
            cwd=launch.cwd,
            umask=launch.umask,
            uid=target.uid,
            gid=target.gid,
            groups=list(target.groups) if target.groups is not None else None,
            gate=run.gate == "closed",
            streams={name: {**where, "limit": limit} for name, where in run.streams.items()},
            stdin=launch.stdin,
            ctty=launch.pty,
            listen=engine.sockets.names(spec),
            keep_group=engine.keep_group,
        )

    def _passed(self, launch: Launch) -> dict[str, str]:
        """SVC-10: what the outer manager told the daemon and this service may see."""
        return {name: self.outer_env[name] for name in launch.pass_manager if name in self.outer_env}

    def _forked(self, service: Service, run: Run, answer: dict[str, Any], failed: Failed) -> None:
        engine = self._engine
        if "pid" not in answer:
            if not run.warm:
                engine.forget(run)
            failed(
                SpawnFailed(
                    run=run.id,
                    error=answer.get("errno", "EIO"),
                    phase=answer.get("phase", "fork"),
                    message=answer.get("error", "the keeper could not start it"),
                    lasting=answer.get("errno") in ("ENOENT", "EACCES", "ENOEXEC", "ENOTDIR"),
                    fingerprint=engine.machine.fingerprint(run.launch),
                )
            )
            return
        now = engine.machine.now()
        run.spawned_wall = now.wall
        run.born(ProcId(answer["pid"], answer["start"], now.boot), engine.keeper_pid, not engine.keep_group)
        if run.dropped:
            engine.link.ask(lambda _: None, op="drop", run=run.id)
        elif run.gate == "none":
            self._started(service, run)
        elif run.containment.dirs:
            self._place.add(
                (run.containment, answer["pid"]), lambda error: self._placed(service, run, error, failed)
            )
        else:
            self._placed(service, run, None, failed)

    def _placed(self, service: Service, run: Run, error: OSError | None, failed: Failed) -> None:
        engine = self._engine
        if error is not None or run.exited:
            reason = error.strerror if error else "its gate died"
            engine.link.ask(lambda _: None, op="drop", run=run.id)
            failed(_failure(run, error, "place", f"cannot place {run.id} into its cgroup: {reason}"))
            return
        if run.dropped:
            return  # its pipe is closed; its exit ends it
        if run.proc is not None:
            for warning in engine.machine.prepare(run.proc.pid, run.launch):
                engine.write("limit.warning", service=run.service, run=run.id, fields={"message": warning})
        engine.records.save(run.record(engine.machine.now().awake, "running"))
        run.placed = True
        if not run.warm:
            self._release(service, run)

    def _release(self, service: Service, run: Run) -> None:
        """Open the gate. What it takes from here to the program's first instruction is one exec."""
        run.gate = "open"
        run.spawned_wall = self._engine.machine.now().wall
        self._engine.link.ask(lambda _: None, op="release", run=run.id)
        self._started(service, run, save=False)

    def _started(self, service: Service, run: Run, save: bool = True) -> None:
        engine = self._engine
        run.released = True
        if save:
            engine.records.save(run.record(engine.machine.now().awake, "running"))
        if run.proc is not None:
            engine.post(service, Spawned(run=run.id, pid=run.proc.pid))
            engine.machine.identify(run.proc.pid)  # remembers its marker, in case it overwrites its environment
        if run.containment.dirs:
            engine.later(defaults.WARM_AFTER, lambda: self._engine.gates.prepare(service))

    def _problem(self, run: Run, problem: LaunchProblem) -> SpawnFailed:
        return SpawnFailed(
            run=run.id,
            error=problem.error,
            phase="lookup",
            message=problem.message,
            lasting=problem.lasting,
            fingerprint=self._engine.machine.fingerprint(run.launch),
        )

    def failed(self, service: Service, run: Run, failed: SpawnFailed) -> None:
        self._engine.end_run(run)
        self._engine.post(service, failed)


def _print_of(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _failure(run: Run, error: OSError | None, phase: Phase, message: str) -> SpawnFailed:
    import errno

    name = errno.errorcode.get(error.errno or 0, "EIO") if error else "ECHILD"
    return SpawnFailed(run=run.id, error=name, phase=phase, message=message, lasting=False)
