#!/usr/bin/env python3
"""An autopilot: a program with a loop, a lock and a shutdown of its own that has Midwatch keep its worker alive.

    python examples/autopilot.py --demo        shows every turn of it in a few seconds and ends by itself
    python examples/autopilot.py --state DIR   runs until SIGTERM or SIGINT

It does what a careful composer of a supervisor does: its lock file is a heartbeat, refuses a second autopilot however
long the first has been busy, and is gone in every ending but a kill -9, after which the next start takes it over. Five
failed cycles in a row, or five crashes of the worker, end it through the same door. Exit codes: 0 asked to end, 1 gave
up, 75 supervision was lost, 4 there is an autopilot already (not 0, which an outer manager would take for "work done").
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import midwatch

FOREIGN_AFTER = 600.0  # s without a heartbeat after which a pid that is not an autopilot's is a recycled one
FAILED_CYCLES = 5
CRASHES = 5
WORKER_GRACE = "35s"  # the worker drains for 30

WORKER = """
import os, pathlib, signal, sys, time
state, demo = pathlib.Path(sys.argv[1]), sys.argv[2] == "demo"
runs = state / "runs"
number = int(runs.read_text()) + 1 if runs.exists() else 1
runs.write_text(str(number))
print(f"worker run {number}", flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
end = {1: 0, 2: 0, 3: 12}.get(number, 1) if demo else None
while True:
    for job in sorted((state / "jobs").glob("*")):
        job.unlink()
    time.sleep(0.05 if not demo else 0.25)
    if end == 1: raise RuntimeError("the database is gone")
    if end is not None: sys.exit(end)
"""


def say(*words: object) -> None:
    """One line for the log."""
    print("autopilot:", *words, flush=True)


class Refused(Exception):
    """Another autopilot has the lock."""


class HeartbeatLock:
    """A file with our pid; its time of change is the heartbeat. Nothing is stolen from a living autopilot.

    It is written only while Midwatch's own (a kernel's) lock is held, so two starts over a stale file cannot both win.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> None:
        """May we have it? Raises Refused; changes nothing."""
        try:
            text, beat = self.path.read_text(), self.path.stat().st_mtime
        except FileNotFoundError:
            return
        pid = int(text) if text.strip().isdecimal() else 0
        if pid in (0, os.getpid()) or not alive(pid):
            say(f"taking over the lock of {f'pid {pid}, which is gone' if pid else 'nobody'}")
            return
        age = time.time() - beat
        command = command_line(pid)
        if "autopilot" in command:
            raise Refused(f"an autopilot runs already: pid {pid}, last heartbeat {age:.0f} s ago")
        if age < FOREIGN_AFTER:
            raise Refused(f"pid {pid} ({command or 'cannot be looked at'}) had the lock {age:.0f} s ago; remove "
                          f"{self.path} if it is no autopilot")  # fmt: skip
        say(f"taking over the lock of pid {pid}, which is {command or 'something else'} by now")

    def take(self) -> None:
        """It is ours from now on."""
        draft = self.path.with_suffix(".new")
        draft.write_text(str(os.getpid()))
        draft.replace(self.path)

    def beat(self) -> None:
        """We live."""
        os.utime(self.path)

    def release(self) -> None:
        """Remove it, if it is still ours."""
        try:
            if self.path.read_text() == str(os.getpid()):
                self.path.unlink()
        except FileNotFoundError:
            pass


def alive(pid: int) -> bool:
    """Is there such a process? One that we may not signal is alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def command_line(pid: int) -> str:
    """What it was started as: from /proc, else from ps; empty when neither tells."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        pass
    try:
        return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True,
                              timeout=5, check=False).stdout.strip()  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""


class Autopilot:
    """The composer: it owns its signals, its lock, its loop and its shutdown; Midwatch owns the worker."""

    def __init__(self, state: Path, *, demo: bool, interval: float) -> None:
        self.state, self.demo, self.interval = state, demo, interval
        # The latch: the first reason counts. A SimpleQueue may be filled from a signal handler, an Event may not.
        self.reasons: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self.failed = 0
        (state / "jobs").mkdir(parents=True, exist_ok=True)
        self.lock = HeartbeatLock(state / "autopilot.lock")

    def supervisor(self) -> midwatch.Supervisor:
        """The worker's keys are those of midwatch.toml."""
        worker: dict[str, Any] = {
            "command": [sys.executable, "-c", WORKER, str(self.state), "demo" if self.demo else "work"],
            "autostart": False,  # not before both locks are ours
            "restart": {"crash": CRASHES, "drain_code": 12},
            "stop": {"grace": WORKER_GRACE},
        }
        if self.demo:
            worker["backoff"] = {"first": "50ms", "most": "200ms", "drain": "300ms"}
        return midwatch.Supervisor(
            home=self.state / "midwatch", services={"worker": worker}, project="autopilot",
            on_event=self.log, on_exhausted=self.exhausted,
        )  # fmt: skip

    def log(self, event: dict[str, Any]) -> None:
        """The lines that a person reads; a clean exit that restarts at once is noise."""
        name = event["event"]
        if name == "backoff" and not event["ms"]:
            return
        if name == "backoff":
            say(f"backoff {event['ms']} ms")
        elif name in ("run.spawned", "run.exited", "health.warn", "budget.exhausted", "stop.done"):
            say(name, event.get("decision") or event.get("verified_by") or f"pid {event.get('pid')}")

    def exhausted(self, service: str, decision: str) -> None:
        """The crash budget is spent: end through the same door as everything else, so that the lock goes."""
        self.reasons.put((1, f"{service} is beyond its budget ({decision})"))

    def run(self) -> int:
        """Until there is a reason to end; returns the exit code."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda number, _: self.reasons.put((0, signal.Signals(number).name)))
        try:
            self.lock.check()
            with self.supervisor() as sup:
                self.lock.take()
                try:
                    sup.start("worker", timeout=30)
                    code, why = self.loop(sup)
                    say(f"ending: {why}")
                finally:
                    try:
                        sup.stop()  # the worker is down and verified before the lock is given up
                    finally:
                        self.lock.release()
        except (Refused, midwatch.AlreadyRunning) as error:
            say(error)
            return 4
        except midwatch.SupervisorError as error:
            say(error)
            return 75
        say(f"ended with {code}; the lock {'is still there' if self.lock.path.exists() else 'is gone'}")
        return code

    def loop(self, sup: midwatch.Supervisor) -> tuple[int, str]:
        """One cycle after another."""
        while True:
            self.lock.beat()  # first of all: a cycle may take long or fail
            if not sup.running:
                return 75, "somebody ended the supervision"
            try:
                if not self.paused():
                    self.cycle()
                self.failed = 0
            except Exception as error:  # noqa: BLE001  a failing cycle is counted, whatever it was
                self.failed += 1
                say(f"cycle failed, {self.failed} of {FAILED_CYCLES} in a row: {type(error).__name__}: {error}")
                if self.failed >= FAILED_CYCLES:
                    return 1, f"{FAILED_CYCLES} failed cycles in a row"
            try:
                return self.reasons.get(timeout=self.interval)
            except queue.Empty:
                continue

    def cycle(self) -> None:
        """Give the worker something to do. That it is between two runs just now is no failure."""
        (self.state / "jobs" / str(time.time_ns())).write_text("work")

    def paused(self) -> bool:
        """Somebody wrote his pid into `paused`: no work until he removes it, or is proven dead."""
        marker = self.state / "paused"
        try:
            text = marker.read_text().strip()
        except FileNotFoundError:
            return False
        if text.isdecimal() and not alive(int(text)):
            say(f"pid {text} paused us and is gone: going on")
            marker.unlink(missing_ok=True)
            return False
        return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true", help="a worker that exits, drains and crashes; ends by itself")
    parser.add_argument("--state", type=Path, default=None, help="folder of lock, jobs and record (default: temporary)")
    parser.add_argument("--interval", type=float, default=0.2, help="seconds between two cycles")
    chosen = parser.parse_args()
    if chosen.state is not None:
        return Autopilot(chosen.state.absolute(), demo=chosen.demo, interval=chosen.interval).run()
    import tempfile

    with tempfile.TemporaryDirectory(prefix="autopilot-", dir="/tmp") as folder:
        return Autopilot(Path(folder), demo=chosen.demo, interval=chosen.interval).run()


if __name__ == "__main__":
    sys.exit(main())
