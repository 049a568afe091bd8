"""Births: seen once for all trees, and each tree is told only of what may concern it."""

from __future__ import annotations

from pathlib import Path

import pytest

from midwatch.machine.linux.forks import Forks

KEEPER = 50


class Proc:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.last(100)
        self.markers: dict[int, str] = {}
        self.forks = Forks(KEEPER, lambda stat: self.markers.get(stat.pid), str(folder))

    def last(self, pid: int) -> None:
        (self.folder / "loadavg").write_text(f"0.1 0.2 0.3 1/99 {pid}\n")

    def born(self, pid: int, ppid: int = 1, session: int = 1, signal: int = 17) -> None:
        (self.folder / str(pid)).mkdir(exist_ok=True)
        middle = "0 -1 4194560 1 0 0 0 7 8 0 0 20 -5 3 0 500 1000 200 " + "0 " * 13
        text = f"{pid} (x) S {ppid} {session} {session} {middle}{signal} 0 9\n"
        (self.folder / str(pid) / "stat").write_text(text)

    def look(self) -> int:
        self.now += 1
        return self.forks.look(self.now)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_nothing_is_looked_at_while_nobody_is_born(proc: Proc) -> None:
    """The last pid stands still: the serial does, too."""
    before = proc.look()
    assert before
    assert proc.look() == before
    assert proc.forks.concerns(before, [7]) == "no"


def test_a_child_concerns_the_tree_of_its_parent_only(proc: Proc) -> None:
    """By parent or session; others need no look."""
    before = proc.look()
    proc.born(101, ppid=7)
    proc.born(102, ppid=1, session=8)
    proc.last(102)
    now = proc.look()
    assert now > before
    assert [proc.forks.concerns(before, [pid]) for pid in (7, 8, 9)] == ["yes", "yes", "no"]
    assert proc.forks.concerns(now, [7, 8, 9]) == "no"


def test_a_tree_that_looks_seldom_hears_of_all_births_since(proc: Proc) -> None:
    """Trees are read at different paces."""
    before = proc.look()
    for pid in range(101, 120):
        proc.born(pid, ppid=1000 + pid)
        proc.last(pid)
        proc.look()
    assert proc.forks.concerns(before, [1101]) == "yes"


def test_a_new_thread_is_no_birth(proc: Proc) -> None:
    """Threads take numbers, too; their parents get no signal."""
    before = proc.look()
    proc.born(101, ppid=7, session=7, signal=-1)
    proc.last(101)
    proc.look()
    assert proc.forks.concerns(before, [7]) == "no"


def test_an_orphan_without_a_marker_may_be_anybodys(proc: Proc) -> None:
    """F10's hard case: a daemonised grandchild fell to the keeper before it was seen. It is asked twice."""
    before = proc.look()
    proc.born(101, ppid=KEEPER, session=101)
    proc.last(101)
    proc.look()
    assert proc.forks.concerns(before, [7]) == "no"
    proc.look()
    assert proc.forks.concerns(before, [7]) == "perhaps"


@pytest.mark.parametrize("late", [False, True])
def test_a_keepers_child_with_a_marker_concerns_only_its_run(proc: Proc, late: bool) -> None:
    """Also a run that was just spawned, and a run of a midwatch inside ours; before its exec it has no marker yet."""
    before = proc.look()
    proc.born(101, ppid=KEEPER, session=101)
    proc.last(101)
    if late:
        proc.look()
    proc.markers[101] = "p.x.1/q.y.2"
    proc.look()
    assert proc.forks.concerns(before, [7], "p.x.1") == "yes"
    assert proc.forks.concerns(before, [7], "p.x.10") == "no"


def test_a_number_without_a_process_is_looked_at_once_more(proc: Proc) -> None:
    """The number is given out before the fork is through."""
    before = proc.look()
    proc.last(101)
    middle = proc.look()
    proc.born(101, ppid=7)
    proc.look()
    assert proc.forks.concerns(middle, [7]) == "yes"
    assert proc.forks.concerns(before, [7]) == "yes"
    after = proc.look()
    assert proc.look() == after


def test_a_flood_and_a_wrap_of_the_numbers_are_said(proc: Proc) -> None:
    """Too many to look at, or the numbers began again: look for yourself."""
    before = proc.look()
    proc.last(100_000)
    middle = proc.look()
    assert proc.forks.concerns(before, [7]) == "blind"
    proc.last(300)
    proc.look()
    assert proc.forks.concerns(middle, [7]) == "blind"


def test_the_same_pass_reads_once(proc: Proc) -> None:
    """One read for all trees with the same `now`."""
    before = proc.forks.look(5.0)
    proc.last(102)
    assert proc.forks.look(5.0) == before
    assert proc.forks.look(6.0) > before


@pytest.mark.parametrize("text", ["0.0 0.0 0.0 0/0 0\n", "", "x"])
def test_where_births_cannot_be_seen_the_serial_is_zero(tmp_path: Path, text: str) -> None:
    """A sandbox's /proc that says 0 for ever, or nothing at all."""
    (tmp_path / "loadavg").write_text(text)
    assert Forks(KEEPER, lambda _: None, str(tmp_path)).look(1.0) == 0
    assert Forks(KEEPER, lambda _: None, str(tmp_path / "missing")).look(1.0) == 0


def test_what_is_remembered_is_bounded(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old births are forgotten; who has looked at each pass misses nothing, who has not is told to look."""
    monkeypatch.setattr("midwatch.machine.linux.forks._MOST_KNOWN", 10)
    seldom = often = proc.look()
    for pid in range(101, 160):
        proc.born(pid, ppid=1000 + pid, session=2000 + pid)
        proc.last(pid)
        now = proc.look()
        assert proc.forks.concerns(often, [1000 + pid]) == "yes"
        assert proc.forks.concerns(often, [7]) == "no"
        often = now
    assert proc.forks.concerns(seldom, [7]) == "blind"
    assert len(proc.forks._touched) <= 12
