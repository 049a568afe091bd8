"""The keeper's loop: parent of every run, holder of every wait status, starter of the engine.

It decides nothing about services. What it knows fits in one table that each new engine gets with its hello;
nothing else is queued for an engine that is not there. Exits are noticed by SIGCHLD, which also tells of
adopted orphans: one path for both, on every platform, without a descriptor a run ([M] 69 against 62 us for a
pidfd). Tests: tests/system/test_keeper*.py.
"""

from __future__ import annotations

import _thread
import errno
import os
import select
import signal
import sys
import time
from collections import deque

from midwatch.keeper import constants as c
from midwatch.keeper import spawn
from midwatch.keeper.link import Engine
from midwatch.keeper.pump import NULL, Pump
from midwatch.keeper.runs import Run, launch, open_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
             signal.SIGCONT, signal.SIGWINCH)
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Keeper:
    """The table of runs and everything that changes it."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.umask = os.umask(0o077)
        self.runs: dict[str, Run] = {}
        self.pids: dict[int, Run] = {}
        self.signals: list[int] = []
        self.said: deque[dict[str, Any]] = deque()  # the pump's messages
        self.exit_code: int | None = None
        self.pump = Pump(self.say)
        self.engine = Engine(config["engine"], config.get("env") or dict(os.environ), self.umask)
        self.children = -1
        if os.path.exists(path := f"/proc/self/task/{os.getpid()}/children"):
            self.children = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.wake, self.waker = os.pipe()
        for fd in (self.wake, self.waker):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        for number in (*FORWARDED, signal.SIGCHLD):
            # Ignored by our parent (nohup, a shell's &): stays without effect on us, default in children.
            self.deaf = self.deaf | {number} if signal.getsignal(number) == signal.SIG_IGN else self.deaf
            signal.signal(number, lambda *_: None)
        _thread.start_new_thread(self.pump.run, ())

    deaf: frozenset[int] = frozenset()

    def say(self, message: dict[str, Any]) -> None:
        """Hand a message from the pump's thread to the main thread."""
        self.said.append(message)
        try:
            os.write(self.waker, b"\0")
        except BlockingIOError:
            pass

    def loop(self) -> int:
        """Run until the engine has ended after an exit request; return its code."""
        while True:
            engine = self.engine
            if engine.due is not None and time.monotonic() >= engine.due and engine.start():
                self.hello()
            poll = select.poll()
            poll.register(self.wake, select.POLLIN)
            if engine.fd >= 0:
                poll.register(engine.fd, select.POLLIN | (select.POLLOUT if engine.out else 0))
            for fd, _ in poll.poll(self.timeout()):
                if fd == self.wake:
                    self.woken()
                else:
                    engine.flush()
                    for message in engine.receive() if engine.fd >= 0 else ():
                        self.handle(message)
            if engine.mute_since and engine.pid > 0 and time.monotonic() - engine.mute_since > c.ENGINE_MUTE:
                engine.kill()
            if engine.pid < 0 and self.exit_code is not None:
                return self.exit_code

    def timeout(self) -> int | None:
        """Milliseconds until something is due."""
        e = self.engine
        due = e.due if e.due is not None else e.mute_since + c.ENGINE_MUTE + 0.01 if e.mute_since else None
        return None if due is None else max(0, int((due - time.monotonic()) * 1000) + 1)

    def hello(self) -> None:
        """The first frame to each new engine: the whole table, then the signals nobody has heard."""
        self.engine.send({"ev": "hello", "version": c.PROTOCOL, "pid": os.getpid(), "runs": self.table(),
                          "engine_restarts": self.engine.restarts})
        pending, self.signals = self.signals, []
        for number in pending:
            self.engine.send({"ev": "signal", "signum": number})

    def table(self) -> list[dict[str, Any]]:
        return [r.facts() for r in self.runs.values()]

    def woken(self) -> None:
        """Signals and messages of the pump; a child's end first, somebody waits for it."""
        data = os.read(self.wake, 65536)
        self.reap()
        for number in data:
            if number in FORWARDED and number not in self.deaf:
                if self.engine.fd >= 0:
                    self.engine.send({"ev": "signal", "signum": number})
                elif len(self.signals) < c.SIGNALS_MAX:
                    self.signals.append(number)
        while self.said:
            self.engine.send(self.said.popleft())

    def reap(self) -> None:
        """Collect everything that ended: runs, the engine, adopted orphans. The only place that waits for any pid."""
        ended: list[Run] = []
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if run := self.pids.pop(pid, None):
                # ru_maxrss starts at the keeper's own size: the child was us until exec.
                run.ended = {"status": status, "ended_at": time.monotonic(),
                             "max_rss_bytes": usage.ru_maxrss * RSS_UNIT, "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 6)}
                ended.append(run)
            elif pid == self.engine.pid:
                self.engine_ended(status)
        if not ended:
            return
        strays = self.strays()
        for run in ended:
            facts = {**run.ended, "at": run.ended["ended_at"], "strays": strays}
            self.engine.send({"ev": "exited", "run": run.run, "pid": run.pid, **facts})
            if run.gate_fd >= 0:
                run.close_gate(False)

    def strays(self) -> list[int] | None:
        """Children of ours that are nobody's main process; None where the kernel does not tell."""
        if self.children < 0:
            return None
        found = [int(p) for p in os.pread(self.children, 1 << 16, 0).split()]
        return [p for p in found if p not in self.pids and p != self.engine.pid][:c.STRAYS_MAX]

    def engine_ended(self, status: int) -> None:
        """Plan the next engine, or our own end when none ever spoke and nothing is kept alive."""
        engine = self.engine
        engine.ended()
        if self.exit_code is None and not engine.spoke and engine.restarts + 1 >= c.ENGINE_UNBORN and not self.runs:
            code = os.waitstatus_to_exitcode(status)
            self.exit_code = code if code >= 0 else 128 - code

    def handle(self, message: dict[str, Any]) -> None:
        """Carry out one request; whatever goes wrong is an answer, never our end."""
        answer: dict[str, Any] = {"id": message.get("id")}
        try:
            answer |= getattr(self, "op_" + str(message.get("op")))(message) or {}
        except spawn.SpawnError as e:
            answer |= {"errno": e.errno, "phase": e.phase, "error": str(e)}
        except OSError as e:
            answer |= {"errno": errno.errorcode.get(e.errno or 0, "EIO"), "phase": "prepare", "error": str(e)}
        except Exception as e:  # noqa: BLE001
            answer |= {"errno": "EINVAL", "phase": "prepare", "error": f"{type(e).__name__}: {e}"}
        if answer["id"] is not None:
            self.engine.send(answer)

    def op_spawn(self, ask: dict[str, Any]) -> dict[str, Any]:
        if ask["run"] in self.runs:
            raise spawn.SpawnError(errno.EEXIST, "prepare", f"the run {ask['run']} is already in the table")
        run = launch(ask, self.umask)
        self.runs[run.run] = self.pids[run.pid] = run
        for stream in run.streams.values():
            self.pump.add(stream)
        return {"pid": run.pid, "start": run.start}

    def op_attach(self, ask: dict[str, Any]) -> dict[str, Any]:
        """Pump the FIFOs of a run whose keeper died."""
        for stream in open_streams(ask, new=False).values():
            self.pump.add(stream)
            self.pump.turn(stream)
        return {"ok": True}

    def op_release(self, ask: dict[str, Any]) -> dict[str, Any]:
        self.runs[ask["run"]].close_gate(True)
        return {"ok": True}

    def op_drop(self, ask: dict[str, Any]) -> dict[str, Any]:
        self.runs[ask["run"]].close_gate(False)
        return {"ok": True}

    def op_taken(self, ask: dict[str, Any]) -> None:
        if self.runs[ask["run"]].ended:
            del self.runs[ask["run"]]

    def op_pump(self, ask: dict[str, Any]) -> None:
        for stream in list(self.pump.streams.values()):
            if (stream.run, stream.name) == (ask["run"], ask["stream"]):
                stream.limit = ask.get("limit") or stream.limit
                stream.discard = ask.get("discard", stream.discard)

    def op_list(self, ask: dict[str, Any]) -> dict[str, Any]:
        return {"runs": self.table()}

    def op_exit(self, ask: dict[str, Any]) -> dict[str, Any]:
        alive = [r.run for r in self.runs.values() if not r.ended]
        if alive and not ask.get("force"):
            return {"error": f"still running: {' '.join(alive[:10])}"}
        self.exit_code = int(ask["code"])
        return {"ok": True}


def main(config: dict[str, Any]) -> int:
    """Prepare the process, run the loop, and give the last bytes a moment to reach their files."""
    try:
        os.dup(c.GATE_FD)  # inherited (the instance's lock): it lives on under another number
    except OSError:
        pass
    os.dup2(NULL, c.GATE_FD, inheritable=False)  # before anything else can get this number
    spawn.raise_file_limit()
    keeper = Keeper(config)
    code = keeper.loop()
    end = time.monotonic() + c.FLUSH_MAX
    while not keeper.pump.idle() and time.monotonic() < end:
        time.sleep(0.005)
    return code
