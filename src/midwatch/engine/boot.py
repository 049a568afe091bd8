"""Brings an engine to life, the first one of a daemon and each successor, and ends it.

Order: connect to the keeper, read what it holds, restore the policy's states from the journal, make both agree
(restore.py), open the control socket, apply what the launcher left. Must not decide anything about services.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from typing import Any

import msgspec

from midwatch import __version__
from midwatch.config.problems import Settings
from midwatch.engine.batch import Workers
from midwatch.engine.control import Control
from midwatch.engine.core import Engine
from midwatch.engine.foreground import Foreground
from midwatch.engine.keeperlink import KeeperLink
from midwatch.engine.layout import Layout
from midwatch.engine.methods import Methods
from midwatch.engine.outer import Outer
from midwatch.engine.pending import After
from midwatch.engine.rehearsal import rehearse_later
from midwatch.engine.restore import restore
from midwatch.engine.specs import forget_environments
from midwatch.host.detect import Manager
from midwatch.machine import this_machine
from midwatch.model.service import ServiceSpec
from midwatch.policy import defaults
from midwatch.record.lock import LockWatch, Look


class Request(msgspec.Struct, frozen=True):
    """What the launcher wants from a new daemon; a file that the engine deletes once it is accepted."""

    project: str
    source: str
    specs: list[ServiceSpec]
    by: str = "launcher"
    settings: Settings | None = None
    json: bool = False  # `run --json`: events on stderr as JSON lines
    terminal: bool = False  # Ctrl-C reaches the run directly: it shares our foreground group
    outer: Manager | None = None  # who started the daemon, as far as the launcher could tell


class Words:
    """The engine's stderr, in whole lines. Cannot fail: daemon.log may lie on the disk that is full."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._held = ""

    def write(self, text: str) -> int:
        """Hold it until its line has an end."""
        self._held += text
        if text.endswith("\n"):
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Out with it, or away."""
        held, self._held = self._held, ""
        try:
            if held:
                os.write(2, held.encode("utf-8", "backslashreplace"))
        except OSError:
            pass  # nobody can be told

    def isatty(self) -> bool:
        """As of any stream."""
        return os.isatty(2)

    def fileno(self) -> int:
        """As of any stream."""
        return 2


class Boot:
    """One engine process from start to end."""

    def __init__(self, layout: Layout, mode: str) -> None:
        self.layout = layout
        self.mode = mode
        self.engine: Engine = None  # type: ignore[assignment]
        self.foreground: Foreground | None = None
        self.over = asyncio.Event()
        self._hello: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._early: list[dict[str, Any]] = []
        self._stopping = 0
        self._leaving = False
        self._control: Control | None = None
        self._outer: Outer = None  # type: ignore[assignment]

    async def run(self) -> None:
        """Until the daemon ends."""
        link = await KeeperLink.connect(int(os.environ.pop("MIDWATCH_KEEPER_FD")), self._frame, self._keeper_gone)
        hello = await self._hello
        request = self._request()
        keep_group = bool(request and request.terminal)
        machine = this_machine(self.layout.instance, hello["pid"])
        moved = machine.settle()
        self.engine = Engine(self.layout, machine, link, hello["pid"], keep_group=keep_group)
        self.engine.jobs.finish["quit"] = lambda _, __: self._stopped()
        methods = Methods(self.engine, self.quit)
        plan = self._plan()
        self.engine.spawner.outer_env = plan.get("outer_env") or {}
        self._outer = Outer(self.engine, plan, foreground=self.mode == "foreground")
        self._watch_lock(plan)
        await restore(self.engine, hello, fresh=self.mode == "foreground")
        if moved:
            self.engine.write("cgroup.settled", fields={"message": moved})
        if self.mode == "foreground":
            self.foreground = Foreground(self.engine, self.quit, json=bool(request and request.json))
        self._control = Control(self.engine, methods)
        await self._control.open()
        for frame in self._early:
            self._frame(frame)
        self._early.clear()
        self.engine.output.watch_disk()
        self.engine.pulse.start()
        self.engine.guards.start()
        self.engine.captures.recover()
        rehearse_later(self.engine)
        if request is not None:
            self._apply(request)
        request = None  # the services share equal rules by now; this would keep 4 KB more of each for ever
        self._outer.booted()
        gc.collect()
        gc.freeze()
        await self.over.wait()

    def _request(self) -> Request | None:
        path = self.layout.home / "request.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Request)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def _plan(self) -> dict[str, Any]:
        """What the keeper was started with."""
        try:
            return msgspec.json.decode((self.layout.home / "keeper.json").read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}

    def _apply(self, request: Request) -> None:
        if request.outer is not None and request.outer.confidence != "none":
            who = {"manager": request.outer.name, "confidence": request.outer.confidence}
            self.engine.write("outer.detected", fields={**who, "reasons": request.outer.reasons})
        applied = self.engine.applier.apply(
            request.project, request.source, request.specs, dry_run=False, prune=True, by=request.by,
            settings=request.settings, rest="again" if self.mode == "foreground" else "start",
        )
        if applied.problem:
            print(f"midwatch: {applied.problem}", file=sys.stderr, flush=True)
            self.quit(78)
            return
        (self.layout.home / "request.json").unlink(missing_ok=True)

    # -- frames from the keeper --------------------------------------------------------------------------------

    def _frame(self, frame: dict[str, Any]) -> None:
        kind = frame["ev"]
        if kind == "hello":
            self._hello.set_result(frame)
        elif self._control is None:
            self._early.append(frame)  # bounded by the keeper's table: at most one exit and one signal each
        elif kind == "exited":
            self.engine.ender.exited(frame)
        elif kind == "signal":
            self._signal(frame["signum"])
            self.engine.link.send(op="heard", signum=frame["signum"])
        elif kind in ("rotated", "dropped", "drained"):
            getattr(self.engine.output, kind)(frame)
            if self.foreground is not None:
                self.foreground.stream(kind, frame)

    def _watch_lock(self, plan: dict[str, Any]) -> None:
        """Each beat: is the file at the lock's path still the one that the keeper has locked (E12)?"""
        mine = plan.get("lock")
        if not isinstance(mine, list) or len(mine) != 2:
            return
        info = {"pid": self.engine.keeper_pid, "version": __version__, "what": "midwatch, after its lock file was lost"}
        watch = LockWatch(self.layout.lock, (mine[0], mine[1]), info, misses=defaults.LOCK_MISSES)
        self.engine.pulse.also.append(lambda: self._lock_is(watch.look()))
        self.engine.spawner.may_start = lambda: self._lock_is(watch.look())

    def _lock_is(self, found: Look) -> bool:
        """Act on it; says whether this home is ours."""
        if found == "lost":
            # Another daemon has this home: records, socket and services are its own by now. Nothing is touched.
            self.engine.complain(f"another daemon holds {self.layout.lock}; this one leaves, the services stay")
            self.engine.link.ask(lambda _: os._exit(75), op="exit", code=75, force=True)
        elif found != "ours":
            words = "was deleted; it is made and locked again" if found == "retaken" else "cannot be looked at"
            self.engine.write("state.damaged", fields={"path": str(self.layout.lock), "problem": f"the lock {words}"})
        return found != "lost"

    def _keeper_gone(self) -> None:
        """Nothing can be reaped or spawned any more; the next start finds the runs by their records."""
        os._exit(75)

    def _signal(self, signum: int) -> None:
        run = self.foreground.run if self.foreground is not None else None
        if signum in (signal.SIGTERM, signal.SIGINT) or (signum == signal.SIGHUP and self.mode != "detached"):
            self._stopping += 1
            by = signal.Signals(signum).name
            self._stop_all(by, now=self._stopping > 1, signalled=signum == signal.SIGINT and self.engine.keep_group)
        elif signum == signal.SIGQUIT:
            self._stop_all("SIGQUIT", now=True, signalled=False)
        elif run is not None and run.tree is not None and signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
            self.engine.machine.signal(run.tree.main, signum)

    def _stop_all(self, by: str, *, now: bool, signalled: bool) -> None:
        names = list(self.engine.services)
        self._outer.stopping()
        self.engine.jobs.ask("stop", names, by, now=now, signalled=signalled, after=After("quit"))

    def _stopped(self) -> None:
        if self.foreground is None:
            self.quit(0)

    # -- the end -----------------------------------------------------------------------------------------------

    def quit(self, code: int) -> None:
        """End the daemon: the keeper goes with us and returns `code`."""
        if self._leaving:
            return
        self._leaving = True
        self._outer.stopping()
        engine = self.engine
        for service in engine.services.values():
            engine.gates.drop(service)
        if self.mode == "foreground":
            forget_environments(self.layout.specs, [service.spec for service in engine.services.values()])
        engine.write("daemon.stopped", fields={"code": code})
        if self._control is not None:
            self._control.close()
        engine.later(defaults.GOODBYE, lambda: self._leave(code, 0))

    def _leave(self, code: int, tries: int) -> None:
        """The keeper refuses while a run is left (a warm gate that is just leaving): ask again, bounded."""

        def answered(answer: dict[str, Any]) -> None:
            if "error" in answer and tries < defaults.LEAVE_TRIES:
                self.engine.later(defaults.GOODBYE, lambda: self._leave(code, tries + 1))
                return
            self.engine.close()
            self.over.set()

        self.engine.link.ask(answered, op="exit", code=code, force=tries >= defaults.LEAVE_TRIES)


def main(arguments: list[str]) -> None:
    """Entry point of the process."""
    home, runtime, mode = arguments
    sys.stderr = Words()
    # The keeper hears the signals of the outside world and tells us; ours would only double them.
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, signal.SIG_IGN)
    from pathlib import Path

    async def live() -> None:
        asyncio.get_running_loop().set_default_executor(Workers())
        await Boot(Layout(Path(home), Path(runtime)), mode).run()

    asyncio.run(live())
