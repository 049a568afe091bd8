"""The protected set, one row a rule; and what is not protected by it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.inspect.played import NOW, Machine, proc, table

from midwatch.inspect.leftovers.protect import Guard, unit_of
from midwatch.inspect.ours import Instance, Ours, lineage

ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "another user": ({"uid": 0}, "another user"),
    "kernel": ({"ppid": 2}, "kernel"),
    "no arguments": ({"argv": ()}, "shows no command"),
    "unit": ({"cgroup": "/system.slice/web.service"}, "systemd (web.service)"),
    "editor": ({"argv": ("/usr/bin/nvim", "x")}, "an editor"),
    "editor by name": ({"name": "vim"}, "an editor"),
    "database": ({"argv": ("/usr/lib/postgresql/15/bin/postgres", "-D", "x")}, "a database"),
    "ssh": ({"argv": ("sshd: me@pts/0",), "name": "sshd"}, "part of ssh"),
    "multiplexer": ({"argv": ("tmux", "new"), "name": "tmux: server"}, "a multiplexer"),
    "manager": ({"argv": ("supervisord",)}, "a manager"),
    "login shell": ({"argv": ("-zsh",)}, "login shell"),
    "a terminal's shell": ({"argv": ("bash",), "tty": "pts/3", "sid": 50}, "the shell of terminal pts/3"),
    "stopped": ({"state": "T"}, "stopped"),
    "traced": ({"state": "t"}, "stopped"),
    "zombie": ({"state": "Z"}, "ended already"),
}


@pytest.mark.parametrize("name", ROWS)
def test_each_rule_protects(name: str) -> None:
    """REC-4, by itself."""
    fields, words = ROWS[name]
    one = msgspec.structs.replace(proc(50, "node /x/server.js"), **fields)
    machine = Machine("darwin")
    assert words in Guard(machine, table(one), Ours(), me=0).why(one)


def test_a_debugger_protects() -> None:
    """gdb or strace was attached and lets it run: it is not in state t."""
    machine, one = Machine("darwin"), proc(50, "node /x/server.js")
    machine.put("/proc/50/status", "Name:\tnode\nTracerPid:\t77\n")
    assert "pid 77 traces it" in Guard(machine, table(one), Ours(), me=0).why(one)
    machine.put("/proc/50/status", "Name:\tnode\nTracerPid:\t0\n")
    assert Guard(machine, table(one), Ours(), me=0).why(one) == ""


def test_an_ordinary_process_is_not_protected() -> None:
    """None of the rules holds."""
    one = proc(50, "node /x/server.js")
    assert Guard(Machine("darwin"), table(one), Ours(), me=0).why(one) == ""


def test_the_young_are_protected() -> None:
    """REC-4: 60 s; and one whose start lies in the future because the clock was set."""
    for age, spared in ((59, True), (61, False), (-500, True)):
        one = proc(50, "node x.js", started=NOW - age)
        assert bool(Guard(Machine("darwin"), table(one), Ours(), me=0).why(one)) is spared


def test_we_and_all_above_and_below_us() -> None:
    """Own tree and every ancestor."""
    shell, me = proc(40, "sh x", start=1), proc(50, "midwatch sweep", ppid=40, start=2)
    child, other = proc(60, "ps", ppid=50, start=3), proc(70, "node x.js", ppid=40, start=4)
    guard = Guard(Machine("darwin"), table(shell, me, child, other), Ours(), me=50)
    assert guard.why(shell) == guard.why(me) == "midwatch itself runs below it"
    assert guard.why(child) == "midwatch started it"
    assert guard.why(other) == ""


def test_a_container_is_told_by_its_namespace() -> None:
    """Another namespace of processes; what cannot be read counts as one."""
    linux = Machine("linux")
    linux.links |= {
        "/proc/self/ns/pid": "pid:[1]",
        "/proc/50/ns/pid": "pid:[2]",
        "/proc/51/ns/pid": "pid:[1]",
    }
    one, two, three = proc(50, "x y"), proc(51, "x y"), proc(52, "x y")
    guard = Guard(linux, table(one, two, three), Ours(), me=0)
    assert "lives in a container" in guard.why(one)
    assert guard.why(two) == ""
    assert "cannot be told" in guard.why(three)


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("/system.slice/ssh.service", "ssh.service"), ("/user.slice/user-1000.slice/session-3.scope", ""),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/hermes.service", "hermes.service"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope", ""),
        ("/system.slice/hermes.service/worker", "hermes.service"),
        ("/system.slice/box.service/run-1.scope", "box.service"),
        ("/user.slice/user-0.slice/user@0.service/app.slice/run-u3.service", "run-u3.service"), ("/", ""), ("", ""),
    ],
)  # fmt: skip
def test_units_by_cgroup(cgroup: str, unit: str) -> None:
    """A service unit is a job; a scope is what a person, a terminal or a desktop started."""
    assert unit_of(cgroup) == unit


def test_ours_by_keeper_engine_run_and_descent() -> None:
    """A living keeper is the reaper of all it started: whatever hangs below it is ours."""
    keeper, engine = proc(10, "python keeper", start=1), proc(11, "python engine", start=2)
    run, below = proc(12, "web", ppid=10, start=3), proc(13, "worker", ppid=12, start=4)
    stray = proc(14, "stray", ppid=10, start=5)
    procs = table(keeper, engine, run, below, stray).procs
    ours = Ours({10: 1}, {11: 0}, {12: (3, "p.web.1")})
    assert "keeper" in ours.whose(keeper, procs)
    assert "engine" in ours.whose(engine, procs)
    assert ours.whose(below, procs) == "it belongs to run p.web.1"
    assert "started by midwatch" in ours.whose(stray, procs)
    assert Ours({10: 99}).whose(proc(10, "x", start=1), procs) == ""


def test_marks_tell_instance_and_run() -> None:
    """An unknown instance is somebody's; a dead one's recorded run is taken back; what has no record is nobody's."""
    ours = Ours(instances={"aa": Instance("/a", True), "dd": Instance("/d", False, frozenset({"p.s.1"}))})
    assert ours.marked("")[0] == ""
    assert ours.marked("aa:p.s.9")[0] == "ours"
    assert ours.marked("xx:p.s.9")[0] == "ours"
    assert ours.marked("dd:p.s.1")[0] == "ours"
    assert ours.marked("dd:p.s.2")[0] == "dead"
    assert ours.marked("aa:p.t.1/dd:p.s.2")[0] == "ours"


def test_a_lineage_never_goes_to_a_younger_parent() -> None:
    """A number that was given anew, and a circle, end the climb."""
    one, newer = proc(5, "x", ppid=6, start=10), proc(6, "y", ppid=5, start=20)
    assert lineage(one, table(one, newer).procs) == [one]
