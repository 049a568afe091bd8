"""The rest of what every Machine promises: ports and their holders, a close look, sleep, delegated cgroups.

Like test_contract.py it runs against every world.
"""

from __future__ import annotations

import os
from typing import Any

from midwatch.model.identity import ProcId


def pids(procs: list[ProcId]) -> set[int]:
    return {proc.pid for proc in procs}


def test_a_listener_and_its_holder_are_told(world: Any) -> None:
    """ORP-1, ORP-4: this port and this pid; nobody else's."""
    tree, other = world.start(), world.start()
    port = world.listen(tree)
    (found,) = world.machine.listeners(port)
    assert (found.port, found.pids, found.family) == (port, (tree.main.pid,), "inet")
    assert (found.waiting, found.full) == (0, False)
    assert [row.pids for row in world.machine.listeners(port, owners=False)] == [()]
    assert world.machine.listener_in_tree(tree, "127.0.0.1", port) is True
    assert world.machine.listener_in_tree(other, "127.0.0.1", port) is False
    assert (world.machine.owns(tree, found), world.machine.owns(other, found)) == (True, False)
    assert (world.machine.serving(tree), world.machine.serving(other)) == ({tree.main.pid: (port,)}, {})
    assert world.machine.bindable(port) is False
    world.machine.end(tree, 0, 20)
    assert world.machine.listeners(port) == []
    assert world.machine.bindable(port) is True
    assert world.machine.blockers(port) == ""


def test_a_launchers_heir_is_in_the_tree_and_holds_the_port(world: Any) -> None:
    """ORP-7, ORP-9: the main process has left with 0, its child serves: a member, the port's holder, and marked."""
    tree = world.start()
    heir, port = world.heir(tree)
    assert pids(world.machine.members(tree)) == {heir}
    (found,) = world.machine.listeners(port)
    assert found.pids == (heir,)
    assert world.machine.listener_in_tree(tree, "127.0.0.1", port) is True
    assert world.machine.serving(tree) == {heir: (port,)}
    who = world.machine.holder(heir)
    assert who.proc == world.machine.identify(heir)
    assert (who.marker, who.session) == (tree.marker, heir)
    assert pids(world.machine.find(tree.marker, ())) == {heir}


def test_a_holder_is_a_person_or_nobody(world: Any) -> None:
    """ORP-1: identity, command, age, user, parent; None for a pid that is not there."""
    tree = world.start()
    who = world.machine.holder(tree.main.pid)
    assert who.proc == tree.main
    assert (who.ppid, who.marker, who.manager) == (tree.keeper, tree.marker, "")
    assert who.user
    assert who.command
    assert who.age >= 0
    assert world.machine.holder(2**22 + 5) is None


def test_find_by_marker_or_fifo(world: Any) -> None:
    """design 5: an intent without a pid is looked for by marker and FIFO holder; a dead one is nobody."""
    tree, other = world.start(), world.start()
    child = world.child(tree, clear_env=True)
    fifo = f"{world.fifos}/{tree.run}.err"
    assert pids(world.machine.find(tree.marker, ())) == {tree.main.pid}
    assert pids(world.machine.find(tree.marker, (fifo,))) == {tree.main.pid, child}
    assert pids(world.machine.find("", (fifo,))) == {tree.main.pid, child}
    assert world.machine.find("", ()) == []
    assert world.machine.find("p.x", ()) == []
    both = world.machine.find_all({tree.marker: (fifo,), other.marker: (), "p.never.1": ()})
    told = {marker: pids(procs) for marker, procs in both.items()}
    assert told == {tree.marker: {tree.main.pid, child}, other.marker: {other.main.pid}, "p.never.1": set()}
    world.machine.end(tree, 0, 20)
    assert world.machine.find(tree.marker, (fifo,)) == []
    assert pids(world.machine.find(other.marker, ())) == {other.main.pid}


def test_a_close_look_at_a_tree(world: Any) -> None:
    """HLT-7: every member with its state and descriptors, in plain values; a stopped one says so."""
    import json

    tree = world.start()
    child = world.child(tree)
    world.listen(tree)
    world.stop(tree.main.pid)
    answer = world.machine.inspect_tree(tree)
    json.dumps(answer)
    assert {facts["pid"] for facts in answer["processes"]} == {tree.main.pid, child}
    main = next(facts for facts in answer["processes"] if facts["pid"] == tree.main.pid)
    assert main["fds"]["count"] > 0
    assert isinstance(answer["missing"], list)
    extra = world.machine.inspect_tree(tree, (os.getpid() if world.real else world.machine.engine,))
    assert len(extra["processes"]) == 3


def test_the_machine_says_how_long_it_slept(world: Any) -> None:
    """CLOCK_BOOTTIME - CLOCK_MONOTONIC: never negative, and it stands still while nobody sleeps."""
    before = world.machine.suspended()
    assert before >= 0
    assert abs(world.machine.suspended() - before) < 0.5


def test_settling_is_harmless_where_nobody_delegated(world: Any) -> None:
    """Called once at boot, everywhere: a no-op on v1, hybrid and without delegation; twice is the same as once."""
    first = world.machine.settle()
    assert isinstance(first, str)
    assert isinstance(world.machine.settle(), str)
    tree = world.start()
    assert pids(world.machine.members(tree)) == {tree.main.pid}


def test_a_memory_limit_is_set_again(world: Any, launch: Any) -> None:
    """An adopted run gets its limit back, a changed line applies live; without a group that is said."""
    tree = world.start(launch=launch(contain="auto" if world.contained else "none", memory_hard=64 << 20))
    if tree.containment.memory is None:
        assert world.machine.limit(tree.containment, launch(memory_hard=64 << 20)) != ""
    else:
        assert world.machine.limit(tree.containment, launch(memory_hard=96 << 20)) == ""
        assert world.machine.limit(tree.containment, launch(memory_hard=64 << 20)) == ""
    assert world.machine.limit(tree.containment, launch()) == ""
