"""One embedded instance from lock to release, inside whatever event loop runs it: an engine in somebody's process.

Order of the beginning: lock, keeper, what an earlier host left is ended, services. Order of the end, whichever it is:
services stopped and verified, keeper gone, lock released. Never exits the process, touches a signal handler or
prints an event. Must not know threads or callbacks (embed.py).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from midwatch import __version__
from midwatch.config.problems import Loaded
from midwatch.engine.control import Control
from midwatch.engine.core import Engine
from midwatch.engine.embed.errors import AlreadyRunning, SupervisorError
from midwatch.engine.embed.keeper import KeeperPort, RealKeeper
from midwatch.engine.embed.methods import HostMethods
from midwatch.engine.launch import LaunchError, layout_problem
from midwatch.engine.layout import Layout
from midwatch.engine.restore import _end_orphan, restore
from midwatch.engine.specs import forget_environments
from midwatch.machine import this_machine
from midwatch.machine.ports import Machine
from midwatch.model.identity import Now, ProcId
from midwatch.policy import defaults
from midwatch.record.lock import Held, InstanceLock, Unwritable

Told = Callable[[float, str, str | None, dict[str, Any]], None]  # wall time, event, service, fields
LOST = 75  # the exit code of "lock lost", told in daemon.stopped


class Clocked:
    """A machine with another clock."""

    def __init__(self, machine: Machine, clock: Callable[[], Now]) -> None:
        self._machine = machine
        self.now = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)


class Host:
    """`open` once, `close` once or more, in the same loop. `told` hears every event."""

    def __init__(
        self, layout: Layout, loaded: Loaded, *, by: str, told: Told,
        keeper: KeeperPort | None = None, machine: Machine | None = None, clock: Callable[[], Now] | None = None,
        control: bool = True,
    ) -> None:  # fmt: skip
        self.layout = layout
        self.loaded = loaded
        self.by = by
        self.over = asyncio.Event()
        self.failure: SupervisorError | None = None
        self.lock = InstanceLock(layout.lock)
        self.keeper: KeeperPort = keeper or RealKeeper()
        self.engine: Engine = None  # type: ignore[assignment]
        self.methods: HostMethods = None  # type: ignore[assignment]
        self._machine, self._clock, self._told = machine, clock, told
        self._code = 0  # of daemon.stopped
        self._control: Control | None = None
        self._wants_control = control
        self._early: list[dict[str, Any]] | None = []
        self._hello: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._ending: asyncio.Task[None] | None = None
        self._hurry = False
        self._stop: Any = None  # the job of the end
        self._gone = False
        self._link: Any = None

    # -- the beginning -----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take the lock, clean up, start the services. Raises SupervisorError and has then left nothing."""
        try:
            layout_problem(self.layout)
        except LaunchError as error:
            raise SupervisorError(str(error)) from None
        await self._claim()
        try:
            await self._begin()
        except BaseException as error:
            await asyncio.shield(asyncio.ensure_future(self._abandon()))
            if isinstance(error, OSError):
                raise SupervisorError(f"cannot start the keeper: {error.strerror or error}") from error
            raise

    async def _claim(self) -> None:
        """The lock. One whose holder is dead is held by its keeper, which is just ending what is left: wait for it."""
        looker = self._machine or this_machine(self.layout.instance, 0)
        me = looker.identify(os.getpid())
        info = {
            "pid": os.getpid(), "start": me.start if me else 0, "boot": looker.now().boot, "version": __version__,
            "since": time.time(), "what": f"embedded in {self.by}",
        }  # fmt: skip
        limit = time.monotonic() + defaults.TAKE_OVER
        while True:
            try:
                self.lock.acquire(info)
                return
            except Held as held:
                if time.monotonic() > limit or _lives(looker, held.info):
                    raise AlreadyRunning(str(held), held.info) from None
            except Unwritable as error:
                raise SupervisorError(str(error)) from None
            await asyncio.sleep(0.05)

    async def _begin(self) -> None:
        layout = self.layout
        self._link = await self.keeper.open(layout, self.lock.fileno(), self._frame, self._keeper_gone)
        try:
            hello = await asyncio.wait_for(self._hello, defaults.KEEPER_START)
        except TimeoutError:
            raise SupervisorError(f"the keeper does not answer within {defaults.KEEPER_START:g} s") from None
        machine = self._machine or this_machine(layout.instance, hello["pid"])
        if self._clock is not None:
            machine = Clocked(machine, self._clock)
        if abs(asyncio.get_running_loop().time() - machine.now().awake) > defaults.GAP:
            raise SupervisorError("this event loop's time() is not the machine's awake clock; timers would be wrong")
        self.engine = Engine(layout, machine, self._link, hello["pid"])
        self.engine.on_line.append(lambda *line: self._told(machine.now().wall, *line))
        self.engine.jobs.finish["quit"] = lambda *_: self._put_down()
        self.methods = HostMethods(self.engine, lambda _: self._put_down(), self.by)
        await restore(self.engine, hello, fresh=True)
        self._forget_strangers()
        if self._wants_control:
            self._control = Control(self.engine, self.methods)
            await self._control.open()
        early, self._early = self._early or [], None
        for frame in early:
            self._frame(frame)
        self.engine.output.watch_disk()
        self.engine.pulse.also.append(self._look_at_lock)
        self.engine.pulse.start()
        self.engine.guards.start()
        self.engine.captures.recover()
        self._apply()

    def _forget_strangers(self) -> None:
        """Services that an earlier program had under another project's name: nobody asks for them here."""
        services = self.engine.services.values()
        self.engine.remove_services([s.spec.id for s in services if s.spec.project != self.loaded.project])

    def _apply(self) -> None:
        loaded = self.loaded
        applied = self.engine.applier.apply(
            loaded.project, loaded.path, list(loaded.specs), dry_run=False, prune=True, by=self.by,
            settings=loaded.settings, rest="again",
        )  # fmt: skip
        if applied.problem:
            raise SupervisorError(applied.problem)

    # -- what the keeper says ----------------------------------------------------------------------------------

    def _frame(self, frame: dict[str, Any]) -> None:
        kind = frame["ev"]
        if kind == "hello":
            if not self._hello.done():
                self._hello.set_result(frame)
        elif self._early is not None:
            self._early.append(frame)  # bounded: at most one exit each of what lives
        elif kind == "exited":
            self.engine.ender.exited(frame)
        elif kind in ("rotated", "dropped", "drained"):
            getattr(self.engine.output, kind)(frame)
        # A signal that reached the keeper is the host's to understand: it gets its own.

    def _keeper_gone(self) -> None:
        self._gone = True
        if not self._hello.done():
            self._hello.set_exception(SupervisorError("the keeper ended at once; its words are on stderr"))
        elif self._ending is None and self.engine is not None:
            self._lost("somebody killed the keeper", now=True)

    def _look_at_lock(self) -> None:
        """A removed or replaced file lets another one in: then there must not be two."""
        if self._ending is not None:
            return
        try:
            mine, there = os.fstat(self.lock.fileno()), os.stat(self.layout.lock)
            same = (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
        except OSError:
            same = False
        if not same:
            self._lost(f"the lock {self.layout.lock} was removed or replaced", now=False)

    def _lost(self, why: str, *, now: bool) -> None:
        self._code = LOST
        self.failure = SupervisorError(f"supervision has ended: {why}; start it anew")
        self.end(now)

    def _put_down(self) -> None:
        """Somebody has asked for it at the control socket."""
        if self._ending is None:
            self.failure = SupervisorError("supervision has ended: somebody asked for it (midwatch down --all)")
            self.end(False)

    def descriptors(self) -> list[int]:
        """Those that nobody else may keep open: the keeper's socket, the lock."""
        return [fd for fd in (getattr(self.keeper, "link", -1), self.lock.fileno()) if fd >= 0]

    # -- the end -----------------------------------------------------------------------------------------------

    async def close(self, now: bool = False) -> None:
        """Stop everything, verify it, release the lock."""
        self.end(now)
        assert self._ending is not None
        await asyncio.shield(self._ending)

    def end(self, now: bool) -> None:
        """Begin to end; `over` is set when it is done. Again, with `now`: skip what is left of the grace."""
        if now and not self._hurry and self._ending is not None and not self._gone:
            self._hurry = True
            self._ask_stop(True)
        self._hurry = self._hurry or now
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._finish())

    def _ask_stop(self, now: bool) -> None:
        self._stop = self.engine.jobs.ask("stop", list(self.engine.services), self.by, now=now)

    async def _finish(self) -> None:
        engine = self.engine
        try:
            left = await self._end_orphans() if self._gone else await self._stop_all()
            for service in engine.services.values():
                engine.gates.drop(service)
            forget_environments(self.layout.specs, [service.spec for service in engine.services.values()])
            engine.write("daemon.stopped", fields={"code": self._code})
            if self._control is not None:
                self._control.close()
            if not self._gone:
                await self._dismiss()
            engine.close()
            if left and self.failure is None:
                self.failure = SupervisorError(f"supervision has ended, but not everything could be: {left}")
        except Exception as error:  # noqa: BLE001  the keeper ends what we could not; whoever waits is told
            self.failure = self.failure or SupervisorError(f"supervision broke off: {type(error).__name__}: {error}")
        finally:
            await self._abandon()
            self.over.set()

    async def _stop_all(self) -> str:
        """Every service down and verified; a newer, hurried job replaces the one that is waited for."""
        self._ask_stop(self._hurry)
        while not self._stop.done and not self._gone:
            settled = asyncio.Event()
            self._stop.waiters.append(settled.set)
            waiting = [asyncio.ensure_future(settled.wait()), asyncio.ensure_future(asyncio.sleep(defaults.PULSE))]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
        if self._gone:
            return await self._end_orphans()
        return "; ".join(outcome.message for outcome in self._stop.results.values() if not outcome.ok)

    async def _end_orphans(self) -> str:
        """Without a keeper nobody tells us of exits: end by identity what our table says may live."""
        engine, loop = self.engine, asyncio.get_running_loop()
        trees = [run.tree for run in engine.runs.values() if run.tree is not None]
        ended = await asyncio.gather(*(loop.run_in_executor(None, _end_orphan, engine, tree) for tree in trees))
        for tree, how in zip(trees, ended, strict=True):
            if how is not None:
                fields = {"run_id": tree.run, "pid": tree.main.pid, "ended": how.ended, "left": len(how.left),
                          "verified_by": how.verified_by}  # fmt: skip
                engine.write("run.orphaned", service="/".join(tree.run.split(".")[:2]), run=tree.run, fields=fields)
        for tree, how in zip(trees, ended, strict=True):
            if how is None or not how.left:
                engine.records.remove(tree.run)
        left = [str(proc.pid) for how in ended if how is not None for proc in how.left]
        return f"pids {' '.join(left)} are left" if left else ""

    async def _dismiss(self) -> None:
        """The keeper refuses while a run is left (a warm gate that is just leaving): ask again, bounded."""
        for number in range(defaults.LEAVE_TRIES + 1):
            answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            force = number >= defaults.LEAVE_TRIES
            self._link.ask(lambda a, f=answered: f.done() or f.set_result(a), op="exit", code=0, force=force)
            await asyncio.wait([answered], timeout=defaults.GOODBYE if self._gone else defaults.KEEPER_START)
            if self._gone or not answered.done() or "error" not in answered.result():
                return
            await asyncio.sleep(defaults.GOODBYE)

    async def _abandon(self) -> None:
        """No keeper, no lock any more; also in the middle of a beginning."""
        if self._link is not None:
            self._link.close()
            await self.keeper.ended()
        self.lock.release()


def _lives(machine: Machine, info: dict[str, Any]) -> bool:
    """Is the holder that this lock file names a living process? One that does not say so counts as alive."""
    pid, start, boot = info.get("pid"), info.get("start"), info.get("boot")
    if not isinstance(pid, int) or not isinstance(start, int) or not isinstance(boot, str) or pid == os.getpid():
        return True
    return machine.alive(ProcId(pid, start, boot))


def by_name() -> str:
    """Who we are, for the journal and the lock."""
    return os.path.basename(sys.argv[0] if sys.argv else "") or "python"
