"""Starting, ending and reaping with a real keeper."""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.keeper.conftest import Make
from tests.keeper.harness import Keeper, children, command, descriptors, gone, until

pytestmark = pytest.mark.system
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="changes identity: needs root")


ENDS = [("exit 0", 0), ("exit 7", 7 << 8), ("kill -9 $$", 9), ("kill -SEGV $$", 11)]


@pytest.mark.parametrize(("script", "status"), ENDS)
def test_the_raw_status_is_reported(keeper: Keeper, script: str, status: int) -> None:
    """Design 2: an exit is the raw wait status for ever (a core flag may be added)."""
    pid = keeper.spawn("p.a.1", ["sh", "-c", script])["pid"]
    ended = keeper.event("exited")
    assert (ended["run"], ended["pid"], ended["status"] & ~0x80) == ("p.a.1", pid, status)
    assert ended["at"] <= time.monotonic()
    assert ended["strays"] == []
    keeper.event("drained")
    assert not (keeper.folder / "p.a.1.out").exists()


def test_a_status_is_kept_until_it_was_taken(keeper: Keeper) -> None:
    """Design 5: each new engine hears it again until one has written it down."""
    keeper.spawn("p.a.1", ["sh", "-c", "exit 3"])
    keeper.event("exited")
    for _ in range(2):
        os.kill(keeper.engine_pid, signal.SIGKILL)
        (run,) = keeper.meet()["runs"]
        assert (run["run"], run["status"]) == ("p.a.1", 3 << 8)
    keeper.ask("taken", run="p.a.1")
    assert keeper.table() == []


def test_a_child_gets_a_clean_process(keeper: Keeper) -> None:
    """Default signals, empty mask, own session, no descriptor but 0 to 2, the starter's umask and file limit."""
    report = "cat /proc/self/status; ls /proc/self/fd; umask; ulimit -Sn; cut -d' ' -f6 /proc/$$/stat; echo $$"
    keeper.spawn("p.a.1", ["sh", "-c", report])
    keeper.event("drained")
    text = keeper.output("p.a.1").decode()
    own = 3 << 31  # 32 and 33 are glibc's: what a parent of ours did with them nobody can reset
    for name in ("SigIgn", "SigBlk"):
        assert int(text.split(f"{name}:")[1].split()[0], 16) & ~own == 0
    *fds, umask, soft, session, pid = text.split("Speculation")[-1].split("\n")[-10:-1][-8:]
    old = os.umask(0o22)
    os.umask(old)
    assert (int(umask, 8), int(soft), session) == (old, resource.getrlimit(resource.RLIMIT_NOFILE)[0], pid)
    assert fds[-4:] == ["0", "1", "2", "3"], "3 is ls's own"


def test_env_cwd_umask_and_both_streams(keeper: Keeper) -> None:
    """Spawn facts: exactly the environment given; stderr has its own file when asked."""
    keeper.spawn("p.a.1", ["sh", "-c", "pwd; umask; echo $V; echo oops >&2"], "out", "err", env={"V": "1 2"}, cwd="/",
                 umask=0o027)  # fmt: skip
    keeper.event("drained")
    keeper.event("drained")
    assert keeper.output("p.a.1") == b"/\n0027\n1 2\n"
    assert keeper.output("p.a.1", "err") == b"oops\n"


@pytest.mark.parametrize("gate", [False, True])
def test_failures_come_back_and_leave_nothing(keeper: Keeper, gate: bool) -> None:
    """ENOENT, EACCES and a missing cwd are answers with their phase; no FIFO, file, descriptor or zombie stays."""
    before = descriptors(keeper.process.pid)
    cases: dict[str, tuple[str, str, str | None]] = {"/bin/true": ("ENOENT", "prepare", "/nope")}
    if not gate:  # with one the shell finds out; the engine has looked before
        cases |= {"/nope/x": ("ENOENT", "exec", None), "/etc/passwd": ("EACCES", "exec", None)}
    for path, (number, phase, cwd) in cases.items():
        answer = keeper.spawn("p.a.1", [path], gate=gate, cwd=cwd)
        assert (answer["errno"], answer["phase"]) == (number, phase)
    assert "Traceback" not in str(keeper.ask("spawn", run="x"))
    assert keeper.ask("nonsense")["error"]
    assert not list(keeper.folder.glob("p.a.*"))
    assert descriptors(keeper.process.pid) == before
    assert children(keeper.process.pid) == [keeper.engine_pid]


def test_a_gate_holds_until_it_is_opened(keeper: Keeper) -> None:
    """A run behind a gate has done nothing; release starts it under the same pid; odd names survive the shell."""
    env = {"PATH": os.environ["PATH"], "a.b": "c d"}
    pid = keeper.spawn("p.a.1", ["/bin/sh", "-c", "env; echo $$"], gate=True, env=env)["pid"]
    keeper.quiet(0.2)
    assert keeper.output("p.a.1") == b""
    assert [r["gate"] for r in keeper.table()] == ["closed"]
    assert keeper.ask("release", run="p.a.1")["ok"]
    keeper.event("drained")
    lines = keeper.output("p.a.1").decode().split("\n")
    assert lines[-2] == str(pid)
    assert "midwatch_gate" not in "".join(lines)
    assert keeper.ask("release", run="p.a.1")["error"]


def test_environment_names_a_shell_drops_survive_the_gate(keeper: Keeper) -> None:
    """dash forgets a.b=; the gate hands it on."""
    keeper.spawn("p.a.1", ["/usr/bin/env"], gate=True, env={"PATH": os.environ["PATH"], "a.b": "c d"})
    keeper.ask("release", run="p.a.1")
    keeper.event("drained")
    assert "a.b=c d" in keeper.output("p.a.1").decode().split("\n")


def test_a_dropped_gate_leaves_with_125(keeper: Keeper) -> None:
    """drop = end of file = exit 125 without having started anything."""
    keeper.spawn("p.a.1", ["/bin/echo", "never"], gate=True)
    assert keeper.ask("drop", run="p.a.1")["ok"]
    assert keeper.event("exited")["status"] == 125 << 8
    keeper.event("drained")
    assert keeper.output("p.a.1") == b""
    assert [r["gate"] for r in keeper.table()] == ["shut"]  # a new engine must not take that for the run's own end


def test_gates_leave_when_the_keeper_dies(keeper: Keeper) -> None:
    """No half-started run survives its keeper, whatever other children were started meanwhile."""
    pids = [keeper.spawn(f"p.a.{i}", ["/bin/sleep", "60"], gate=True)["pid"] for i in range(3)]
    pids += [keeper.spawn("p.b.1", ["sleep", "60"])["pid"]]
    keeper.process.kill()
    until(lambda: all(gone(p) for p in pids[:3]), "the gates have left")
    assert not gone(pids[3])


def test_orphans_are_reported_and_reaped(keeper: Keeper) -> None:
    """Design 5: re-parented children are named as strays; none becomes a zombie; known mains are no strays."""
    keeper.spawn("p.b.1", ["sleep", "60"])
    keeper.spawn("p.a.1", ["sh", "-c", "(sleep 0.3; exit 4) & sleep 60 & echo $!"])
    ended = keeper.event("exited")
    stray = int(until(lambda: keeper.output("p.a.1"), "its pid is written"))
    assert stray in ended["strays"]
    os.kill(stray, signal.SIGKILL)
    until(lambda: len(children(keeper.process.pid)) == 2, "only the engine and p.b.1 are left")
    keeper.event("drained", "p.a.1")


def test_signals_are_told_or_kept(keeper: Keeper) -> None:
    """TERM never ends the keeper; while no engine is there signals wait for the next hello, a bounded number."""
    os.kill(keeper.process.pid, signal.SIGTERM)
    assert keeper.event("signal")["signum"] == signal.SIGTERM
    keeper.send(op="heard", signum=int(signal.SIGTERM))
    keeper.ask("list")  # what a dead engine said and nobody has read is not heard: the signal is told again
    os.kill(keeper.engine_pid, signal.SIGSTOP)  # its successor is started only when it is gone
    os.kill(keeper.engine_pid, signal.SIGKILL)
    until(lambda: keeper.engine_pid not in children(keeper.process.pid), "the keeper has noticed")
    os.kill(keeper.process.pid, signal.SIGHUP)
    keeper.meet()
    assert keeper.event("signal")["signum"] == signal.SIGHUP


def test_no_status_is_lost_when_engines_die(keeper: Keeper) -> None:
    """Design 5: 15 engines killed at random while runs end; each run's true code is told."""
    missing = {f"p.a.{i}": (i % 100) << 8 for i in range(45)}
    seen: dict[str, int] = {}

    def note(frame: dict[str, object]) -> None:
        if frame.get("status") is not None:
            assert seen.setdefault(str(frame["run"]), frame["status"]) == frame["status"]  # type: ignore[arg-type]

    names = list(missing)
    for death in range(15):
        for name in names[death * 3 : death * 3 + 3]:
            assert "pid" in keeper.spawn(name, ["sh", "-c", f"sleep 0.0{death % 7}; exit {missing[name] >> 8}"])
        keeper.quiet(0.01 * (death % 5))
        for frame in keeper.frames:
            if frame.get("ev") == "exited":
                note(frame)
                keeper.ask("taken", run=frame["run"])
        os.kill(keeper.engine_pid, signal.SIGKILL)
        for entry in keeper.meet()["runs"]:
            note(entry)
    while len(seen) < len(missing):
        note(keeper.event("exited"))
    assert seen == missing
    assert children(keeper.process.pid) == [keeper.engine_pid]


def test_running_out_of_descriptors_is_an_answer(make_keeper: Make) -> None:
    """EMFILE comes back; nothing is left over; the engine's restart keeps its own descriptors."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    keeper = make_keeper(preexec_fn=few)
    answer: dict[str, object] = {}
    for i in range(40):
        answer = keeper.spawn(f"p.a.{i}", ["sleep", "60"])
        if "pid" not in answer:
            break
    assert answer["errno"] == "EMFILE", answer
    number = len(children(keeper.process.pid)) - 1
    assert len(list(keeper.folder.glob("p.a.*.out"))) == number
    os.kill(keeper.engine_pid, signal.SIGKILL)
    runs = keeper.meet()["runs"]
    assert len(runs) == number
    os.kill(runs[0]["pid"], signal.SIGKILL)
    assert keeper.event("exited")["status"] == 9
    keeper.event("drained")
    assert "pid" in keeper.spawn("p.b.1", ["true"])


@ROOT
def test_identity(keeper: Keeper) -> None:
    """uid, gid and groups are the asked ones, and the FIFO is the user's."""
    nobody = pwd.getpwnam("nobody")
    ids: dict[str, Any] = {"uid": nobody.pw_uid, "gid": nobody.pw_gid, "groups": [nobody.pw_gid]}
    keeper.spawn("p.a.1", ["sh", "-c", "id -u; id -G; stat -c %u ../proc/self/fd/1 -L; sleep 0.1"], cwd="/tmp", **ids)
    keeper.event("drained")
    assert keeper.output("p.a.1").decode().split() == [str(nobody.pw_uid), str(nobody.pw_gid), str(nobody.pw_uid)]


def test_too_many_processes_is_an_answer(make_keeper: Make) -> None:
    """EAGAIN from fork comes back with its phase (needs a user without privilege)."""
    if os.geteuid() == 0:
        pytest.skip("RLIMIT_NPROC does not bind root")
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("the limit is the user's, whose other tests start processes at the same time; run it alone")
    mine = sum(1 for p in Path("/proc").glob("[0-9]*") if p.owner() == pwd.getpwuid(os.geteuid()).pw_name)
    keeper = make_keeper(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (mine + 12, mine + 12)))
    answers = [keeper.spawn(f"p.a.{i}", ["sleep", "60"]) for i in range(40)]
    failed = [a for a in answers if "pid" not in a]
    assert failed
    assert (failed[0]["errno"], failed[0]["phase"]) == ("EAGAIN", "fork")


def test_a_terminal_is_one(keeper: Keeper) -> None:
    """ctty: 0 to 2 are a terminal, and it controls the session; with a gate too."""
    for run, gate in (("p.a.1", False), ("p.a.2", True)):
        script = "test -t 0 && test -t 1 && test -t 2 && echo yes >/dev/tty"
        keeper.spawn(run, ["/bin/sh", "-c", script], ctty=True, gate=gate)
        if gate:
            keeper.ask("release", run=run)
        keeper.event("drained", run)
        assert keeper.output(run) == b"yes\r\n"


def test_the_end(keeper: Keeper) -> None:
    """exit is refused while a run lives; then the keeper ends with the asked code, its output written."""
    keeper.spawn("p.a.1", ["sh", "-c", "read x; exit 1"], stdin="null", gate=True)
    assert "p.a.1" in keeper.ask("exit", code=5)["error"]
    keeper.ask("release", run="p.a.1")
    keeper.event("exited")
    keeper.ask("taken", run="p.a.1")
    assert keeper.end(5) == 5


def test_an_engine_that_never_speaks_ends_the_keeper(tmp_path: Path) -> None:
    """Nothing is kept alive yet, so a broken engine is the caller's to see: its code comes through."""
    engine = [sys.executable, "-I", "-S", "-c", "raise SystemExit(78)"]
    assert subprocess.run(command(tmp_path, engine), timeout=50, check=False).returncode == 78
    missing = subprocess.run(command(tmp_path, ["/nope/engine"]), timeout=50, check=False, capture_output=True)
    assert missing.returncode == 127
    assert b"cannot start the engine /nope/engine" in missing.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_without_an_engine_and_a_run_a_signal_ends_the_keeper(keeper: Keeper, signum: int) -> None:
    """An engine that can no longer be started: a living run is kept, an operator's TERM ends what keeps nothing."""
    pid = keeper.spawn("p.a.1", ["sleep", "60"])["pid"]
    (keeper.folder / "engine.py").unlink()
    os.kill(keeper.engine_pid, signal.SIGKILL)
    until(lambda: children(keeper.process.pid) == [pid], "engines have died more than once")
    os.kill(keeper.process.pid, signum)
    with pytest.raises(subprocess.TimeoutExpired):
        keeper.process.wait(0.5)
    os.kill(pid, signal.SIGKILL)
    assert keeper.process.wait(30) == 128 + signum


def test_an_engine_that_hangs_is_killed(keeper: Keeper) -> None:
    """One that reads nothing, and one that talks nonsense: the next one hears everything again."""
    long = "p." + "a" * 100_000 + ".1"
    keeper.spawn(long, ["sleep", "60"], streams=keeper.streams("x", "out"))
    pid = keeper.engine_pid
    with contextlib.suppress(OSError):  # it closes the link
        for number in range(100):  # each is answered with the name
            keeper.send(op="spawn", id=number, run=long)
    assert [r["run"] for r in keeper.meet()["runs"]] == [long]
    assert keeper.engine_pid != pid
    assert keeper.link
    keeper.link.sendall(b"\xff" * 8)
    assert [r["run"] for r in keeper.meet()["runs"]] == [long]
