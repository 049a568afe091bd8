"""Who holds it (ORP-1, ORP-5 classes by evidence, ORP-7, GEN-5), and who bears a marker or holds a FIFO (design 5)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midwatch.machine import naming
from midwatch.machine.linux import files, who
from midwatch.machine.linux.adapter import LinuxMachine

WAIT = "import sys; sys.stdin.read()"


def child(*argv: str, env: dict[str, str] | None = None, **more: Any) -> subprocess.Popen[bytes]:
    argv = argv or (sys.executable, "-I", "-S", "-c", WAIT)
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, **more)


def ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate(timeout=30)


def ready(process: subprocess.Popen[bytes]) -> None:
    """Until it has said a line: from then on its command line and environment are its own."""
    assert process.stdout
    assert process.stdout.readline()


SAY = "import sys; print('.', flush=True); sys.stdin.read()"


def test_a_holder_is_described_without_its_environment() -> None:
    """ORP-1: identity, command, age, user, parent; of the environment nothing but the marker."""
    machine = LinuxMachine("me", os.getpid())
    process = child(sys.executable, "-I", "-S", "-c", SAY, env={"MIDWATCH_RUN": "me:p.x.1", "TOKEN": "geheim"})
    try:
        ready(process)
        found = machine.holder(process.pid)
        assert found
        assert found.proc == machine.identify(process.pid)
        assert found.command.startswith(f"{sys.executable} -I -S -c import sys")
        assert 0 <= found.age < 300
        assert (found.ppid, found.marker) == (os.getpid(), "me:p.x.1")
        assert found.user == whoami()
        assert found.manager == ""
        assert "geheim" not in repr(found)
    finally:
        ended(process)
    assert machine.holder(2**22 + 5) is None


def whoami() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def test_a_marker_of_another_home_is_named() -> None:
    """ORP-1: bears the marker of an instance that is not ours: another home's; an inner one counts by its last part."""
    machine = LinuxMachine("me", os.getpid())
    for marker, manager in (
        ("other:p.x.1", "midwatch of another home (other)"),
        ("other:p.x.1/me:p.y.1", ""),
        ("me:p.x.1/inner:p.y.1", "midwatch of another home (inner)"),
        ("without", ""),
    ):
        process = child(sys.executable, "-I", "-S", "-c", SAY, env={"MIDWATCH_RUN": marker})
        try:
            ready(process)
            found = machine.holder(process.pid)
            assert found
            assert (found.marker, found.manager) == (marker, manager)
        finally:
            ended(process)


LEVEL = """
import os, subprocess, sys
left = int(sys.argv[1])
if left:
    subprocess.Popen([sys.executable, "-I", "-S", "-c", sys.argv[2], str(left - 1), sys.argv[2]], stdin=0)
else:
    print(os.getpid(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("levels", "known"), [(0, True), (2, True), (3, False)])
def test_supervisord_is_known_within_three_levels_and_not_further(tmp_path: Path, levels: int, known: bool) -> None:
    """ORP-1 "other supervisor's": an ancestor whose command is supervisord; four levels up it is no evidence."""
    program = tmp_path / "supervisord"
    program.write_text(
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-I', '-S', '-c', {LEVEL!r}, sys.argv[1], {LEVEL!r}], stdin=0)\n"
        "sys.stdin.read()\n"
    )
    process = child(sys.executable, str(program), str(levels))
    assert process.stdin
    assert process.stdout
    try:
        found = LinuxMachine("me", os.getpid()).holder(int(process.stdout.readline()))
        assert found
        assert found.manager == (f"supervisord (pid {process.pid})" if known else "")
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def test_an_orphan_of_process_1_proves_nothing() -> None:
    """ORP-7: ppid 1 is no evidence of anything."""
    machine = LinuxMachine("me", os.getpid())
    found = machine.holder(1)
    assert found
    assert found.manager == ""


DOCKER = "a" * 64


@pytest.mark.parametrize(
    ("groups", "unit", "manager"),
    [
        ({"": "/system.slice/nginx.service"}, "nginx.service", "systemd unit nginx.service"),
        ({"name=systemd": "/user.slice/user-1.slice/user@1.service/app.slice/web.service"},
         "web.service", "systemd unit web.service"),
        ({"": "/user.slice/user-1.slice/user@1.service/init.scope"}, "", ""),
        ({"": "/user.slice/user-1.slice/session-3.scope"}, "", ""),
        ({"memory": f"/docker/{DOCKER}"}, DOCKER, "docker container aaaaaaaaaaaa"),
        ({"": f"/machine.slice/libpod-{DOCKER}.scope"}, DOCKER, "podman container aaaaaaaaaaaa"),
        ({"": f"/kubepods/pod1/{DOCKER}"}, DOCKER, "container aaaaaaaaaaaa"),
        ({"": "/system.slice/mw.service/midwatch-me/p.x.1"}, "", ""),
        ({"": "/system.slice/mw.service/midwatch-other/p.x.1"}, "", "midwatch of another home (other)"),
        ({"": "/system.slice/mw.service/midwatch"}, "mw.service", "systemd unit mw.service"),
        ({"": "/"}, "", ""),
    ],
)  # fmt: skip
def test_cgroup_leaves_that_are_evidence(groups: dict[str, str], unit: str, manager: str) -> None:
    """ORP-1: a unit, a container, another instance's run; a session or a scope is nobody's."""
    assert who._by_cgroup(groups, "midwatch-me") == (unit, manager)


def test_what_holds_us_too_is_no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside one container everybody has its id: that says nothing about who manages a neighbour."""
    own = f"0::/docker/{DOCKER}\n".encode()
    monkeypatch.setattr(files, "read_or_none", lambda path: own if path == "/proc/self/cgroup" else None)
    assert who._by_cgroup({"": f"/docker/{DOCKER}"}, "midwatch-me") == (DOCKER, "")


@pytest.mark.parametrize(
    ("words", "manager"),
    [
        ([b"/usr/bin/python3", b"/usr/bin/supervisord", b"-n"], "supervisord"),
        ([b"PM2 v5.3.0: God Daemon (/root/.pm2)"], "pm2"),
        ([b"node", b"/usr/lib/node_modules/pm2/lib/Daemon.js"], "pm2"),
        ([b"vim", b"-n", b"supervisord"], ""),
        ([b"less", b"supervisord.log"], ""),
        ([], ""),
    ],
)
def test_managers_by_their_command(words: list[bytes], manager: str) -> None:
    """Only the program itself or the script its interpreter runs counts."""
    assert naming.manager(words) == manager


def test_hostile_command_lines_are_one_short_line() -> None:
    """H-cases: newlines, escapes and endless arguments cannot forge output."""
    machine = LinuxMachine("me", os.getpid())
    process = child(sys.executable, "-I", "-S", "-c", SAY, "a\nb\x1b[2J\x7f", "x" * 5000, "\udcff")
    try:
        ready(process)
        found = machine.holder(process.pid)
        assert found
        assert len(found.command) <= 200
        assert found.command.isprintable()
        assert "a\\nb\\x1b[2J\\x7f" in found.command
    finally:
        ended(process)


@given(st.text(max_size=400))
def test_printable_is_always_one_line(text: str) -> None:
    """Whatever it is: printable, bounded."""
    shown = naming.printable(text)
    assert shown.isprintable()
    assert len(shown) <= 200


def test_find_by_marker_and_by_fifo(tmp_path: Path) -> None:
    """design 5: an intent without a pid: whole marker or one inside it, or an open FIFO (also a removed one)."""
    machine = LinuxMachine("me", os.getpid())
    fifo = tmp_path / "fifo" / "p.x.1.out"
    fifo.parent.mkdir()
    os.mkfifo(fifo)
    fd = os.open(fifo, os.O_RDWR)
    marks = ("me:p.x.1", "me:p.x.1/deep:q.y.1", "me:p.x.10", "outer:a.b.1/me:p.x.1")
    bearers = [child(sys.executable, "-I", "-S", "-c", SAY, env={"MIDWATCH_RUN": mark}) for mark in marks]
    holder = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "import sys; print('.', file=sys.stderr, flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=fd, stderr=subprocess.PIPE, env={},
    )  # fmt: skip
    try:
        for process in bearers:
            ready(process)
        assert holder.stderr
        holder.stderr.readline()
        wanted = sorted(process.pid for process in bearers[:2])
        assert [proc.pid for proc in machine.find("me:p.x.1", ())] == wanted
        both = sorted([*wanted, holder.pid])
        assert [proc.pid for proc in machine.find("me:p.x.1", (str(fifo),))] == both
        assert [proc.pid for proc in machine.find("", (str(fifo),))] == [holder.pid]
        fifo.unlink()
        found = machine.find("", (str(fifo),))
        assert [proc.pid for proc in found] == [holder.pid]
        assert found[0] == machine.identify(holder.pid)
        assert machine.find("", ()) == []
    finally:
        for process in bearers:
            ended(process)
        holder.kill()
        holder.communicate(timeout=30)
        os.close(fd)


def test_find_leaves_out_ourselves_our_keeper_and_the_dead(linux: Any, tmp_path: Path) -> None:
    """The keeper holds every FIFO open; a zombie holds nothing and is nobody."""
    tree = linux.start()
    assert [proc.pid for proc in linux.machine.find(tree.marker, ())] == [tree.main.pid]
    linux.leave(tree, 0)
    assert linux.machine.find(tree.marker, ()) == []
    fifo = tmp_path / "mine.out"
    os.mkfifo(fifo)
    fd = os.open(fifo, os.O_RDWR)
    assert linux.machine.find("", (str(fifo),)) == []
    os.close(fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's process")
def test_processes_nobody_may_look_at_are_passed_over(tmp_path: Path) -> None:
    """As an unprivileged user: no error, and nobody found that cannot be seen."""
    process = child(sys.executable, "-I", "-S", "-c", SAY, env={"MIDWATCH_RUN": "me:p.x.1"})
    code = (
        "import os; from midwatch.machine.linux.adapter import LinuxMachine; os.setgroups([]); os.setgid(65534);"
        "os.setuid(65534); print(LinuxMachine('me', 1).find('me:p.x.1', ('/tmp/none',)))"
    )
    env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        ready(process)
        argv = [sys.executable, "-c", code]
        out = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=60, check=False)
        assert out.stdout == "[]\n", out.stderr
    finally:
        ended(process)
