"""Asks a run to finish its work and leave: the declared signal to its main process, or the declared command.

The command runs as a hook of the service: its environment, its folder, its user, and as long as the drain may take.
What comes of it is the run's exit, or the policy's deadline. Must not decide when.
Tests: tests/engine/test_guard_drain.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from midwatch.engine.helper import Helper
from midwatch.machine.ports import Target
from midwatch.model.action import Drain
from midwatch.model.service import DrainRules

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.run import Run

_SAID = 200  # characters of a hook's last line


class Drains:
    """One per engine; a hook at most for each run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._hooks: dict[str, Helper] = {}

    def ask(self, service: Service, action: Drain) -> None:
        """Carry the action out; what fails is said, the policy's deadline does the rest."""
        run, rules = service.run, service.spec.rules.drain
        if run is None or run.tree is None or run.exited or rules is None or run.id != action.run:
            return
        if rules.signal is not None:
            self._signal(run, rules.signal)
        elif rules.command is not None and run.id not in self._hooks:
            self._command(service, run, rules)

    def _signal(self, run: Run, signum: int) -> None:
        assert run.tree is not None
        try:
            self._engine.machine.signal(run.tree.main, signum)
        except PermissionError:
            self._failed(run, "it has another user's rights and may not be signalled")

    def _command(self, service: Service, run: Run, rules: DrainRules) -> None:
        engine = self._engine
        found = engine.machine.lookup(run.launch)
        target = found if isinstance(found, Target) else Target(exe="")
        pid = str(run.proc.pid) if run.proc is not None else ""
        env = {**run.launch.env, "MIDWATCH_RUN": run.marker, "MIDWATCH_SERVICE": service.spec.id, "MIDWATCH_PID": pid}

        def done(code: int | None, output: bytes) -> None:
            self._hooks.pop(run.id, None)
            last = output.decode("utf-8", "replace").strip().rpartition("\n")[2][:_SAID]
            if code is None:
                self._failed(run, f"its drain command was ended after {rules.within:g} s")
            elif code != 0:
                self._failed(run, f"its drain command ended with {code}" + (f": {last}" if last else ""))

        try:
            self._hooks[run.id] = Helper(
                rules.command or (), rules.within, done, env=env, cwd=run.launch.cwd,
                uid=target.uid, gid=target.gid, groups=target.groups,
            )  # fmt: skip
        except OSError as error:
            self._failed(run, f"its drain command cannot be run: {error.strerror}")

    def over(self, run_id: str) -> None:
        """The run is gone: nobody needs its hook any more."""
        hook = self._hooks.get(run_id)
        if hook is not None:
            hook.cancel()

    def _failed(self, run: Run, why: str) -> None:
        words = f"{run.id} was not asked to drain: {why}"
        self._engine.write("limit.warning", service=run.service, run=run.id, fields={"message": words})
