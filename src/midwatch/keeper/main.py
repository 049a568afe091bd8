"""The keeper's loop: parent of every run, holder of every wait status, starter of the engine. It decides nothing.

What it knows is one table that each new engine gets with its hello; nothing is queued for an absent engine but signals.
Exits are noticed by SIGCHLD, which adopted orphans need anyway: no descriptor a run ([M] 69 us; a pidfd 62), but for
the main processes that are not our children (adopt.py).
Must not know services, restarts or stops: an engine asks for each start and is told of each exit.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import json
import os
import resource
import select
import signal
import sys
import time

from midwatch.keeper import wire
from midwatch.keeper.adopt import Ends, attach
from midwatch.keeper.pump import NULL, Pump
from midwatch.keeper.spawn import FILES, GATE, MOST, OURS, Run, start
from midwatch.keeper.wire import Frame

FORWARDED = [getattr(signal, "SIG" + n) for n in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "CONT", "WINCH")]
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
UNBORN = 5  # deaths before any engine spoke: nothing is kept alive, so ending with its code is the truth
YOUNG, PAUSE_MAX = 10.0, 5.0  # s; engines that die younger make the pause before the next one grow up to the max
MUTE = 5.0  # s that an engine has to end itself when its socket is closed
FLUSH = 1.0  # s that the last bytes may take at the end


class Engine:
    """One engine process after another, and the socket to it. One that leaves MAX_FRAME bytes unread hangs: its
    successor's hello says everything again."""

    def __init__(self, config: Frame) -> None:
        self.argv, self.env = config["engine"], config["env"]
        self.link: _socket.socket | None = None
        self.out, self.held, self.spoke = bytearray(), bytearray(), False
        self.pid, self.code, self.starts = -1, 0, 0
        self.born = self.pause = 0.0
        self.due: float | None = 0.0  # when the next one starts, or one without a link is killed

    def patience(self) -> int | None:
        """Milliseconds until something is due."""
        return None if self.due is None else int(1000 * max(0.0, self.due - time.monotonic() + 0.001))

    def attend(self) -> bool:
        """Do what is due; says whether there is a new engine."""
        if self.due is None or self.due > time.monotonic():
            return False
        self.due = None
        if self.pid > 0:
            os.kill(self.pid, signal.SIGKILL)
        else:
            self.start()
        return self.link is not None

    def start(self) -> None:
        self.starts, self.born = self.starts + 1, time.monotonic()
        self.out, self.held = bytearray(), bytearray()
        try:  # a process group of its own: Ctrl-C at a terminal reaches it through us, once, as a frame
            resource.setrlimit(FILES, MOST)
            self.link, theirs = _socket.socketpair()
            self.link.setblocking(False)
            env = {**self.env, wire.FD_VARIABLE: str(theirs.fileno())}
            self.pid = start(self.argv, self.argv[0], env, (NULL, -1, -1), keep=(theirs.fileno(),), group=0)
            theirs.close()
        except OSError as e:  # `theirs` is closed with its last name
            complain(f"cannot start the engine {self.argv[0]}: {e.strerror}; trying again")
            self.ended(127)

    def ended(self, code: int) -> None:
        """It is gone: note when the next one starts."""
        self.hang_up()
        now = time.monotonic()
        if now - self.born >= YOUNG:
            self.pause = 0.0
        self.pid, self.code, self.due = -1, code, now + self.pause
        self.pause = min(PAUSE_MAX, max(0.1, self.pause * 2))

    def hang_up(self) -> None:
        """Close the socket: an engine without one ends itself, or is killed when it has not."""
        if self.link:
            self.link.close()
        self.link, self.due = None, time.monotonic() + MUTE

    def send(self, message: Frame) -> None:
        """Send or hold it; without an engine it is dropped, the next hello tells it."""
        if self.link:
            self.out += wire.encode(message)
            self.flush()

    def flush(self) -> None:
        try:
            while self.link and self.out:
                del self.out[: self.link.send(self.out)]
        except BlockingIOError:
            if len(self.out) > wire.MAX_FRAME:
                self.hang_up()
        except OSError:
            self.hang_up()

    def receive(self) -> list[Frame]:
        try:
            if self.link and (piece := self.link.recv(1 << 16)):
                self.spoke = True
                self.held += piece
                return wire.decode(self.held)
        except OSError:
            pass  # it died with something unread
        except (ValueError, RecursionError) as e:
            complain(f"the engine's frames make no sense: {e}")
        self.hang_up()
        return []


class Keeper:
    """The table of runs and everything that changes it."""

    def __init__(self, config: Frame) -> None:
        self.runs: dict[str, Run] = {}
        self.pids: dict[int, Run] = {}  # of those that live
        self.signals: list[int] = []  # not yet told; bounded
        self.asked = 0  # the signal that asked for our end: an engine that cannot live does not hear it
        self.exit_code: int | None = None
        self.wake, waker = os.pipe()
        os.set_blocking(waker, False)
        children = f"/proc/self/task/{os.getpid()}/children"
        self.children = os.open(children if os.path.exists(children) else os.devnull, os.O_RDONLY)
        self.engine, self.pump, self.ends = Engine(config), Pump(waker), Ends()
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
                runs = [run.facts() for run in self.runs.values()]
                engine.send({"ev": "hello", "version": wire.VERSION, "pid": os.getpid(),
                             "engine_restarts": engine.starts - 1, "runs": runs})
            while self.signals and engine.link:
                engine.send({"ev": "signal", "signum": self.signals.pop(0)})
            poll = select.poll()
            poll.register(self.wake, select.POLLIN)
            if engine.link:
                poll.register(engine.link, select.POLLIN | (select.POLLOUT if engine.out else 0))
            if self.ends.runs:
                poll.register(self.ends.fd, select.POLLIN)
            ready = dict(poll.poll(engine.patience()))
            if self.wake in ready or self.ends.fd in ready:
                self.woken(self.wake in ready)
            else:
                self.ends.looked = time.monotonic()
            engine.flush()
            if engine.link and ready.get(engine.link.fileno(), 0) & ~select.POLLOUT:
                for message in engine.receive():
                    self.handle(message)
        return code

    def over(self) -> int | None:
        """The code to end with; None: go on. Without an engine and without a run there is nothing to keep alive."""
        engine = self.engine
        if engine.pid < 0 and self.exit_code is None and all(run.ended for run in self.runs.values()):
            if engine.starts >= UNBORN and not engine.spoke:
                return engine.code
            if self.asked and engine.patience():  # the last one died young, the next one is not due yet
                return 128 + self.asked
        return None if engine.pid > 0 else self.exit_code

    def woken(self, told: bool) -> None:
        """Signals and the pump's messages; a child's end first, somebody waits for it."""
        data = os.read(self.wake, 1 << 16) if told else b""
        self.reap()
        self.signals = [*self.signals, *(n for n in data if n in self.heard)][:16]
        self.asked = next((n for n in self.signals if n in (signal.SIGTERM, signal.SIGINT)), self.asked)
        while self.pump.said:
            self.engine.send(self.pump.said.pop(0))

    def reap(self) -> None:
        """Collect everything that ended: runs, the engine, orphans. The only place that waits for any pid."""
        ended: list[Run] = []
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
        if self.ends.runs:
            for run, facts in self.ends.over():
                if self.pids[run.pid] is run:  # else: its number is already a child's
                    del self.pids[run.pid]
                run.ended = facts
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

    def op_spawn(self, ask: Frame) -> Frame:
        if ask["run"] in self.runs:
            raise FileExistsError(errno.EEXIST, f"the run {ask['run']} is already in the table")
        run = Run(ask["run"])
        run.spawn(ask)
        self.enter(run)
        return {"pid": run.pid, "start": run.start}

    def op_attach(self, ask: Frame) -> Frame:
        if ask["run"] in self.runs or ask["pid"] in self.pids or ask["pid"] in (os.getpid(), self.engine.pid):
            raise FileExistsError(errno.EEXIST, f"{ask['run']} or process {ask['pid']} is already in the table")
        run, lost = attach(ask, self.ends)
        self.enter(run)
        return {"ok": True, "lost": lost}

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


def complain(words: str) -> None:
    """A full disk or a closed terminal behind our stderr is no reason to die."""
    try:
        os.write(2, f"midwatch: {words}\n".encode())
    except OSError:
        pass


def main(plan: str) -> int:
    with open(plan, encoding="utf-8") as f:
        config: Frame = json.load(f)
    try:
        os.dup(GATE)  # inherited, the instance's lock perhaps: it lives on under another number
    except OSError:
        pass
    os.dup2(NULL, GATE, inheritable=False)  # before anything else can get this number
    resource.setrlimit(FILES, OURS)
    keeper = Keeper(config)
    code, end = keeper.loop(), time.monotonic() + FLUSH
    while keeper.pump.streams and time.monotonic() < end:
        time.sleep(0.005)
    return code
