"""The keeper's loop: parent of every run, holder of every wait status, starter of the engine. It decides nothing.
What it knows is one table that each new engine gets with its hello; nothing is queued for an absent engine.
Exits are noticed by SIGCHLD, which adopted orphans need anyway: no descriptor a run ([M] 69 us; a pidfd 62).
Tests: tests/keeper/.
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
from midwatch.keeper.pump import NULL, Pump
from midwatch.keeper.spawn import FILES, GATE, LIMIT, Run, open_fifo, start
from midwatch.keeper.wire import Frame

FORWARDED = [getattr(signal, "SIG" + n) for n in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "CONT", "WINCH")]
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
YOUNG, PAUSE_MAX = 10.0, 5.0  # s; engines that die younger make the pause before the next one grow up to the max
UNBORN = 5  # deaths before any engine spoke: nothing is kept alive, so ending with its code is the truth
MUTE = 5.0  # s from a closed link to SIGKILL: an engine without a link can do nothing useful
FLUSH = 2.0  # s that the last bytes may take at the end


class Engine:
    """One engine after another: process, socket, pause. One that leaves MAX_FRAME bytes unread hangs and is killed: the
    hello of its successor says everything again."""

    def __init__(self, config: Frame, umask: int) -> None:
        self.argv, self.env, self.umask = config["engine"], config.get("env") or dict(os.environ), umask
        self.pid = self.fd = self.restarts = -1
        self.out, self.held, self.spoke = bytearray(), bytearray(), False
        self.born = self.pause = self.mute_since = 0.0
        self.due: float | None = 0.0  # when the next one starts
        self.spare: list[int] = []  # what a start needs, so that runs cannot use it up

    def start(self) -> None:
        self.due, self.born, self.mute_since = None, time.monotonic(), 0.0
        self.restarts += 1
        self.out, self.held = bytearray(), bytearray()
        while self.spare:
            os.close(self.spare.pop())
        try:
            self.fd, theirs = (s.detach() for s in _socket.socketpair())
            os.set_blocking(self.fd, False)
            try:  # a process group of its own: Ctrl-C at a terminal reaches it through us, once, as a frame
                env = {**self.env, wire.FD_VARIABLE: str(theirs)}
                self.pid = start(self.argv, None, env, (NULL, -1, -1), (theirs,), None, False, 0, self.umask)
            finally:
                os.close(theirs)
        except OSError as e:
            os.write(2, f"midwatch: cannot start the engine {self.argv[0]}: {e.strerror}; trying again\n".encode())
            self.ended()
        try:
            while len(self.spare) < 4:
                self.spare.append(os.dup(NULL))
        except OSError:
            pass

    def ended(self) -> None:
        """It is gone: note when the next one starts."""
        self.hang_up()
        self.pid, now = -1, time.monotonic()
        young = now - self.born < YOUNG
        self.due = now + (self.pause if young else 0)
        self.pause = min(PAUSE_MAX, max(0.1, self.pause * 2)) if young else 0.0

    def hang_up(self, kill: bool = False) -> None:
        """Close the socket; SIGCHLD brings the rest."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd, self.mute_since = -1, time.monotonic()
        if kill and self.pid > 0:
            os.kill(self.pid, signal.SIGKILL)

    def send(self, message: Frame) -> None:
        """Send or hold one message; without an engine it is dropped, the next hello tells it."""
        if self.fd >= 0:
            self.out += wire.encode(message)
            self.flush()

    def flush(self) -> None:
        try:
            while self.out and self.fd >= 0:
                del self.out[:os.write(self.fd, self.out)]
        except BlockingIOError:
            if len(self.out) > wire.MAX_FRAME:
                self.hang_up(kill=True)
        except OSError:
            self.hang_up()

    def receive(self) -> list[Frame]:
        try:
            piece = os.read(self.fd, 1 << 16)
            self.held += piece
            if piece:
                self.spoke = True
                return wire.decode(self.held)
            self.hang_up()
        except BlockingIOError:
            pass
        except (OSError, ValueError, RecursionError) as e:
            os.write(2, f"midwatch: the engine's frames make no sense ({e}); killing it\n".encode())
            self.hang_up(kill=True)
        return []


class Keeper:
    """The table of runs and everything that changes it."""

    def __init__(self, config: Frame) -> None:
        self.umask = os.umask(0o077)
        self.runs: dict[str, Run] = {}
        self.pids: dict[int, Run] = {}  # of those that live
        self.signals: list[int] = []  # not yet told; bounded
        self.exit_code: int | None = None
        self.wake, waker = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(waker, False)
        children = f"/proc/self/task/{os.getpid()}/children"
        self.children = os.open(children, os.O_RDONLY) if os.path.exists(children) else -1
        self.engine, self.pump = Engine(config, self.umask), Pump(waker)
        # What our parent ignores (nohup, a shell's &) has no effect on us either, but children get the default.
        self.deaf = [n for n in FORWARDED if signal.getsignal(n) == signal.SIG_IGN]
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (*FORWARDED, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        _thread.start_new_thread(self.pump.serve, ())

    def loop(self) -> int:
        """Until the engine has ended after an exit request; returns its code."""
        engine = self.engine
        while engine.pid > 0 or self.exit_code is None:
            now, wait = time.monotonic(), None
            if engine.due is not None and now >= engine.due:
                engine.start()
                engine.send({"ev": "hello", "version": wire.VERSION, "pid": os.getpid(), **self.op_list({}),
                             "engine_restarts": engine.restarts})
                self.tell_signals()
            if engine.mute_since and engine.pid > 0 and now - engine.mute_since > MUTE:
                engine.hang_up(kill=True)
            if engine.due is not None or engine.mute_since:
                wait = 1 + int(1000 * max(0.0, (engine.mute_since + MUTE if engine.due is None else engine.due) - now))
            poll = select.poll()
            poll.register(self.wake, select.POLLIN)
            if engine.fd >= 0:
                poll.register(engine.fd, select.POLLIN | (select.POLLOUT if engine.out else 0))
            for fd, _ in poll.poll(wait):
                if fd == self.wake:
                    self.woken()
                elif fd == engine.fd:
                    engine.flush()
                    for message in engine.receive() if engine.fd >= 0 else ():
                        self.handle(message)
        return self.exit_code or 0

    def woken(self) -> None:
        """Signals and the pump's messages; a child's end first, somebody waits for it."""
        data = os.read(self.wake, 1 << 16)
        self.reap()
        self.signals = [*self.signals, *(n for n in data if n in FORWARDED and n not in self.deaf)][:16]
        self.tell_signals()
        while self.pump.said:
            self.engine.send(self.pump.said.popleft())

    def tell_signals(self) -> None:
        while self.signals and self.engine.fd >= 0:
            self.engine.send({"ev": "signal", "signum": self.signals.pop(0)})

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
                run.ended = {"status": status, "ended_at": time.monotonic(),
                             "cpu_seconds": usage.ru_utime + usage.ru_stime,
                             "max_rss_bytes": usage.ru_maxrss * RSS_UNIT}
                ended.append(run)
            elif pid == self.engine.pid:
                self.engine.ended()
                unborn = not (self.engine.spoke or self.runs) and self.engine.restarts + 1 >= UNBORN
                if unborn and self.exit_code is None:
                    self.exit_code = os.WEXITSTATUS(status) or 128 + os.WTERMSIG(status)
        strays = self.strays() if ended else None
        for run in ended:
            self.engine.send({"ev": "exited", "run": run.run, "pid": run.pid, **run.ended, "at": run.ended["ended_at"],
                              "strays": strays})
            if run.gate_fd >= 0:
                run.close_gate(False)

    def strays(self) -> list[int] | None:
        """Children of ours that are nobody's main process, at most 1000; None where the kernel does not tell."""
        if self.children < 0:
            return None
        known = {self.engine.pid, *self.pids}
        return [p for p in map(int, os.pread(self.children, 1 << 16, 0).split()) if p not in known][:1000]

    def handle(self, message: Frame) -> None:
        """Carry out one request; whatever goes wrong is an answer, never our end."""
        answer: Frame = {"id": message.get("id")}
        try:
            answer |= getattr(self, f"op_{message.get('op')}")(message) or {}
        except OSError as e:
            answer |= {"errno": errno.errorcode.get(e.errno or 0, "EIO"), "phase": getattr(e, "phase", "prepare"),
                       "error": e.strerror or str(e)}
        except Exception as e:  # noqa: BLE001
            answer |= {"errno": "EINVAL", "phase": "prepare", "error": f"{type(e).__name__}: {e}"}
        if answer["id"] is not None:
            self.engine.send(answer)

    def op_spawn(self, ask: Frame) -> Frame:
        if ask["run"] in self.runs:
            raise OSError(errno.EEXIST, f"the run {ask['run']} is already in the table")
        run = Run(ask, self.umask)
        self.runs[run.run] = self.pids[run.pid] = run
        for stream in run.streams.values():
            self.pump.add(stream)
        return {"pid": run.pid, "start": run.start}

    def op_attach(self, ask: Frame) -> Frame:
        """Pump the FIFOs of a run whose keeper died."""
        for stream in [open_fifo(ask, name, new=False) for name in ask["streams"]]:
            self.pump.turn(stream)  # before the pump's thread knows it: nothing and nobody left is no event
            if stream.src >= 0:
                self.pump.add(stream)
        return {"ok": True}

    def op_release(self, ask: Frame, opened: bool = True) -> Frame:
        self.runs[ask["run"]].close_gate(opened)
        return {"ok": True}

    def op_drop(self, ask: Frame) -> Frame:
        return self.op_release(ask, False)

    def op_taken(self, ask: Frame) -> None:
        if self.runs[ask["run"]].ended:
            del self.runs[ask["run"]]

    def op_pump(self, ask: Frame) -> None:
        for stream in list(self.pump.streams.values()):
            if (stream.run, stream.name) == (ask["run"], ask["stream"]):
                stream.limit = ask.get("limit") or stream.limit
                stream.discard = ask.get("discard", stream.discard)

    def op_list(self, ask: Frame) -> Frame:
        return {"runs": [run.facts() for run in self.runs.values()]}

    def op_exit(self, ask: Frame) -> Frame:
        alive = [r.run for r in self.runs.values() if not r.ended]
        if alive and not ask.get("force"):
            return {"error": f"still running: {' '.join(alive[:10])}"}
        self.exit_code = int(ask["code"])
        return {"ok": True}


def load(text: str) -> Frame:
    if not text.startswith("{"):
        with open(text, encoding="utf-8") as f:
            text = f.read()
    config: Frame = json.loads(text)
    return config


def main(config: Frame) -> int:
    try:
        os.dup(GATE)  # inherited, the instance's lock perhaps: it lives on under another number
    except OSError:
        pass
    os.dup2(NULL, GATE, inheritable=False)  # before anything else can get this number
    resource.setrlimit(FILES, (LIMIT[1], LIMIT[1]))
    keeper = Keeper(config)
    code, end = keeper.loop(), time.monotonic() + FLUSH
    while not keeper.pump.idle() and time.monotonic() < end:
        time.sleep(0.005)
    return code
