"""Ending leftovers: real ones by real signals, and every way it may go wrong with hands that are played."""

from __future__ import annotations

import os
import signal
import sys

import msgspec
import pytest
from tests.inspect.zoo import Scoped, Zoo, until

from midwatch.inspect.sources import Table
from midwatch.inspect.sweep.ending import LinuxHands, Sweep
from midwatch.model.look import Leftover, Proc

real = pytest.mark.skipif(sys.platform != "linux", reason="pidfds")


def proc(pid: int, start: int = 5, ppid: int = 1) -> Proc:
    return Proc(pid, start, ppid, pid, pid, 0, "x", ("x",), held=100)


def left(pid: int, start: int = 5, certain: bool = True) -> Leftover:
    return Leftover(proc(pid, start), "r", ("p",), "g", certain)


class Played:
    """Processes in memory: who dies at which signal."""

    def __init__(self, *deaf: int, immortal: tuple[int, ...] = (), refuses: tuple[int, ...] = ()) -> None:
        self.deaf, self.immortal, self.refuses = deaf, immortal, refuses
        self.dead: set[tuple[int, int]] = set()
        self.sent: list[tuple[int, int]] = []

    def send(self, one: Proc, signum: int) -> bool:
        if one.pid in self.refuses:
            raise PermissionError
        self.sent.append((one.pid, signum))
        if one.pid not in self.immortal and (signum == signal.SIGKILL or one.pid not in self.deaf):
            self.dead.add((one.pid, one.start))
        return True

    def alive(self, one: Proc) -> bool:
        return (one.pid, one.start) not in self.dead


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def sweep(found: list[Leftover], hands: Played, table: Table | None = None, most: int = 500) -> Sweep:
    clock = Clock()
    table = table or Table({one.proc.pid: one.proc for one in found}, 0.0)
    return Sweep(lambda: (found, table), hands, most=most, clock=clock, pause=clock.pause)


def nothing(_: list[Leftover]) -> None:
    return None


def test_term_first_then_kill() -> None:
    """Two steps: who leaves by TERM never sees a KILL."""
    hands = Played(2)
    done = sweep([left(1), left(2)], hands).run([left(1), left(2)], nothing)
    assert [(one.left.proc.pid, one.action) for one in done] == [(1, "ended"), (2, "killed")]
    assert hands.sent == [(1, signal.SIGTERM), (2, signal.SIGTERM), (2, signal.SIGKILL)]


def test_who_does_not_die_is_named() -> None:
    """State D, or not permitted: it is said, and counts as nothing freed."""
    done = sweep([left(1), left(2)], Played(immortal=(1,), refuses=(2,))).run([left(1), left(2)], nothing)
    assert [(one.action, one.freed) for one in done] == [("left", 0), ("left", 0)]
    assert "not even by SIGKILL" in done[0].words
    assert "does not let us" in done[1].words


def test_a_sweep_is_bounded() -> None:
    """Never more than the cap in one sweep; the others are kept, and it is said."""
    many = [left(pid) for pid in range(10, 20)]
    hands = Played()
    done = sweep(many, hands, most=4).run(many, nothing)
    assert len(hands.sent) == 4
    assert [one.action for one in done].count("kept") == 6


def test_who_changed_since_he_was_shown_is_kept() -> None:
    """Trap 18, scenario 76: the number belongs to somebody else now, or his proof fails now."""
    hands = Played()
    done = sweep([left(1, start=9)], hands).run([left(1, start=5), left(3)], nothing)
    assert [one.action for one in done] == ["kept", "kept"]
    assert hands.sent == []


def test_a_certain_one_that_became_doubtful_is_kept() -> None:
    """A client came between the look and the act."""
    hands = Played()
    assert sweep([left(1, certain=False)], hands).run([left(1)], nothing)[0].action == "kept"
    assert hands.sent == []


def test_nothing_is_ended_when_the_undo_list_cannot_be_written() -> None:
    """The list comes first."""
    hands = Played()

    def full(_: list[Leftover]) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        sweep([left(1)], hands).run([left(1)], full)
    assert hands.sent == []


def test_children_born_meanwhile_go_with_their_parent() -> None:
    """A stubborn wrapper that starts its server again does not leave it behind; nobody older is touched."""
    hands = Played(1)
    before = Table({1: proc(1), 7: proc(7, 6, 1)}, 0.0)
    after = Table({1: proc(1), 7: proc(7, 6, 1), 8: proc(8, 9, 1)}, 0.0)
    looks = iter([([left(1)], before), ([left(1)], after)])
    clock = Clock()
    Sweep(lambda: next(looks), hands, clock=clock, pause=clock.pause).run([left(1)], nothing)
    assert (8, signal.SIGKILL) in hands.sent
    assert 7 not in {pid for pid, _ in hands.sent}


@real
def test_a_recycled_number_is_never_hit(zoo: Zoo) -> None:
    """The pid of a living process with another start: no signal reaches it."""
    child = zoo.start(["sleep", "600"])
    now = Scoped(zoo.mark).table().procs[child.pid]
    hands = LinuxHands()
    other = msgspec.structs.replace(now, start=now.start - 1)
    assert not hands.send(other, signal.SIGKILL)
    assert not hands.alive(other)
    assert child.poll() is None
    assert hands.alive(now)


@real
def test_real_leftovers_go_and_the_living_stay(zoo: Zoo) -> None:
    """Story 1: six closed terminals are swept, also one that ignores TERM; the live session's server is untouched."""
    living = zoo.held("living")
    for n in range(5):
        zoo.orphan(f"s{n}")
    stubborn = zoo.bin / "deaf-mcp"
    stubborn.write_text(
        zoo.server.read_text().replace("time\n", "time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n", 1)
    )
    zoo.server = stubborn
    zoo.orphan("deaf")
    found = zoo.find()
    assert len(found) == 6

    def look() -> tuple[list[Leftover], Table]:
        sources = Scoped(zoo.mark)
        return zoo.find(), sources.table()

    done = Sweep(look, LinuxHands(), grace=1.0).run(found, nothing)
    assert sorted(one.action for one in done) == ["ended"] * 5 + ["killed"]
    assert living.poll() is None
    os.kill(zoo.pids["living"], 0)
    until(lambda: zoo.find() == [], "nothing is left")
