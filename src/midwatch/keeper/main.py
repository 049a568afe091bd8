"""The keeper's loop: parent of every run, holder of every wait status, starter of the engine. It decides nothing.

What it knows is one table that each new engine gets with its hello; nothing is queued for an absent engine but signals.
Exits are noticed by SIGCHLD, which adopted orphans need anyway: no descriptor a run ([M] 69 us; a pidfd 62), but for
the main processes that are not our children (adopt.py).
Must not know services, restarts or stops: an engine asks for each start and is told of each exit.
"""

from __future__ import annotations

import _thread
import errno
import json
import os
import resource
import select
import signal
import sys
import time

from midwatch.keeper import again, embed, wire
from midwatch.keeper.adopt import Ends, attach, follow
from midwatch.keeper.engine import Engine
from midwatch.keeper.pump import Pump
from midwatch.keeper.sockets import Sockets, notify
from midwatch.keeper.spawn import FILES, OURS, Run, reserve
from midwatch.keeper.wire import Frame

FORWARDED = [getattr(signal, "SIG" + n) for n in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "CONT", "WINCH")]
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
UNBORN = 5  # deaths before any engine spoke: nothing is kept alive, so ending with its code is the truth
FLUSH = 1.0  # s that the last bytes may take at the end


class Keeper:
    """The table of runs and everything that changes it."""

    def __init__(self, config: Frame) -> None:
        self.runs: dict[str, Run] = {}
        self.pids: dict[int, Run] = {}  # of those that live
        self.signals: list[int] = []  # that no engine has acted on yet; bounded
        self.told = 0  # so many of them the engine that lives has been told
        self.asked = 0  # the signal that asked for our end: an engine that cannot live does not hear it
        self.exit_code: int | None = None
        self.ending = 0.0  # when those are killed whose host program has left
        self.wake, waker = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(waker, False)
        children = f"/proc/self/task/{os.getpid()}/children"
        self.children = os.open(children if os.path.exists(children) else os.devnull, os.O_RDONLY)
        self.engine, self.pump, self.ends, self.sockets = Engine(config), Pump(waker), Ends(), Sockets()
        self.manager: str = config.get("notify") or ""
        # What our parent ignores (nohup, a shell's &) has no effect on us either, but children get the default.
        self.heard = [n for n in FORWARDED if signal.getsignal(n) != signal.SIG_IGN]
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (*FORWARDED, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        _thread.start_new_thread(self.pump.serve, ())

    def loop(self) -> int:
        """Until it is over; returns the exit code."""
        engine = self.engine
        while (code := self.over()) is None:
            if engine.attend():
                self.hello()
            while engine.link and self.told < len(self.signals):
                engine.send({"ev": "signal", "signum": self.signals[self.told]})
                self.told += 1
            poll = select.poll()
            poll.register(self.wake, select.POLLIN)
            if engine.link:
                poll.register(engine.link, select.POLLIN | (select.POLLOUT if engine.out else 0))
            if self.ends.runs:
                poll.register(self.ends.fd, select.POLLIN)
            before = time.monotonic()
            alone = engine.host is not None and not engine.link  # it hung up before our hello was out
            ready = dict(poll.poll(embed.LOOK if self.ending or alone else engine.patience()))
            waited = time.monotonic() - before
            if self.wake in ready or self.ends.fd in ready:
                self.woken()
            else:
                self.ends.looked = time.monotonic()
            engine.flush()
            if engine.link and ready.get(engine.link.fileno(), 0) & ~select.POLLOUT:
                for message in engine.receive():
                    self.handle(message)
            else:
                engine.count(waited)
        return code

    def hello(self) -> None:
        """What a new engine has to know: everything that we keep."""
        engine, self.told = self.engine, 0
        runs = [run.facts() for run in self.runs.values()]
        engine.send({"ev": "hello", "version": wire.VERSION, "pid": os.getpid(), "engine_restarts": engine.starts - 1,
                     "engine_code": engine.code, "engine_hung": engine.hung, "runs": runs,
                     "sockets": self.sockets.facts()})
        engine.hung = False
        if engine.starts > 1 and self.manager:
            notify(self.manager, "STATUS=engine restarted")

    def over(self) -> int | None:
        """The code to end with; None: go on. Without an engine and without a run there is nothing to keep alive."""
        engine = self.engine
        if engine.host is not None and engine.starts and not engine.link:
            embed.wind_up(self)
        if engine.pid < 0 and self.exit_code is None and all(run.ended for run in self.runs.values()):
            if engine.starts >= UNBORN and not engine.spoke:
                return engine.code
            if self.asked and engine.patience():  # the last one died young, the next one is not due yet
                return 128 + self.asked
        return None if engine.pid > 0 else self.exit_code

    def woken(self) -> None:
        """Signals and the pump's messages; a child's end first, somebody waits for it."""
        try:
            data = os.read(self.wake, 1 << 16)
        except BlockingIOError:
            data = b""
        self.reap()
        self.signals = [*self.signals, *(n for n in data if n in self.heard)][:16]
        self.asked = next((n for n in self.signals if n in (signal.SIGTERM, signal.SIGINT)), self.asked)
        while self.pump.said:
            self.engine.send(self.pump.said.pop(0))

    def reap(self) -> None:
        """Collect everything that ended: runs, the engine, orphans. The only place that waits for any pid."""
        ended: list[Run] = []
        gone = self.ends.ready()
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if run := self.pids.pop(pid, None):  # ru_maxrss starts at our own size: the child was us until exec
                run.ended = {"status": status, "cpu_seconds": usage.ru_utime + usage.ru_stime,
                             "max_rss_bytes": usage.ru_maxrss * RSS_UNIT}
                self.ends.forget(run)
                ended.append(run)
            elif pid == self.engine.pid:
                self.engine.ended(os.WEXITSTATUS(status) or 128 + os.WTERMSIG(status))
        for run in gone:
            if run.ended:
                continue
            if self.pids.get(run.pid) is run:  # else: its number is already a child's
                del self.pids[run.pid]
            run.ended = self.ends.over(run)
            ended.append(run)
        strays = self.strays() if ended else []
        for run in ended:
            run.ended["at"] = run.ended["ended_at"] = time.monotonic()
            self.engine.send({"ev": "exited", "run": run.run, "pid": run.pid, **run.ended, "strays": strays})
            run.release(opened=False)

    def strays(self) -> list[int]:
        """Children of ours that are nobody's main process: orphans, as far as the kernel tells."""
        known = {self.engine.pid, *self.pids}
        return [pid for pid in map(int, os.pread(self.children, 1 << 16, 0).split()) if pid not in known]

    def handle(self, message: Frame) -> None:
        """Carry out one request; whatever goes wrong is an answer, never our end."""
        answer: Frame = {"id": message.get("id")}
        try:
            answer |= getattr(self, f"op_{message['op']}")(message) or {"ok": True}
        except Exception as e:  # noqa: BLE001
            answer["errno"] = errno.errorcode.get(getattr(e, "errno", 0), "EINVAL")
            answer["phase"] = getattr(e, "phase", "prepare")
            answer["error"] = getattr(e, "strerror", "") or f"{type(e).__name__}: {e}"
        if answer["id"] is not None:
            self.engine.send(answer)

    def op_heard(self, ask: Frame) -> None:
        """The engine has acted on a signal; one that dies before it says so leaves it to its successor."""
        self.signals.remove(ask["signum"])
        self.told -= 1

    def op_spawn(self, ask: Frame) -> Frame:
        if ask["run"] in self.runs:
            raise FileExistsError(errno.EEXIST, f"the run {ask['run']} is already in the table")
        run = Run(ask["run"])
        run.spawn(ask, self.sockets.passed(ask.get("listen") or []))
        self.enter(run)
        return {"pid": run.pid, "start": run.start}

    def op_attach(self, ask: Frame) -> Frame:
        if ask["run"] in self.runs:
            raise FileExistsError(errno.EEXIST, f"the run {ask['run']} is already in the table")
        self.check_new(ask["pid"])
        run, lost = attach(ask, self.ends)
        self.enter(run)
        return {"ok": True, "lost": lost}

    def op_follow(self, ask: Frame) -> None:
        run = self.runs[ask["run"]]
        if not run.ended:
            raise OSError(errno.EBUSY, f"the main process of {run.run} lives")
        self.check_new(ask["pid"])
        self.runs[run.run] = self.pids[ask["pid"]] = follow(run, ask, self.ends)

    def op_listen(self, ask: Frame) -> Frame:
        return {"ok": True, "address": self.sockets.listen(ask["name"], ask["address"], ask.get("backlog"))}

    def op_unlisten(self, ask: Frame) -> None:
        self.sockets.unlisten(ask["name"])

    def op_notify(self, ask: Frame) -> None:
        if self.manager:
            notify(self.manager, ask["text"])

    def op_alive(self, _: Frame) -> None:
        self.engine.beats = True

    def op_reexec(self, ask: Frame) -> None:
        again.execute(self, ask["argv"])

    def check_new(self, pid: int) -> None:
        """Nobody is the main process of two runs, and we and the engine of none."""
        if pid in self.pids or pid in (os.getpid(), self.engine.pid):
            raise FileExistsError(errno.EEXIST, f"process {pid} is already in the table")

    def enter(self, run: Run) -> None:
        self.runs[run.run] = self.pids[run.pid] = run
        for stream in run.streams.values():
            self.pump.add(stream)

    def op_release(self, ask: Frame) -> None:
        self.runs[ask["run"]].release(opened=True)

    def op_drop(self, ask: Frame) -> None:
        self.runs[ask["run"]].release(opened=False)

    def op_taken(self, ask: Frame) -> None:
        if self.runs[ask["run"]].ended:
            del self.runs[ask["run"]]

    def op_pump(self, ask: Frame) -> None:
        self.runs[ask["run"]].streams[ask["stream"]].discard = ask["discard"]

    def op_exit(self, ask: Frame) -> None:
        alive = [run.run for run in self.pids.values()]
        if alive and not ask.get("force"):
            raise OSError(errno.EBUSY, f"still running: {' '.join(alive[:10])}")
        self.exit_code = int(ask["code"])


def main(plan: str, table: str = "") -> int:
    with open(plan, encoding="utf-8") as f:
        config: Frame = json.load(f)
    moved = reserve()
    if (host := config.get("embedded")) is not None:
        config["embedded"] = moved.get(host, host)
    resource.setrlimit(FILES, OURS)
    keeper = Keeper(config)
    if table:
        again.restore(keeper, moved.get(int(table), int(table)))
    code, end = keeper.loop(), time.monotonic() + FLUSH
    while keeper.pump.streams and time.monotonic() < end:
        time.sleep(0.005)
    for name in [] if keeper.pids else list(keeper.sockets.named):
        keeper.sockets.unlisten(name)
    return code
