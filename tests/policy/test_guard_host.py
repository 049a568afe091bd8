"""The guard on the machine (guards 5 and 6.2): levels, victims among our own trees, pauses, episodes, the budget."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.model.action import Note
from midwatch.model.event import Tripped
from midwatch.model.sample import HostSample
from midwatch.policy import defaults as d
from midwatch.policy.guard import Confirm
from midwatch.policy.guard.host import HostState, Tree, available, judge, level_of, order

MIB, GIB = 1 << 20, 1 << 30
RESERVE = GIB
BIG = Tree("p.big.1", "p/big", 6 * GIB)


def host(at: float, free: float | None = 8.0, **more: Any) -> HostSample:
    """A machine of 24 GiB without swap; `free` in GiB."""
    return HostSample(at, 24 * GIB, None if free is None else int(free * GIB), **{"swap_total_bytes": 0, **more})


class Guard:
    """The machine under guard, and what was proposed."""

    def __init__(self, *trees: Tree, budget: int = 100 * GIB) -> None:
        self.state, self.trees, self.budget = HostState(), list(trees), budget
        self.told: list[tuple[float, Any]] = []

    def look(self, seen: HostSample) -> list[Any]:
        self.state, told = judge(self.state, seen, RESERVE, self.trees, self.budget)
        assert msgspec.convert(msgspec.to_builtins(self.state), HostState) == self.state
        self.told += [(seen.at, each) for each in told]
        return list(told)

    def events(self) -> list[str]:
        return [each.event for _, each in self.told if isinstance(each, Note)]

    def victims(self) -> list[tuple[float, str]]:
        return [(at, each.run) for at, each in self.told if isinstance(each, Tripped)]


def test_danger_needs_low_memory_and_a_second_sign() -> None:
    """Below the reserve and stalled, or without swap to speak of; below half of it at once."""
    assert (d.SWAP_LOW, d.PSI_LOOK) == (0.1, 10.0)
    plenty = {"swap_total_bytes": 8 * GIB, "swap_free_bytes": 8 * GIB}
    assert level_of(host(0), RESERVE) == "ok"
    assert level_of(host(0, 0.9), RESERVE) == "danger"
    assert level_of(host(0, 0.9, **plenty), RESERVE) == "pressure"
    assert level_of(host(0, 0.9, **plenty, full=11.0), RESERVE) == "danger"
    assert level_of(host(0, 0.9, swap_total_bytes=8 * GIB, swap_free_bytes=GIB // 2), RESERVE) == "danger"
    assert level_of(host(0, 0.9, swap_total_bytes=None), RESERVE) == "pressure"
    assert level_of(host(0, 0.9, swap_total_bytes=GIB), RESERVE) == "pressure"
    assert level_of(host(0, 0.4, **plenty), RESERVE) == "critical"


def test_what_cannot_be_read_never_makes_it_worse() -> None:
    """Nothing readable: nothing wrong."""
    assert level_of(HostSample(0.0, None, None), RESERVE) == "ok"
    assert level_of(HostSample(0.0, None, None, full=90.0), RESERVE) == "pressure"


def test_a_limit_of_our_own_cgroup_counts_as_the_machine() -> None:
    """In a container the machine's free memory is not ours to have."""
    inside = host(0, 8.0, limit_bytes=2 * GIB, limit_used_bytes=int(1.7 * GIB))
    assert available(inside) == 2 * GIB - int(1.7 * GIB)
    assert level_of(inside, GIB) == "critical"
    assert available(HostSample(0.0, None, None, limit_bytes=3, limit_used_bytes=1)) == 2
    assert available(host(0, 1.0, limit_bytes=2 * GIB)) == GIB


def test_pressure_alone_kills_nobody() -> None:
    """PSI is a permission to look: said once, ended once, nobody is touched."""
    g = Guard(BIG)
    for at in range(0, 300, 2):
        g.look(host(float(at), 8.0, some=80.0, full=60.0))
    for at in range(300, 400, 2):
        g.look(host(float(at)))
    assert g.events() == ["host.pressure", "host.ok"]
    assert g.victims() == []
    known = {"level": "pressure", "reserve_bytes": RESERVE, "available_bytes": 8 * GIB}
    assert g.told[0][1].fields == {**known, "some": 80.0, "full": 60.0}


def test_a_flicker_of_pressure_is_no_episode() -> None:
    g = Guard(BIG)
    for at in range(0, 60, 2):
        g.look(host(float(at), some=50.0 if at % 6 else 0.0))
    assert g.told == []


def test_the_order_of_victims() -> None:
    """6.2: over its own line; the fastest grower above 5 % of RAM; the largest of the lowest priority."""
    assert (d.VICTIM_SHARE, d.VICTIM_GROWTH) == (0.05, 64 * MIB)
    over = Tree("o", "o", 100 * MIB, hard=90 * MIB, priority="protected")
    grower = Tree("g", "g", 2 * GIB, growth=700 * MIB)
    fast = Tree("f", "f", 3 * GIB, growth=900 * MIB, priority="protected")
    small = Tree("s", "s", GIB, growth=900 * MIB, priority="expendable")
    large = Tree("l", "l", 9 * GIB, growth=63 * MIB)
    guarded = Tree("p", "p", 10 * GIB, priority="protected", hard=12 * GIB)
    tiny = Tree("t", "t", 200 * MIB, priority="expendable")
    found = order([guarded, large, small, fast, grower, over, tiny], 24 * GIB)
    assert [t.run for t, _ in found] == ["o", "f", "g", "s", "l", "p"]
    assert [why.split()[-1] for _, why in found] == ["line", "fastest", "fastest", "priority", "priority", "priority"]


def test_danger_must_be_seen_twice_and_critical_once() -> None:
    g = Guard(BIG)
    assert g.look(host(0.0, 0.9)) == []
    told = g.look(host(0.1, 0.9))
    assert [type(t) for t in told] == [Note, Tripped]
    trip = told[1]
    assert (trip.run, trip.guard, trip.level, trip.value, trip.line) == ("p.big.1", "host", "hard", 6 * GIB, RESERVE)
    assert trip.words == (
        "921.6 MiB of memory are available here, 1 GiB are kept in reserve; this one holds 6 GiB: "
        "it is the largest of the lowest priority"
    )
    assert [type(t) for t in Guard(BIG).look(host(0.0, 0.4))] == [Note, Tripped]


def test_politeness_shrinks_with_the_host() -> None:
    """Guards 6.2: 10 s, in danger 2 s, in critical none."""
    assert [HostState(level).polite for level in ("ok", "pressure", "danger", "critical")] == [10.0, 10.0, 2.0, 0.0]
    assert d.POLITE == 10.0
    assert Guard(BIG).look(host(0.0, 0.4))[1].polite == 0.0


def test_one_victim_at_a_time_with_a_pause() -> None:
    """Nobody else while the victim is still there, nor for 15 s after it is gone."""
    assert d.HOST_PAUSE == 15.0
    g = Guard(BIG, Tree("p.b.1", "p/b", 3 * GIB), Tree("p.c.1", "p/c", 2 * GIB))
    for tenth in range(400):
        at = tenth / 10
        if tenth == 50:
            del g.trees[0]
        g.look(host(at, 0.9))
    assert g.victims() == [(0.1, "p.big.1"), (20.0, "p.b.1")]
    assert g.events() == ["host.pressure"]


def test_critical_that_lasts_cuts_the_pause_short() -> None:
    """2 s after memory was really freed; a critical that began before does not count."""
    assert d.HOST_AGAIN == 2.0
    g = Guard(BIG, Tree("p.b.1", "p/b", 3 * GIB))
    for tenth in range(100):
        if tenth == 30:
            del g.trees[0]
        g.look(host(tenth / 10, 0.3))
    assert g.victims() == [(0.0, "p.big.1"), (5.0, "p.b.1")]


def test_a_victim_that_does_not_go_is_not_waited_for_for_ever() -> None:
    """It hangs in the kernel: after 30 s and the pause somebody else has to help."""
    assert d.HOST_STUCK == 30.0
    g = Guard(BIG, Tree("p.b.1", "p/b", 7 * GIB, priority="protected"))
    for second in range(60):
        g.look(host(float(second), 0.9))
    assert [at for at, _ in g.victims()] == [1.0, 46.0]


def test_nobody_worth_ending_is_said_once() -> None:
    """Guards 6.2 (8): somebody else eats the machine: it is said, nothing is done; again in the next episode."""
    assert d.VICTIM_LEAST == 0.01
    g = Guard(Tree("p.s.1", "p/s", 20 * MIB))
    for second in range(200):
        g.look(host(float(second), 0.9 if second < 60 or second > 180 else 9.0))
    assert g.events() == ["host.pressure", "host.nobody", "host.ok", "host.pressure", "host.nobody"]
    assert g.victims() == []
    fields = g.told[1][1].fields
    assert fields["held_bytes"] == 20 * MIB
    assert "nothing is done" in fields["decision"]


def test_an_upper_bound_is_confirmed_before_it_costs_somebody_his_life() -> None:
    """In danger a sum is walked first; in critical there is no time."""
    loose = Tree("p.f.1", "p/f", 8 * GIB, sure=False)
    g = Guard(loose, Tree("p.b.1", "p/b", 3 * GIB))
    g.look(host(0.0, 0.9))
    assert g.look(host(0.1, 0.9))[1:] == [Confirm("p.f.1")]
    g.trees[0] = Tree("p.f.1", "p/f", 2 * GIB)
    assert g.look(host(0.2, 0.9))[0].run == "p.b.1"
    assert Guard(loose).look(host(0.0, 0.4))[1].run == "p.f.1"


def test_the_budget_of_all_services() -> None:
    """F14 and item 2: confirmed numbers over it for 2 s: the same order of victims, politely; said once and ended."""
    g = Guard(BIG, Tree("p.b.1", "p/b", 5 * GIB, sure=False), budget=10 * GIB)
    for second in range(5):
        assert g.look(host(float(second))) == [Confirm("p.b.1")]
    g.trees[1] = Tree("p.b.1", "p/b", 5 * GIB)
    told = [g.look(host(5.0 + second)) for second in range(3)]
    assert told[:2] == [[], []]
    assert [type(t) for t in told[2]] == [Note, Tripped]
    assert told[2][0].fields == {"held_bytes": 11 * GIB, "budget_bytes": 10 * GIB, "over": False}
    trip = told[2][1]
    assert (trip.run, trip.line, trip.polite) == ("p.big.1", 10 * GIB, 10.0)
    assert trip.words.startswith("all services together hold 11 GiB of their budget of 10 GiB; this one holds 6 GiB")
    del g.trees[0]
    for second in range(8, 80):
        g.look(host(float(second)))
    assert g.events() == ["budget.over", "budget.over"]
    assert g.told[-1][1].fields["over"] is True
    assert len(g.victims()) == 1


def test_below_the_budget_nothing_is_walked() -> None:
    g = Guard(Tree("a", "a", 4 * GIB, sure=False), budget=10 * GIB)
    assert [g.look(host(float(second))) for second in range(5)] == [[]] * 5


@given(st.lists(st.floats(0.0, 24.0), min_size=1, max_size=200), st.integers(0, 3))
@pytest.mark.filterwarnings("ignore")
def test_whatever_the_machine_does(frees: list[float], count: int) -> None:
    """Never somebody who is not ours, never two within the pause unless critical, one line a beginning and an end."""
    g = Guard(*(Tree(f"p.{n}.1", f"p/{n}", (n + 1) * GIB) for n in range(count)))
    for number, free in enumerate(frees):
        for trip in (t for t in g.look(host(float(number), free)) if isinstance(t, Tripped)):
            g.trees = [t for t in g.trees if t.run != trip.run]
    assert {run for _, run in g.victims()} <= {f"p.{n}.1" for n in range(count)}
    assert len(g.victims()) == len(set(g.victims()))
    told = [e for e in g.events() if e in ("host.pressure", "host.ok")]
    assert told == (["host.pressure", "host.ok"] * len(told))[: len(told)]
