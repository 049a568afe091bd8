"""examples/autopilot.py as a user runs it: in every ending its lock is gone and nothing is left (spec 1.10, 1.17)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.system.conftest import PATIENCE, alive, wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "autopilot.py"


class Autopilot:
    """One start of it."""

    def __init__(self, state: Path, *options: str) -> None:
        self.state = state
        self.lock = state / "autopilot.lock"
        self.log = state.parent / f"log.{time.monotonic_ns()}"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(EXAMPLE), "--state", str(state), "--interval", "0.1", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def says(self, words: str) -> str:
        """Wait until it has said so."""
        wait_for(lambda: words in self.log.read_text() or self.process.poll() is not None, f"it says {words!r}")
        assert words in self.log.read_text(), self.log.read_text()
        return self.log.read_text()

    def works(self) -> int:
        """Wait until the worker runs; its pid."""
        text = self.says("run.spawned")
        wait_for((self.state / "runs").exists, "the worker has begun")
        return int(text.split("run.spawned pid ")[-1].split()[0])

    def ends(self, code: int) -> str:
        """Its end: with this code, without its lock, and with nobody left."""
        assert self.process.wait(PATIENCE) == code, self.log.read_text()
        assert not self.lock.exists()
        assert not workers(self.state)
        return self.log.read_text()


def workers(state: Path) -> list[int]:
    """Whatever has the state folder in its command line: worker, keeper, autopilot."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and alive(int(entry.name)):
            try:
                if os.fsencode(state) in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Autopilot]]:
    started: list[Autopilot] = []

    def make(*options: str) -> Autopilot:
        started.append(Autopilot(home / "state", *options))
        return started[-1]

    yield make
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()
    wait_for(lambda: not workers(home / "state"), "the keeper has ended what was left")


def test_the_budget_spent_ends_through_its_own_door(start: Callable[..., Autopilot]) -> None:
    """1.17: clean exits and a drain cost nothing, the fifth crash ends it with 1; the lock file is removed (A2)."""
    text = start("--demo").ends(1)
    assert text.count("run.exited clean exit") == 2
    assert "run.exited drain 1 of 3" in text
    assert "budget.exhausted crash 5, the budget of 5 is spent" in text
    assert text.count("ending: worker is beyond its budget") == 1
    assert "backoff 0 ms" not in text
    assert text.rstrip().endswith("ended with 1; the lock is gone")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(start: Callable[..., Autopilot], signum: signal.Signals) -> None:
    """D7: one latch; a second and a third signal change nothing."""
    pilot = start()
    pid = pilot.works()
    assert pilot.lock.read_text() == str(pilot.process.pid)
    for _ in range(3):
        pilot.process.send_signal(signum)
    text = pilot.ends(0)
    assert text.count(f"ending: {signum.name}") == 1
    assert not alive(pid)


def test_five_failed_cycles_end_it_with_1(start: Callable[..., Autopilot]) -> None:
    """1.17: exceptions in a cycle are counted in a row; the worker is stopped and the lock removed."""
    pilot = start()
    pilot.works()
    (pilot.state / "jobs").rename(pilot.state / "gone")
    text = pilot.ends(1)
    assert "cycle failed, 5 of 5 in a row: FileNotFoundError" in text
    assert "ending: 5 failed cycles in a row" in text


def test_a_single_failed_cycle_is_forgiven(start: Callable[..., Autopilot]) -> None:
    """Only failures in a row count."""
    pilot = start()
    pilot.works()
    (pilot.state / "jobs").rename(pilot.state / "gone")
    pilot.says("cycle failed, 1 of 5")
    (pilot.state / "gone").rename(pilot.state / "jobs")
    time.sleep(1)
    assert pilot.process.poll() is None
    pilot.process.terminate()
    pilot.ends(0)


def test_a_crash_of_the_worker_is_no_ending(start: Callable[..., Autopilot]) -> None:
    """A5, A10: killed from outside it is started again at once; the autopilot and its lock stay."""
    pilot = start()
    pid = pilot.works()
    os.kill(pid, signal.SIGKILL)
    pilot.says("run.exited killed")
    wait_for(lambda: pilot.log.read_text().count("run.spawned") == 2, "there is a second run")
    assert not alive(pid)
    assert pilot.lock.read_text() == str(pilot.process.pid)
    pilot.process.terminate()
    pilot.ends(0)


def test_after_kill_9_the_next_start_takes_over(start: Callable[..., Autopilot]) -> None:
    """D9, E2: the worker of the dead one is gone before the new one starts its own; the stale lock is taken over."""
    first = start()
    pid = first.works()
    first.process.kill()
    first.process.wait()
    assert first.lock.exists()
    second = start()
    second.works()
    assert not alive(pid)
    assert f"taking over the lock of pid {first.process.pid}, which is gone" in second.says("taking over")
    assert second.lock.read_text() == str(second.process.pid)
    second.process.terminate()
    second.ends(0)


def test_a_second_autopilot_is_refused_and_changes_nothing(start: Callable[..., Autopilot]) -> None:
    """E1, E11: however old the heartbeat, a living autopilot keeps its lock; the loser leaves no trace."""
    first = start()
    first.works()
    os.kill(first.process.pid, signal.SIGSTOP)  # busy for long
    try:
        os.utime(first.lock, (0, 0))
        before = first.lock.stat()
        second = start()
        assert second.process.wait(PATIENCE) == 4
        assert f"an autopilot runs already: pid {first.process.pid}" in second.log.read_text()
        after = first.lock.stat()
        assert (after.st_ino, after.st_mtime) == (before.st_ino, before.st_mtime)
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    first.process.terminate()
    first.ends(0)


@pytest.mark.parametrize(("content", "age", "code"), [("", 0, 0), ("rubbish", 0, 0), ("1", 0, 4), ("1", 700, 0)])
def test_a_lock_of_somebody_else(
    start: Callable[..., Autopilot], home: Path, content: str, age: int, code: int
) -> None:
    """E3, E7: garbage is taken over; a living pid that is no autopilot only when its heartbeat is ten minutes old."""
    (home / "state").mkdir()
    lock = home / "state" / "autopilot.lock"
    lock.write_text(content)
    os.utime(lock, (time.time() - age,) * 2)
    pilot = start()
    if code:
        assert pilot.process.wait(PATIENCE) == code
        assert lock.read_text() == content
        return
    pilot.works()
    pilot.process.terminate()
    pilot.ends(0)


def test_a_pause_ends_with_who_asked_for_it(start: Callable[..., Autopilot]) -> None:
    """1.17: it beats on and does nothing; the marker of a dead process is cleared, that of a living one is not."""
    pilot = start()
    pilot.works()
    (pilot.state / "paused").write_text(str(os.getpid()))
    time.sleep(0.5)
    assert (pilot.state / "paused").exists()
    ended = subprocess.Popen(["true"])
    ended.wait()
    (pilot.state / "paused").write_text(str(ended.pid))
    pilot.says("paused us and is gone: going on")
    assert not (pilot.state / "paused").exists()
    pilot.process.terminate()
    pilot.ends(0)


def test_supervision_lost_ends_it_with_75(start: Callable[..., Autopilot]) -> None:
    """E12: somebody kills the keeper; the worker goes, the lock goes, the code says that a new start may help."""
    pilot = start()
    pilot.works()
    keeper = next(p for p in workers(pilot.state) if b"keeper.json" in Path(f"/proc/{p}/cmdline").read_bytes())
    os.kill(keeper, signal.SIGKILL)
    pilot.ends(75)
