"""What only the fake machine has: the stage on which ports, launchers, wedges and sleep are played."""

from __future__ import annotations

from midwatch.machine.fake import FakeMachine
from midwatch.machine.ports import Containment, Tree


def test_a_wedge_is_staged_by_its_queue() -> None:
    """HLT-6: nobody accepts; full means that the next one hangs."""
    machine = FakeMachine()
    main = machine.spawn()
    machine.listen(main.pid, 80, waiting=6, backlog=5)
    (row,) = machine.listeners(80)
    assert (row.waiting, row.backlog, row.full) == (6, 5, True)
    machine.procs[main.pid].queues[80].waiting = 5
    assert not machine.listeners(80)[0].full


def test_a_hidden_holder_and_a_blocked_port() -> None:
    """ORP-1 unattributable, ORP-2 not bindable without a listener."""
    machine = FakeMachine()
    machine.listen(machine.stranger().pid, 80, address="::", readable=False)
    (row,) = machine.listeners(80)
    assert (row.family, row.pids, machine.bindable(80)) == ("inet6", (), False)
    machine.blocked[81] = "pid 7 has bound it"
    assert (machine.listeners(81), machine.bindable(81), machine.blockers(81)) == ([], False, "pid 7 has bound it")
    assert machine.bindable(82)


def test_a_launcher_leaves_an_heir_that_outlives_it() -> None:
    """ORP-7: the child serves in a session of its own, falls to the keeper, and ends like anybody."""
    machine = FakeMachine()
    main = machine.spawn(env={"MIDWATCH_RUN": "p.x.1"})
    tree = Tree("p.x.1", main, "p.x.1", Containment(), machine.keeper)
    heir = machine.hand_over(main.pid, 8080)
    assert machine.reap(main.pid) == 0
    assert machine.members(tree) == [heir]
    assert machine.procs[heir.pid].ppid == machine.keeper
    assert machine.serving(tree) == {heir.pid: (8080,)}
    machine.exit(heir.pid, 3)
    assert machine.listeners(8080) == []


def test_sleep_moves_the_wall_and_not_the_awake_clock() -> None:
    """Suspend: what the awake clock did not count is told by `suspended`."""
    machine = FakeMachine()
    before = machine.now()
    machine.sleep(3600)
    after = machine.now()
    assert (after.awake, after.wall - before.wall, machine.suspended()) == (before.awake, 3600, 3600)
    machine.reboot()
    assert machine.suspended() == 0


def test_strangers_have_what_a_test_gives_them() -> None:
    """ORP-1 classes: another manager's unit, another home, a plain stranger; all without evidence unless staged."""
    machine = FakeMachine()
    pid = machine.stranger().pid
    machine.procs[pid].unit = "nginx.service"
    machine.procs[pid].manager = "systemd unit nginx.service"
    machine.procs[pid].user = "www"
    who = machine.holder(pid)
    assert who
    assert (who.user, who.unit, who.manager, who.ppid) == ("www", "nginx.service", "systemd unit nginx.service", 1)
