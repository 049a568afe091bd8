"""The rules of membership on invented processes: whose number is it, whose orphan, who is never a member."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest

from midwatch.machine.ports import Containment, Tree
from midwatch.machine.procs import Stat
from midwatch.machine.tree import Scanner
from midwatch.model.identity import ProcId

KEEPER, ENGINE, MAIN = 10, 11, 50
TREE = Tree("p.x.1", ProcId(MAIN, 500, "boot"), "p.x.1", Containment(), KEEPER)


@pytest.fixture(autouse=True)
def _we_are_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: ENGINE)


class Table:
    """A `Source` from a list."""

    def __init__(self, *stats: Stat, markers: dict[int, str] | None = None, subreaper: bool = True) -> None:
        self.table = {stat.pid: stat for stat in (a(1, 0, 1), a(KEEPER, 1, 2), a(ENGINE, KEEPER, 3), *stats)}
        self.markers = markers or {}
        self.subreaper = subreaper
        self.unreadable: set[int] = set()
        self.asked: list[int] = []

    def stats(self) -> Iterable[Stat]:
        return list(self.table.values())

    def stat(self, pid: int) -> Stat | None:
        return self.table.get(pid)

    def marker(self, pid: int) -> str | None:
        self.asked.append(pid)
        return self.markers.get(pid)

    def may_read(self, pid: int) -> bool:
        return pid not in self.unreadable

    def writes_to(self, run: str, pid: int) -> bool:
        return False

    def group(self, directory: str) -> set[int] | None:
        return None


def a(
    pid: int, ppid: int, start: int, group: int | None = None, session: int | None = None, state: str = "S"
) -> Stat:
    return Stat(pid, state, ppid, group or pid, session or group or pid, 1, start)


def members(source: Table, tree: Tree = TREE) -> set[int]:
    return Scanner(source, KEEPER, "boot").find(tree).pids


@pytest.mark.parametrize(
    ("stats", "found"),
    [
        ([a(MAIN, KEEPER, 500), a(51, MAIN, 501, MAIN)], {MAIN, 51}),
        ([a(MAIN, KEEPER, 500, state="Z"), a(51, KEEPER, 501, MAIN)], {51}),  # a zombie still owns the number
        ([a(51, KEEPER, 501, MAIN)], {51}),  # reaped: ours because it lies below the keeper
        ([a(51, 1, 501, MAIN)], set()),  # reaped: a stranger may have led session 50 since
        ([a(MAIN, 1, 900), a(51, MAIN, 901, MAIN)], set()),  # recycled: all of ours are gone
        ([a(MAIN, KEEPER, 500), a(40, 1, 400, MAIN)], {MAIN}),  # older than the leader: not of its making
        ([a(MAIN, KEEPER, 500), a(52, 51, 502), a(51, MAIN, 501)], {MAIN, 51, 52}),
    ],
)
def test_numbers_count_only_while_they_are_ours(stats: list[Stat], found: set[int]) -> None:
    """Session and group are names that pids lend; a recycled one proves nothing (H16)."""
    assert members(Table(*stats)) == found


def test_we_are_never_members() -> None:
    """Keeper, engine and the engine's helpers are left out even where they carry the outer marker."""
    source = Table(
        a(MAIN, KEEPER, 500), a(60, ENGINE, 600), markers={KEEPER: "p.x.1", ENGINE: "p.x.1", 60: "p.x.1"}
    )
    assert members(source) == {MAIN}


def test_markers_match_whole_names_and_inner_runs() -> None:
    """outer/inner belongs to outer; a longer name that begins alike does not."""
    stats = [a(MAIN, KEEPER, 500), a(61, KEEPER, 601), a(62, KEEPER, 602), a(63, KEEPER, 603)]
    source = Table(*stats, markers={61: "p.x.1", 62: "p.x.1/q.y.2", 63: "p.x.10"})
    assert members(source) == {MAIN, 61, 62}


def test_a_marker_outside_the_keeper_is_not_asked_while_the_keeper_lives() -> None:
    """What a run started stays below the keeper; elsewhere the marker is a copy somebody made of his environment."""
    source = Table(a(MAIN, KEEPER, 500), a(70, 1, 700), markers={70: "p.x.1"})
    assert members(source) == {MAIN}
    assert 70 not in source.asked
    assert members(Table(a(70, 1, 700), markers={70: "p.x.1"}, subreaper=False)) == {70}


def test_an_inherited_marker_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside an outer run: between fork and exec a child of ours shows our marker; it is asked again later."""
    monkeypatch.setenv("MIDWATCH_RUN", "o.o.1")
    source = Table(a(71, KEEPER, 700), markers={71: "o.o.1"})
    scanner = Scanner(source, KEEPER, "boot")
    assert scanner.find(TREE).pids == set()
    source.markers[71] = "o.o.1/p.x.1"
    inner = Tree("p.x.1", TREE.main, "o.o.1/p.x.1", Containment(), KEEPER)
    assert scanner.find(inner).pids == {71}


def test_a_marker_seen_once_is_remembered() -> None:
    """`env -i` later does not hide a process; a recycled pid inherits nothing."""
    source = Table(a(MAIN, KEEPER, 500), a(61, KEEPER, 601), markers={61: "p.x.1"})
    scanner = Scanner(source, KEEPER, "boot")
    assert scanner.find(TREE).pids == {MAIN, 61}
    source.markers.clear()
    assert scanner.find(TREE).pids == {MAIN, 61}
    source.table[61] = a(61, KEEPER, 900)
    assert scanner.find(TREE).pids == {MAIN}


def test_an_orphan_of_nobody_makes_the_proof_incomplete() -> None:
    """A nameless child of the keeper may be ours; other runs' main processes are known and do not count."""
    source = Table(a(MAIN, KEEPER, 500), a(80, KEEPER, 800), a(81, KEEPER, 801))
    scanner = Scanner(source, KEEPER, "boot")
    scanner.remember(Tree("p.z.1", ProcId(81, 801, "boot"), "p.z.1", Containment(), KEEPER))
    found = scanner.find(TREE)
    assert (found.pids, found.strangers, found.lineage) == ({MAIN}, [80], True)


def test_without_the_keeper_unreadable_environments_are_counted() -> None:
    """Adopted after the keeper's death: only markers are left, and one that cannot be read is said."""
    source = Table(a(MAIN, 1, 500), a(90, 1, 900))
    del source.table[KEEPER]
    found = Scanner(source, KEEPER, "boot").find(TREE)
    assert (found.pids, found.lineage, found.readable) == ({MAIN}, False, True)
    source.unreadable = {90}
    assert not Scanner(source, KEEPER, "boot").find(TREE).readable


def test_markers_are_read_once_for_all_trees() -> None:
    """A hundred trees and one picture: each environment is read once."""
    stats = [a(100 + n, KEEPER, 500 + n) for n in range(100)]
    source = Table(*stats, markers={100 + n: f"p.x.{n}" for n in range(100)})
    scanner = Scanner(source, KEEPER, "boot")
    for n in range(100):
        tree = Tree(f"p.x.{n}", ProcId(100 + n, 500 + n, "boot"), f"p.x.{n}", Containment(), KEEPER)
        assert scanner.find(tree, 60).pids == {100 + n}
    assert sorted(source.asked) == sorted({100 + n for n in range(100)})
