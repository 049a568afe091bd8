"""Bounded execution: every way in which a run can end, inside of any host program, and what is left of it: nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.bounded.growing import grown

from midwatch.bounded import Cancel, Limits, child, run
from midwatch.bounded.child import Child
from midwatch.bounded.machinery import machinery
from midwatch.bounded.traces import folder

pytestmark = pytest.mark.usefixtures("home")
MIB = 1 << 20


def gone(pid: int, within: float = 0.0) -> bool:
    """It has ended; its parent may not have reaped it yet."""
    until = time.monotonic() + within
    while True:
        try:
            if b") Z " in Path(f"/proc/{pid}/stat").read_bytes():
                return True
        except OSError:
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)


def test_a_timeout_gets_who_left_the_session() -> None:
    """A14: setsid, a double fork: all of the tree is ended, by its marker."""
    result = run("setsid sh -c 'echo $$; exec sleep 678' & (setsid sleep 678 >/dev/null 2>&1 &); sleep 678", timeout=1)
    assert (result.state, result.left, result.ok) == ("timeout", (), False)
    assert gone(int(result.head.split()[0]))
    left = subprocess.run(["pgrep", "-r", "S,R,D,T", "-f", "^sleep 678$"], capture_output=True, check=False)
    assert left.stdout == b""


def test_who_leaves_when_asked_keeps_his_words_and_code() -> None:
    """A14: TERM first; what is printed then is read, and a 0 is no success."""
    result = run("trap 'echo bye; exit 0' TERM; echo start; while :; do sleep 0.05; done", timeout=0.5)
    assert (result.state, result.exit_code, result.code) == ("timeout", 0, 124)
    assert result.head.startswith("start\n")
    assert result.head.endswith("bye\n")
    assert "ended after its time limit of 0.5 s" in result.notice


def test_silence_ends_it() -> None:
    """A14: the idle limit counts from the last byte."""
    result = run("for i in 1 2 3 4; do echo $i; sleep 0.3; done; sleep 60", idle_timeout=1)
    assert (result.state, result.reason, result.head) == ("idle_timeout", "idle_timeout", "1\n2\n3\n4\n")
    assert 1.5 < result.duration < 8


def test_memory_is_bounded_by_the_kernel_or_by_looking() -> None:
    """A1: over its limit it is ended, whichever holds the limit here."""
    eater = "x = []\nwhile True: x.append(bytearray(4 << 20))"
    result = run([sys.executable, "-c", eater], memory=200 * MIB)
    assert (result.state, result.ok, result.signal) == ("memory_limit", False, 9)
    assert "more than 209,715,200 bytes of memory" in result.notice


def test_memory_is_bounded_without_cgroups(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container without cgroups the tree is weighed ten times a second, and that is said."""
    from midwatch.machine.ports import Containment

    monkeypatch.setattr(type(machinery()[0].machine), "contain", lambda *_: Containment(why_not="no cgroups here"))
    grower = "import time\nx = []\nfor _ in range(200): x.append(bytearray(4 << 20)); time.sleep(0.01)\ntime.sleep(60)"
    result = run([sys.executable, "-c", grower], memory=200 * MIB)
    assert (result.state, result.signal) == ("memory_limit", 9)
    assert "no cgroups here" in result.warnings[0]
    calm = run(["echo", "calm"], memory=200 * MIB)
    assert (calm.state, calm.text) == ("exited", "calm\n")


@pytest.mark.parametrize("streams", ["merged", "split"])
@pytest.mark.parametrize("stdin", [None, b"words for it\n"])
def test_the_gate_gives_back_what_it_borrowed(streams: str, stdin: bytes | None) -> None:
    """A run with a memory limit waits in a gate: its files and odd variables are as without."""
    script = (
        "import os, sys; files = len(os.listdir('/proc/self/fd'))\n"
        "print(sys.stdin.read(), os.environ['odd-name'], files, flush=True)\nprint('err', file=sys.stderr)"
    )
    env = {**os.environ, "odd-name": "kept"}
    plain, gated = (
        run([sys.executable, "-c", script], streams=streams, stdin=stdin, env=env, memory=memory)  # type: ignore[arg-type]
        for memory in (None, 500 * MIB)
    )
    assert (gated.state, gated.exit_code) == ("exited", 0)
    assert " kept " in gated.text
    if not (streams == "split" and stdin):  # there the gate has to keep one descriptor more
        assert gated.text == plain.text


def test_a_signal_of_others_is_told_apart() -> None:
    result = run("kill -SEGV $$")
    assert (result.state, result.signal, result.code, result.reason) == ("signaled", 11, 139, "")


@pytest.mark.parametrize(
    ("command", "error", "code"),
    [(["no-such-command-here"], "ENOENT", 127), (["/"], "EACCES", 126), (["./README"], "ENOENT", 127)],
)
def test_what_cannot_start_is_a_result(command: list[str], error: str, code: int) -> None:
    result = run(command, env={"PATH": "/usr/bin:/bin"})
    assert (result.state, result.reason, result.code, result.exit_code) == ("failed", error, code, None)
    assert result.text.startswith("[midwatch: not started: ")
    assert run(["true"], cwd="/no/such/folder").state == "failed"


@pytest.mark.parametrize("given", [{"timeout": 0}, {"timeout": 4000}, {"memory": -1}, {"streams": "both"}, {"cmd": []}])
def test_what_is_no_bound_is_refused_before_anything_starts(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"is|list"):
        run(**{"cmd": ["true"], **given})  # type: ignore[arg-type]


def test_without_pidfds_it_looks_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no descriptor watches the child (another system; somebody took it at once) it is asked 50 times a s."""

    class Without:
        def __getattr__(self, name: str) -> object:
            if name == "pidfd_open":
                raise AttributeError(name)
            return getattr(os, name)

    monkeypatch.setattr(child, "os", Without())
    assert run("echo hi; sleep 0.3; exit 3").exit_code == 3
    held = run("sleep 60 & exit 4")
    assert (held.exit_code, [holder.ended for holder in held.holders]) == (4, [True])
    assert run(["sh", "-c", "trap '' TERM; sleep 60 & wait; wait"], timeout=0.3).state == "timeout"


def test_runs_inside_of_runs() -> None:
    """`midwatch exec` run by a bounded run: the outer timeout ends the inner command, too."""
    inner = [sys.executable, "-m", "midwatch", "exec", "--", "sh", "-c", "echo $$ > pid; exec sleep 60"]
    result = run(["sh", "-c", 'trap "" TERM; "$@"; sleep 60', "sh", *inner], cwd=folder().parent, timeout=2)
    assert (result.state, result.left) == ("timeout", ())
    assert gone(int((folder().parent / "pid").read_text().split()[0]), 2)


def test_stdin() -> None:
    """/dev/null unless something is given; a command that does not read it blocks nobody."""
    assert run("cat").text == ""
    assert run("cat", stdin="text\n").text == "text\n"
    assert run("true", stdin=b"x" * 5_000_000).ok
    with open(__file__, "rb") as file:
        assert run(["head", "-1"], stdin=file).text.startswith('"""Bounded execution')


def test_cancel_from_another_thread() -> None:
    """A15: the same ladder; what was read is in the result."""
    with Cancel() as cancel:
        timer = threading.Timer(0.5, cancel.cancel)
        timer.start()
        result = run("echo begun; sleep 60", cancel=cancel)
        timer.join()
    assert (result.state, result.reason) == ("cancelled", "cancelled")
    assert result.text.startswith("begun\n[midwatch: ended because it was cancelled")
    cancel.cancel()  # after its end: nothing


def test_ctrl_c_in_the_middle_leaves_nothing() -> None:
    """KeyboardInterrupt out of `run`: the command is dead, descriptors and files are gone."""
    script = (
        "import os, signal, sys, threading, time\n"
        "from midwatch.bounded import run\n"
        "run(['true']); before = len(os.listdir('/proc/self/fd'))\n"
        "threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n run('echo $$ > ' + sys.argv[1] + '; seq 1 50000; sleep 60')\n"
        "except KeyboardInterrupt:\n print('interrupted', len(os.listdir('/proc/self/fd')) - before)\n"
    )
    path = folder().parent / "pid"
    words = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "interrupted 0\n"
    assert gone(int(path.read_text()))


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("signal.signal(signal.SIGCHLD, signal.SIG_IGN)", {7, None}),
        ("signal.signal(signal.SIGCHLD, take)", {7, None}),
        ("threading.Thread(target=lambda: [time.sleep(0.01) for _ in range(10**6)], daemon=True).start()", {7}),
    ],
)
def test_inside_a_host_that_waits_for_everybody(host: str, code: set[int | None]) -> None:
    """A host that ignores SIGCHLD or reaps all children takes our status: it is asked of the kernel, else unknown;
    never wrong, never a hang."""
    found = grown(
        "import signal\ndef take(*_):\n"
        "    try:\n"
        "        while os.waitpid(-1, os.WNOHANG)[0]: pass\n"
        "    except ChildProcessError: pass\n"
        f"{host}\n"
        "r = run('sleep 0.2; exit 7')\nout.update(state=r.state, code=r.exit_code, took=r.duration)"
    )
    assert found["state"] == "exited"
    assert found["code"] in code
    assert found["took"] < 10


@pytest.mark.slow
def test_s27_a_thousand_runs_leave_nothing() -> None:
    """S27: descriptors, threads and zombies are back at the start."""
    found = grown(
        "def four():\n"
        "    for n in range(250): assert run('exit 3' if n % 10 else 'seq 1 20000').state == 'exited'\n"
        "threads = [threading.Thread(target=four) for _ in range(4)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "out['children'] = open(f'/proc/self/task/{os.getpid()}/children').read()"
    )
    assert (found["fds"], found["threads"], found["children"]) == (0, 1, "")
    assert found["grown"] <= 8 * MIB


def test_no_descriptors_is_a_result_not_a_leak() -> None:
    """EMFILE: nothing is started, nothing stays open."""
    found = grown(
        "import resource\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "for room in range(4, 9):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + room - 1, hard))\n"
        "    states = {run(['true']).state for _ in range(5)}\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))\n"
        "    assert states <= {'failed', 'exited'}, states\n"
        "out['after'] = run(['true']).state\n"
    )
    assert (found["after"], found["fds"]) == ("exited", 0)


def test_no_environment_and_markers_of_outer_runs() -> None:
    """The caller's environment is complete as given; a run inside a run bears both markers."""
    result = run(["/usr/bin/env"], env={"ONLY": "this", "MIDWATCH_RUN": "outer:run"})
    names = dict(line.split("=", 1) for line in result.text.splitlines())
    assert set(names) == {"ONLY", "MIDWATCH_RUN"}
    assert names["MIDWATCH_RUN"].startswith("outer:run/exec:")


def test_output_over_its_limit_during_the_grace() -> None:
    """A5, A14: who floods instead of leaving does not get his two seconds."""
    result = run("trap '' TERM; sleep 0.5; yes", timeout=0.4, limits=Limits(output_kill=50 * MIB))
    assert (result.state, result.code) == ("timeout", 137)
    assert result.bytes_total < 60 * MIB


def test_a_child_that_cannot_be_killed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A14: back in time, always; who is left is named."""
    from midwatch.machine.ports import Ended

    monkeypatch.setattr(Child, "ask", lambda _: None)
    monkeypatch.setattr(Child, "end", lambda self: Ended("marker", 0, (self.tree.main,)))
    began = time.monotonic()
    result = run("echo here; exec sleep 20 >/dev/null 2>&1", timeout=0.3)
    assert time.monotonic() - began < 4.3
    assert (result.state, len(result.left)) == ("timeout", 1)
    assert f"could not be ended: {result.left[0]}" in result.notice
    os.kill(result.left[0], signal.SIGKILL)
    until = time.monotonic() + 10
    while Path(f"/proc/{result.left[0]}").exists() and time.monotonic() < until:
        run(["true"])  # the next run reaps it
    assert not Path(f"/proc/{result.left[0]}").exists()


def test_a_folder_that_cannot_be_looked_at_costs_the_spool_only(tmp_path: Path) -> None:
    """Another user's, or a name that is too long: was an OSError before anything ran."""
    result = run(["seq", "1", "20000"], folder=tmp_path / ("x" * 300) / "spool")
    assert (result.ok, result.spool) == (True, None)
    assert result.spool_why.startswith("no spool could be made: cannot use the spool folder")


def test_a_folder_that_was_deleted_is_no_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that cannot be started is a Result."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").mkdir()
    os.chdir("gone")
    (tmp_path / "gone").rmdir()
    result = run(["true"])
    assert (result.state, result.reason, result.code) == ("failed", "ENOENT", 127)
    assert "the current folder does not exist any more" in result.text
    assert run(["true"], cwd=tmp_path).ok


def test_arguments_that_are_none_leave_nothing() -> None:
    """Whatever is refused after a run was entered in the book is struck out again."""
    used = machinery()[0].book._used
    before = set(used)
    for env in ({"A=B": "1"}, {"A": "b\0c"}, {"A": 1}):
        with pytest.raises((ValueError, TypeError)):
            run("true", env=env)  # type: ignore[arg-type]
    assert used == before
    for words in (b"ls", [b"ls"], [1], [], "echo a\0b"):
        with pytest.raises(ValueError, match="cmd"):
            run(words)  # type: ignore[arg-type]


def test_a_closed_stdin_is_refused() -> None:
    """Its number could be one of our pipes a moment later: the command would read its own output."""
    number = os.dup(0)
    os.close(number)
    with pytest.raises(ValueError, match=f"stdin is descriptor {number}, which is not open"):
        run("cat", stdin=number)


def test_an_interrupt_at_any_moment_leaves_next_to_nothing() -> None:
    """Ctrl-C, or a handler that raises, also while the command is just being started: it went on, known to nobody
    (18 of 60 times). What remains is the moment between the fork and our first line after it.
    """
    script = (
        "import os, signal, sys, time\n"
        "from midwatch.bounded import run\n"
        "class Stop(Exception): pass\n"
        "def stop(*_): raise Stop\n"
        "signal.signal(signal.SIGALRM, stop)\n"
        "run('true')\n"
        "for number in range(60):\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.0001 + number * 0.0001)\n"
        "    try: run('exec sleep 87654')\n"
        "    except Stop: pass\n"
        "    finally: signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "mine = open(f'/proc/self/task/{os.getpid()}/children').read().split()\n"
        "print([int(pid) for pid in mine if b'87654' in open(f'/proc/{pid}/cmdline', 'rb').read()])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) <= 3, done.stdout
