"""The keeper and its engines: hangs, restarts, re-execution in place, and being part of another program."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.keeper.conftest import Make
from tests.keeper.harness import ENTRY, Frame, Keeper, descriptors, gone, until
from tests.keeper.test_pump import exact, writer

from midwatch.keeper.engine import Engine
from midwatch.keeper.wire import decode, encode

pytestmark = pytest.mark.system


def again(keeper: Keeper) -> None:
    """Ask for the re-execution, with the command line that it was started with."""
    keeper.send(op="reexec", argv=[sys.executable, "-I", "-S", "-OO", str(ENTRY), str(keeper.folder / "plan.json")])


def test_reexec_keeps_everything(keeper: Keeper) -> None:
    """Design 5: the same pid, children, gates, statuses not taken, rotated logs, discard; no descriptor more."""
    before = descriptors(keeper.process.pid)
    assert keeper.spawn("p.dead.1", ["sh", "-c", "echo last words; exit 6"])["pid"]
    keeper.event("exited", "p.dead.1")
    keeper.event("drained", "p.dead.1")
    alive = keeper.spawn("p.live.1", ["sh", "-c", "echo 12345; read x </dev/zero; sleep 60"], limit=4)["pid"]
    keeper.event("rotated", "p.live.1")
    keeper.spawn("p.gate.1", ["sh", "-c", "echo through"], gate=True)
    keeper.ask("pump", run="p.live.1", stream="out", discard=True)
    said = {run["run"]: run for run in keeper.table()}
    count = descriptors(keeper.process.pid)
    for restarts in range(2, 5):
        again(keeper)
        hello = keeper.meet()
        assert {run["run"]: run for run in hello["runs"]} == said
        assert (hello["pid"], hello["engine_restarts"]) == (keeper.process.pid, restarts)
        assert descriptors(keeper.process.pid) <= count, "a log is opened anew at its next byte"
    assert keeper.ask("release", run="p.gate.1")["ok"]
    assert keeper.event("exited", "p.gate.1")["status"] == 0
    keeper.event("drained", "p.gate.1")
    assert keeper.output("p.gate.1") == b"through\n"
    os.killpg(alive, signal.SIGKILL)
    assert keeper.event("exited", "p.live.1")["status"] == 9
    keeper.event("drained", "p.live.1")
    for run in said:
        assert keeper.ask("taken", run=run)["ok"]
    assert descriptors(keeper.process.pid) <= before
    assert keeper.end(4) == 4


@pytest.mark.slow
def test_reexec_loses_no_byte(keeper: Keeper) -> None:
    """Design 5: under a writer at full speed and with rotation, ten times; exact to the byte."""
    pid = keeper.spawn("p.a.1", writer(1 << 40), limit=3_000_000)["pid"]
    paced = [sys.executable, "-I", "-S", "-c",
             "import os,time\nfor i in range(10**9): os.write(1, b'%d %s\\n' % (i, b'x'*(i*7%150))); time.sleep(.001)"]
    slow = keeper.spawn("p.b.1", paced)["pid"]
    for number in range(10):
        until(partial(_grown, keeper, len(keeper.output("p.b.1"))), "output flows")
        time.sleep(number % 4 / 50)
        again(keeper)
        keeper.meet()
    for each in (pid, slow):
        os.killpg(each, signal.SIGKILL)
    for run in ("p.a.1", "p.b.1"):
        keeper.event("drained", run)
        assert exact(keeper.output(run)) > 0
    assert {p.stat().st_size for p in keeper.files("p.a.1")[:-1]} == {3_000_000}


def test_a_terminal_survives_reexec(keeper: Keeper) -> None:
    """A terminal is copied: the pump stands still, so that no byte is between its two calls."""
    count = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done"
    pid = keeper.spawn("p.a.1", ["sh", "-c", count], ctty=True)["pid"]
    for _ in range(3):
        again(keeper)
        keeper.meet()
    until(partial(gone, pid), "it has ended")
    until(lambda: keeper.output("p.a.1").endswith(b"2999\r\n"), "all is written")
    assert keeper.output("p.a.1").split() == [b"%d" % n for n in range(3000)]


@pytest.mark.slow
def test_ends_and_signals_during_reexec_are_told(keeper: Keeper) -> None:
    """Children that end while nobody runs, and TERM at that moment: 30 times, each told, nobody dies of it."""
    for number in range(30):
        run = f"p.a.{number}"
        keeper.spawn(run, ["sh", "-c", f"sleep 0.0{number % 5}; exit {number}"])
        again(keeper)
        time.sleep(number % 7 / 100)
        os.kill(keeper.process.pid, signal.SIGTERM)
        hello = keeper.meet()
        entry = next(entry for entry in hello["runs"] if entry["run"] == run)
        status = entry["status"]
        assert (keeper.event("exited", run)["status"] if status is None else status) == number << 8
        assert keeper.event("signal")["signum"] == signal.SIGTERM
        assert keeper.ask("taken", run=run)["ok"]


def test_a_reexec_that_fails_changes_nothing(keeper: Keeper) -> None:
    """A program that is not there: the answer says so, and signals, output and limits are as before."""
    pid = keeper.spawn("p.a.1", ["sh", "-c", "ulimit -n; until [ -e go ]; do sleep 0.02; done; ulimit -n"],
                       cwd=str(keeper.folder))["pid"]  # fmt: skip
    until(lambda: keeper.output("p.a.1"), "its log is open")
    count = descriptors(keeper.process.pid)
    plan, bad = str(keeper.folder / "plan.json"), keeper.folder / "bad.json"
    bad.write_text('{"engine": null}')
    wrong = {"ENOENT": ["/nope/python", plan], "EACCES": ["/etc/passwd", plan], "ENOEXEC": ["/bin/false", plan],
             "EINVAL": [sys.executable, "-I", "-S", str(ENTRY), str(bad)]}  # fmt: skip
    for number, argv in wrong.items():
        assert keeper.ask("reexec", argv=argv)["errno"] == number
    assert keeper.ask("reexec", argv=["/bin/true", str(keeper.folder / "nope.json")])["errno"] == "ENOENT"
    assert descriptors(keeper.process.pid) == count
    os.kill(keeper.process.pid, signal.SIGTERM)
    assert keeper.event("signal")["signum"] == signal.SIGTERM
    (keeper.folder / "go").touch()
    assert keeper.event("exited")["pid"] == pid
    keeper.event("drained")
    keeper.spawn("p.b.1", ["sh", "-c", "ulimit -n"])
    keeper.event("drained")
    assert len({*keeper.output("p.a.1").split(), *keeper.output("p.b.1").split()}) == 1


def test_limits_mask_and_ignored_signals_outlive_reexec(make_keeper: Make) -> None:
    """Children keep the starter's file limit and an empty mask; what nohup ignored is still not told."""
    keeper = make_keeper(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    look = ["sh", "-c", "ulimit -Sn; grep -E 'SigBlk|SigIgn' /proc/self/status"]
    for run in ("p.a.1", "p.a.2", "p.a.3"):
        keeper.spawn(run, look)
        keeper.event("drained", run)
        again(keeper)
        keeper.meet()
    assert keeper.output("p.a.1") == keeper.output("p.a.2") == keeper.output("p.a.3")
    os.kill(keeper.process.pid, signal.SIGHUP)
    os.kill(keeper.process.pid, signal.SIGUSR1)
    assert keeper.event("signal")["signum"] == signal.SIGUSR1


def test_the_instances_lock_outlives_reexec(make_keeper: Make) -> None:
    """The lock is held as long as the daemon lives, even inherited at a reserved number; no child gets it."""
    first = make_keeper()
    lock = first.folder / "lock"
    lock.touch()

    def low() -> None:
        for number in (3, 7, 9):
            os.dup2(fd, number, inheritable=True)

    fd = os.open(lock, os.O_RDONLY)
    keeper = make_keeper(preexec_fn=low, close_fds=False)
    os.close(fd)
    for _ in range(3):
        held = [os.readlink(p) for p in Path(f"/proc/{keeper.process.pid}/fd").iterdir()]
        assert held.count(str(lock)) == 3
        again(keeper)
        keeper.meet()
    keeper.spawn("p.a.1", ["ls", "-l", "/proc/self/fd"])
    keeper.event("drained")
    assert str(lock).encode() not in keeper.output("p.a.1")


def test_an_adopted_run_outlives_reexec(make_keeper: Make) -> None:
    """Its pidfd goes along: the end of a non-child is told with its true code."""
    old = make_keeper()
    script = "until [ -e go ]; do sleep 0.02; done; echo x; exit 3"
    answer = old.spawn("p.a.1", ["sh", "-c", script], cwd=str(old.folder))
    os.kill(old.engine_pid, signal.SIGKILL)
    old.process.kill()
    old.process.wait()
    keeper = make_keeper()
    facts: Frame = {"pid": answer["pid"], "start": answer["start"], "streams": old.streams("p.a.1", "out")}
    assert keeper.ask("attach", run="p.a.1", **facts)["ok"]
    again(keeper)
    assert [run["adopted"] for run in keeper.meet()["runs"]] == [True]
    (old.folder / "go").touch()
    assert keeper.event("exited")["status"] == 3 << 8
    keeper.event("drained")
    assert old.output("p.a.1") == b"x\n"


def test_a_table_of_another_version_keeps_the_children(tmp_path: Path) -> None:
    """A successor reads what it knows: name and pid of a run are enough; nonsense costs itself only."""
    script = (
        "import os, json, sys\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    os.setsid(); os.execvp('sleep', ['sleep', '60'])\n"
        "t = os.memfd_create('x'); os.set_inheritable(t, True)\n"
        "runs = [{'run': 'p.a.1', 'pid': pid, 'new': 1}, {'nothing': 1}, {'run': 'p.b.1', 'pid': 1, 'streams': [7]}]\n"
        "os.write(t, json.dumps({'version': 99, 'runs': runs, 'more': {}}).encode()); os.lseek(t, 0, 0)\n"
        "os.execv(sys.argv[1], [*sys.argv[1:], str(t)])\n"
    )
    keeper = Keeper(tmp_path, wrap=[sys.executable, "-I", "-S", "-c", script])
    try:
        (run, *_) = keeper.hello["runs"]
        assert run["run"] == "p.a.1"
        os.kill(run["pid"], signal.SIGKILL)
        assert keeper.event("exited")["status"] == 9
    finally:
        keeper.cleanup()


def test_an_entry_without_a_plan_only_loads(tmp_path: Path) -> None:
    """`upgrade` tries a new release's keeper before the old one becomes it."""
    assert subprocess.run([sys.executable, "-I", "-S", str(ENTRY)], check=False, timeout=30).returncode == 0


def test_an_engine_that_falls_silent_is_replaced(make_keeper: Make) -> None:
    """HANG: one that has said that it lives, and then nothing, is killed; its successor is told; runs go on."""
    keeper = make_keeper(plan={"hang": 1.5})
    pid = keeper.spawn("p.a.1", ["sleep", "60"])["pid"]
    keeper.quiet(2)
    first = keeper.engine_pid
    keeper.send(op="alive")
    for _ in range(4):
        keeper.quiet(0.7)
        keeper.send(op="alive")
    assert not gone(first)
    os.kill(first, signal.SIGSTOP)
    until(partial(gone, first), "it is killed")
    hello = keeper.meet()
    assert (hello["engine_hung"], hello["engine_code"], hello["runs"][0]["pid"]) == (True, 128 + 9, pid)
    os.kill(keeper.engine_pid, signal.SIGKILL)
    assert keeper.meet()["engine_hung"] is False


def test_a_pause_of_the_machine_is_no_silence(make_keeper: Make) -> None:
    """Container pause: the time in which the keeper itself did not run is not counted against its engine."""
    keeper = make_keeper(plan={"hang": 3.0})
    keeper.send(op="alive")
    first = keeper.engine_pid
    os.kill(keeper.process.pid, signal.SIGSTOP)
    time.sleep(4)
    os.kill(keeper.process.pid, signal.SIGCONT)
    keeper.quiet(0.5)
    keeper.send(op="alive")
    keeper.quiet(0.5)
    assert not gone(first)


def test_an_engine_that_served_is_restarted_at_once(keeper: Keeper) -> None:
    """Three deaths in a minute cost no pause, later ones at most a second each; the table is always told."""
    for _ in range(6):
        assert keeper.ask("pump", run="none", stream="out", discard=True)["error"]
        os.kill(keeper.engine_pid, signal.SIGKILL)
        keeper.meet()
    assert keeper.hello["engine_restarts"] == 0


@pytest.mark.parametrize(
    ("served", "pauses"),
    [(True, [0, 0, 0, 0.1, 0.2, 0.4, 0.8, 1, 1]), (False, [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])],
)
def test_the_pause_before_the_next_engine(served: bool, pauses: list[float]) -> None:
    """One that worked comes back at once, three times a minute; one that never did waits longer each time."""
    engine = Engine({"engine": ["x"]})
    found: list[float] = []
    for _ in pauses:
        engine.born, engine.served = time.monotonic(), served
        engine.ended(1)
        found.append((engine.due or 0.0) - engine.born)
    assert found == pytest.approx(pauses, abs=0.05)
    engine.born -= 11
    engine.ended(1)
    assert engine.patience() in (0, 1), "it had lived: no pause"


class Host:
    """A program that embeds the keeper: it is the engine at the other end of a socket it made."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = socket.socketpair()
        plan = folder / "plan.json"
        plan.write_text(json.dumps({"engine": None, "embedded": theirs.fileno()}))
        argv = [sys.executable, "-I", "-S", str(ENTRY), str(plan)]
        self.process = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
        theirs.close()
        self.link, self.held, self.folder = ours, bytearray(), folder
        ours.settimeout(30)
        self.frames: list[Frame] = []

    def wanted(self, key: str, value: object) -> Frame:
        while True:
            for frame in self.frames:
                if frame.get(key) == value:
                    self.frames.remove(frame)
                    return frame
            self.held += self.link.recv(1 << 16)
            self.frames += decode(self.held)

    def spawn(self, run: str, script: str) -> int:
        facts: dict[str, Any] = dict.fromkeys(("cwd", "umask", "uid", "gid", "groups"))
        streams = {"out": {"fifo": str(self.folder / run), "log": str(self.folder / f"{run}.0.log"), "limit": None}}
        self.link.sendall(encode({"op": "spawn", "id": 1, "run": run, "argv": ["sh", "-c", script], "exe": "/bin/sh",
                                  "env": dict(os.environ), "gate": False, "stdin": "null", "ctty": False,
                                  "keep_group": False, "streams": streams, **facts}))  # fmt: skip
        pid: int = self.wanted("id", 1)["pid"]
        return pid


@pytest.mark.slow
def test_embedded_nothing_outlives_the_host_program(tmp_path: Path) -> None:
    """Embedding: it hangs up: TERM to every group, after 5 s KILL, then the keeper ends with 0."""
    host = Host(tmp_path)
    assert host.wanted("ev", "hello")["runs"] == []
    polite = host.spawn("p.a.1", "trap 'echo bye; exit 0' TERM; sleep 60 & wait")
    stubborn = host.spawn("p.b.1", "trap '' TERM; (trap '' TERM; sleep 61) & while :; do sleep 0.1; done")
    time.sleep(0.3)
    since = time.monotonic()
    host.link.close()
    assert host.process.wait(30) == 0
    assert time.monotonic() - since >= 4.9
    assert gone(polite)
    assert gone(stubborn)
    assert (tmp_path / "p.a.1.0.log").read_bytes() == b"bye\n"
    until(lambda: not Path(f"/proc/{stubborn}").exists() and not _group(stubborn), "its group is gone")


def test_embedded_ends_when_asked_or_left_idle(tmp_path: Path) -> None:
    """exit is answered with the code; a host that leaves nothing behind costs no wait; there is no second engine."""
    host = Host(tmp_path)
    host.wanted("ev", "hello")
    host.link.sendall(encode({"op": "exit", "id": 7, "code": 3}))
    assert host.wanted("id", 7)["ok"]
    assert host.process.wait(30) == 3
    host.link.close()
    host = Host(tmp_path)
    host.wanted("ev", "hello")
    host.link.sendall(encode({"op": "reexec", "id": 8, "argv": ["/bin/true"]}))
    assert host.wanted("id", 8)["errno"] in ("EOPNOTSUPP", "ENOTSUP")
    host.link.close()
    assert host.process.wait(30) == 0


def test_embedded_a_host_that_is_gone_before_the_hello_keeps_nobody(tmp_path: Path) -> None:
    """Killed while the keeper was starting: there is nothing to wait for."""
    ours, theirs = socket.socketpair()
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"engine": None, "embedded": theirs.fileno()}))
    ours.close()
    argv = [sys.executable, "-I", "-S", str(ENTRY), str(plan)]
    process = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
    theirs.close()
    assert process.wait(30) == 0


def _grown(keeper: Keeper, size: int) -> bool:
    return len(keeper.output("p.b.1")) > size


def _group(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_signal_that_its_engine_did_not_act_on_is_told_to_the_next(keeper: Keeper) -> None:
    """The engine hangs, a stop arrives, the engine is killed: the stop is not lost, and what was heard not repeated."""
    os.kill(keeper.process.pid, signal.SIGUSR1)
    assert keeper.event("signal")["signum"] == signal.SIGUSR1
    keeper.send(op="heard", signum=int(signal.SIGUSR1))
    os.kill(keeper.process.pid, signal.SIGTERM)
    assert keeper.event("signal")["signum"] == signal.SIGTERM
    keeper.table()
    assert keeper.event("signal")["signum"] == signal.SIGTERM
    keeper.send(op="heard", signum=int(signal.SIGTERM))
    keeper.table()
    assert keeper.ask("release", run="none")["errno"]
    assert not [frame for frame in keeper.frames if frame["ev"] == "signal"]
