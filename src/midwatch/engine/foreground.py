"""`midwatch run`: one service whose end is ours, its output shown, its story told on stderr.

Must not decide how a run is judged (policy/exitcode.py does).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from midwatch.engine.follow import Follower
from midwatch.policy import defaults
from midwatch.policy.exitcode import run_exit_code

if TYPE_CHECKING:
    from midwatch.engine.core import Engine, Service
    from midwatch.engine.run import Run

LOUD = ("backoff", "budget.exhausted", "service.held", "run.spawn_failed", "health.warn", "supervision.gave_up",
        "limit.warning", "port.conflict", "run.daemonised")  # fmt: skip
OVER = ("done", "gave_up", "held", "stopped")


class Foreground:
    """Watches the only service of a foreground instance."""

    def __init__(self, engine: Engine, leave: Callable[[int], None], *, json: bool) -> None:
        self._json = json
        self._engine = engine
        self._leave = leave
        self._followers: dict[str, Follower] = {}
        self._shown: str | None = None
        self._said = ""
        self._over: Service | None = None
        self._drained: set[str] = set()
        self._finished = False
        engine.on_change.append(self._changed)
        engine.on_line.append(self._told)

    @property
    def run(self) -> Run | None:
        """The current run."""
        for service in self._engine.services.values():
            return service.run
        return None

    def _changed(self, service: Service) -> None:
        state = service.state
        if state.pid is not None and service.run is not None and self._shown != service.run.id:
            self._show(service.run)
        # A port that somebody else holds before the first start is a wrong setting (78); later it is waited for.
        refused = state.phase == "waiting" and self._shown is None
        if (state.phase in OVER or refused) and self._over is None:
            self._over = service
            # What is still in the FIFO comes first; a stray that keeps the FIFO open is not waited for.
            self._engine.later(0.0 if self._all_drained() else defaults.DRAIN_WAIT, self._finish)

    def _show(self, run: Run) -> None:
        """A new run: its files follow those of the last one."""
        self._shown = run.id
        self._drained.clear()
        for name, stream in run.streams.items():
            if name not in self._followers:
                self._followers[name] = Follower(2 if name == "err" else 1)
            self._followers[name].add(stream["log"])

    def stream(self, kind: str, frame: dict[str, Any]) -> None:
        """The pump went on to another file, or is done with a stream."""
        if kind == "rotated" and frame["run"] == self._shown and frame["stream"] in self._followers:
            self._followers[frame["stream"]].add(frame["path"])
        if kind == "drained" and frame["run"] == self._shown:
            self._drained.add(frame["stream"])
            if self._over is not None and self._all_drained():
                self._finish()

    def _all_drained(self) -> bool:
        return self._shown is None or self._drained >= set(self._followers)

    def _told(self, event: str, service: str | None, fields: dict[str, Any]) -> None:
        """What a person at the terminal wants to know, one line each."""
        if self._json:
            line = {"schema_version": 1, "ts": self._engine.machine.now().wall, "event": event, "service": service}
            print(msgspec.json.encode({**line, **fields}).decode(), file=sys.stderr, flush=True)
        told = event == "backoff" and (not fields.get("ms") or fields.get("reason") == "port-conflict")
        if event in LOUD and not told and not self._json:
            said = fields.get("decision") or fields.get("message") or fields.get("reason") or event
            words = self._refusal(event, fields) or said
            text = f"midwatch: {(service or '').rpartition('/')[2]}: {words}"
            if text != self._said:  # a failed start and what became of it are told in the same words
                print(text, file=sys.stderr, flush=True)
            self._said = text

    def _refusal(self, event: str, fields: dict[str, Any]) -> str:
        """A conflict before the first start ends the run: there is no next try to tell of."""
        if event != "port.conflict" or self._shown is not None:
            return ""
        free = f"; to free it: {fields['do']}" if fields.get("do") else ""
        return f"port {fields.get('port')} is held by {fields.get('owner')}; nothing was started{free}"

    def _finish(self) -> None:
        if self._finished or self._over is None:
            return
        self._finished = True
        for follower in self._followers.values():
            follower.finish(defaults.DRAIN_PATIENCE)
        self._leave(run_exit_code(self._over.state))
