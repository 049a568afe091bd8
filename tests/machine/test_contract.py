"""What every Machine promises, told once and held by the fake and by the real Linux adapter alike.

Each test gets a world (conftest.py) in four editions: fake or real, with cgroups or without. No assertion is
about speed; the only waiting is inside the machine's own bounded calls.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from midwatch.machine.ports import Tree
from midwatch.model.identity import ProcId

AWKWARD = {
    "plain": {},
    "setsid grandchild": {"new_session": True},
    "double fork": {"new_session": True, "double": True},
    "double fork in the group": {"double": True},
    "cleared environment": {"clear_env": True},
    "setsid and cleared environment": {"new_session": True, "clear_env": True},
    "double fork and cleared environment": {"new_session": True, "double": True, "clear_env": True},
}


def pids(procs: list[ProcId]) -> set[int]:
    return {proc.pid for proc in procs}


def test_identity_is_pid_start_and_boot(world: Any) -> None:
    """A process is known by pid, start and boot; asking twice gives the same."""
    tree = world.start()
    assert world.machine.identify(tree.main.pid) == tree.main
    assert tree.main.boot == world.machine.now().boot
    assert world.machine.alive(tree.main)


def test_a_recycled_pid_is_somebody_else(world: Any) -> None:
    """H16, E-cases: same pid, another start or another boot: not alive, never signalled."""
    tree = world.start()
    for other in (
        ProcId(tree.main.pid, tree.main.start + 1, tree.main.boot),
        ProcId(tree.main.pid, tree.main.start, "another boot"),
    ):
        assert not world.machine.alive(other)
        assert world.machine.signal(other, signal.SIGKILL) is False
    assert world.machine.alive(tree.main)


def test_a_zombie_is_identified_but_not_alive(world: Any) -> None:
    """Between exit and reaping the identity stands, the process does not live and cannot be signalled."""
    tree = world.start()
    world.leave(tree, 7)
    assert world.machine.identify(tree.main.pid) == tree.main
    assert not world.machine.alive(tree.main)
    assert world.machine.signal(tree.main, signal.SIGTERM) is False
    assert world.reap(tree) == 7 << 8
    assert world.machine.identify(tree.main.pid) is None


def test_a_signal_reaches_exactly_one_process(world: Any) -> None:
    """signal() hits the one process named, not its children."""
    tree = world.start()
    child = world.child(tree)
    proc = world.machine.identify(child)
    assert world.machine.signal(proc, signal.SIGKILL)
    assert world.machine.end(tree, 0, 10).left == ()


def test_nobody_is_found_for_a_pid_that_is_not_there(world: Any) -> None:
    """An unused pid has no identity and no descriptors."""
    assert world.machine.identify(2**22 + 5) is None
    assert world.machine.open_fds(2**22 + 5)[0] is None


@pytest.mark.parametrize("how", AWKWARD.values(), ids=AWKWARD)
def test_members_are_found_wherever_they_went(world: Any, how: dict[str, bool]) -> None:
    """D4: also grandchildren in sessions of their own, double forks, and those without the marker."""
    tree = world.start()
    child = world.child(tree, **how)
    assert pids(world.machine.members(tree)) == {tree.main.pid, child}


@pytest.mark.parametrize("how", AWKWARD.values(), ids=AWKWARD)
def test_members_are_found_after_the_main_process_is_gone(world: Any, how: dict[str, bool]) -> None:
    """D4: orphans fall to the keeper and still belong to their run, reaped leader or not."""
    tree = world.start()
    child = world.child(tree, **how)
    world.leave(tree, 0)
    assert pids(world.machine.members(tree)) == {child}
    world.reap(tree)
    assert pids(world.machine.members(tree)) == {child}


@pytest.mark.parametrize("how", AWKWARD.values(), ids=AWKWARD)
def test_end_ends_them_all_and_can_prove_it(world: Any, how: dict[str, bool]) -> None:
    """D3, D4: a tree that ignores TERM is ended, verified, and the rung that proves it is named."""
    tree = world.start()
    world.ignore(tree)
    child = world.child(tree, ignore_term=True, **how)
    ended = world.machine.end(tree, 0.1, 20)
    assert ended.left == ()
    assert ended.ended == 2
    assert ended.verified_by == ("cgroup" if world.contained else "tree")
    left = world.machine.identify(child)  # its corpse may be collected between two looks
    assert left is None or not world.machine.alive(left)
    assert world.machine.members(tree) == []


def test_end_is_polite_first(world: Any) -> None:
    """D2: those who hear TERM leave by it, long before the time for it is up."""
    tree = world.start()
    before = world.machine.now().awake
    ended = world.machine.end(tree, 60, 5)
    assert ended.left == ()
    assert world.machine.now().awake - before < 50
    assert world.reap(tree) == signal.SIGTERM


def test_end_leaves_other_runs_alone(world: Any) -> None:
    """One tree is ended, its neighbour with the same kind of children lives."""
    tree, other = world.start(), world.start()
    neighbour = world.child(other, new_session=True, double=True)
    world.child(tree, new_session=True, double=True)
    assert world.machine.end(tree, 0, 20).left == ()
    assert pids(world.machine.members(other)) == {other.main.pid, neighbour}


def test_a_shared_group_is_never_signalled(world: Any) -> None:
    """own_group False: members one by one, the group is ours too."""
    tree = world.start(own_group=False)
    child = world.child(tree)
    assert world.machine.signal_group(tree, signal.SIGTERM) == 2
    assert world.machine.end(tree, 20, 10).left == ()
    left = world.machine.identify(child)  # its corpse may be collected between two looks
    assert left is None or not world.machine.alive(left)


def test_signal_group_reaches_the_group(world: Any) -> None:
    """The first rung of the ladder: TERM to the whole group, so a wrapper's child hears it too (D4)."""
    tree = world.start()
    world.child(tree)
    assert world.machine.signal_group(tree, signal.SIGTERM) >= 1
    assert world.machine.end(tree, 60, 10).left == ()
    assert world.reap(tree) == signal.SIGTERM


def test_signal_group_after_the_leader_was_reaped_finds_the_rest(world: Any) -> None:
    """The number of the group is no longer proof by itself; the members are."""
    tree = world.start()
    world.child(tree)
    world.leave(tree, 0)
    world.reap(tree)
    assert world.machine.signal_group(tree, signal.SIGTERM) == 1


def test_a_stopped_tree_is_woken_for_term(world: Any) -> None:
    """A tree frozen by SIGSTOP hears TERM (D1-D4): it leaves by TERM, not by KILL."""
    tree = world.start()
    world.stop(tree.main.pid)
    world.machine.signal_group(tree, signal.SIGTERM)
    assert world.machine.end(tree, 60, 10).left == ()
    assert world.reap(tree) == signal.SIGTERM


def test_a_frozen_tree_is_thawed_before_term(world: Any) -> None:
    """design 4: a frozen cgroup is thawed before TERM."""
    tree = world.start()
    if tree.containment.kill is None:
        pytest.skip("no cgroup in this edition")
    world.freeze(tree)
    assert world.machine.end(tree, 60, 10).left == ()
    assert world.reap(tree) == signal.SIGTERM


def test_end_outruns_forks(world: Any) -> None:
    """A member that forks and leaves all the time does not escape."""
    tree = world.start()
    world.racer(tree)
    ended = world.machine.end(tree, 0, 20)
    assert ended.left == ()
    assert world.machine.members(tree) == []


def test_empty_is_cheap_or_unknown(world: Any) -> None:
    """With a cgroup the answer is exact, without one it is None and a look has to tell."""
    tree = world.start()
    child = world.child(tree, new_session=True, double=True)
    if tree.containment.kill is None:
        assert world.machine.empty(tree) is None
        return
    assert world.machine.empty(tree) is False
    world.leave(tree, 0)
    assert world.machine.empty(tree) is False
    assert pids(world.machine.members(tree)) == {child}
    world.machine.end(tree, 0, 20)
    assert world.machine.empty(tree) is True


def test_end_of_nothing_is_proved_too(world: Any) -> None:
    """D1: everybody is gone already."""
    tree = world.start()
    world.leave(tree, 0)
    world.reap(tree)
    ended = world.machine.end(tree, 5, 5)
    assert (ended.ended, ended.left) == (0, ())
    assert ended.verified_by == ("cgroup" if world.contained else "tree")


def test_an_unprovable_escape_is_admitted(world: Any) -> None:
    """Double fork, new session, no environment, no output of ours, never seen before: killed only with a
    cgroup, else said to be not provable. Never guessed.
    """
    tree = world.start()
    child = world.child(tree, new_session=True, double=True, clear_env=True, quiet=True)
    ended = world.machine.end(tree, 0, 20)
    if world.contained:
        assert (ended.verified_by, ended.ended) == ("cgroup", 2)
        return
    assert (ended.verified_by, ended.ended, ended.left) == ("not provable", 1, ())
    stray = world.machine.identify(child)
    assert world.machine.alive(stray)
    assert world.machine.signal(stray, signal.SIGKILL)


def test_a_child_seen_once_is_known_for_good(world: Any) -> None:
    """The same escape, but a look at the tree happened while its parent lived: it is remembered."""
    tree = world.start()
    child = world.child(tree, new_session=True, clear_env=True, quiet=True)
    assert child in pids(world.machine.members(tree))
    world.leave(tree, 0)
    world.reap(tree)
    assert pids(world.machine.members(tree)) == {child}


def test_another_boot_has_nobody_left(world: Any) -> None:
    """A record of an earlier boot: nothing is signalled, nothing can be left."""
    tree = world.start()
    old = Tree(
        "p.x.0", ProcId(tree.main.pid, tree.main.start, "before"), "p.x.0", tree.containment, tree.keeper
    )
    assert world.machine.end(old, 0, 5).ended == 0
    assert world.machine.signal_group(old, signal.SIGKILL) == 0
    assert world.machine.alive(tree.main)


def test_nested_runs_belong_to_the_outer_one(world: Any) -> None:
    """A marker outer/inner is found by the prefix; outerX is somebody else."""
    tree = world.start()
    inner = Tree(tree.run, tree.main, tree.marker, tree.containment, tree.keeper)
    assert pids(world.machine.members(inner)) == {tree.main.pid}
    shorter = Tree("p.x", tree.main, tree.marker[:-1], tree.containment, tree.keeper)
    assert tree.main.pid in pids(world.machine.members(shorter))  # it is the main process itself


def test_release_removes_the_groups(world: Any) -> None:
    """Released groups are gone; releasing twice, or while somebody is inside, is silent."""
    tree = world.start()
    world.machine.release(tree.containment)
    if world.contained:
        assert world.machine.empty(tree) is False
    world.machine.end(tree, 0, 20)
    world.machine.release(tree.containment)
    world.machine.release(tree.containment)
    assert world.machine.empty(tree) is None
    assert not any(os.path.exists(directory) for directory in tree.containment.dirs)


def test_contain_demanded_and_not_to_be_had_is_an_error(world: Any, launch: Any) -> None:
    """contain = "cgroup" where there is none: OSError; "none" never makes one."""
    assert world.machine.contain("p.n.1", launch(contain="none")).dirs == ()
    if world.machine.host().rungs["cgroup"] != "yes":
        with pytest.raises(OSError, match="cgroup"):
            world.machine.contain("p.n.2", launch(contain="cgroup"))
        return
    made = world.machine.contain("p.n.2", launch(contain="cgroup"))
    assert made.kill
    world.machine.release(made)


def test_groups_of_a_lost_record_are_found_by_the_name_of_the_run(world: Any) -> None:
    """An intent without a record: its groups are named by the run id, so they can be ended and released."""
    tree = world.start()
    left = world.machine.leftover(tree.run)
    assert (left.kill, left.memory) == (tree.containment.kill, tree.containment.memory)
    assert world.machine.leftover("p.never.1").dirs == ()
    world.machine.end(tree, 0, 20)
    world.machine.release(left)
    assert world.machine.leftover(tree.run).dirs == ()


def test_place_answers_for_each_move(world: Any, launch: Any) -> None:
    """A pid that is gone fails alone; the others of the batch are placed."""
    tree = world.start()
    if not world.contained:
        pytest.skip("no cgroup in this edition")
    results = world.machine.place([(tree.containment, 2**22 + 5), (tree.containment, tree.main.pid)])
    assert isinstance(results[0], OSError)
    assert results[1] is None


def test_held_memory_is_a_reading(world: Any) -> None:
    """One process: exact; several: an upper bound; none: absent, never 0."""
    tree = world.start()
    reading = world.machine.held(tree)
    assert reading.value is not None
    assert reading.value > 0
    assert reading.quality in ("exact", "approximate")
    assert world.machine.held_one(tree.main.pid).value is not None
    world.child(tree)
    world.machine.members(tree)
    assert world.machine.held(tree).quality == "upper-bound"
    world.machine.end(tree, 0, 20)
    gone = world.machine.held(tree)
    assert (gone.value, gone.quality) == (None, "absent")
    assert world.machine.held_one(tree.main.pid).value is None


def test_open_fds_of_a_living_process(world: Any) -> None:
    """Count and soft limit of a process of ours."""
    tree = world.start()
    count, limit = world.machine.open_fds(tree.main.pid)
    assert count is not None
    assert limit is not None
    assert 0 < count <= limit


def test_free_bytes(world: Any) -> None:
    """Free space is a number for a path that exists."""
    free = world.machine.free_bytes("/tmp")
    assert free is not None
    assert free > 0


def test_the_host_says_what_it_can(world: Any) -> None:
    """Every rung is "yes" or a reason; the machine that runs the tests is not refused."""
    host = world.machine.host()
    assert host.refusal is None
    assert host.boot == world.machine.now().boot
    assert all(host.rungs.values())
