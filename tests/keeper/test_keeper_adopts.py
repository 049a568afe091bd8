"""Runs that outlived their keeper, and heirs of launchers: real processes that are nobody's child here."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.keeper.conftest import Make
from tests.keeper.harness import Frame, Keeper, children, descriptors, start_of, until
from tests.keeper.test_pump import exact, writer

pytestmark = pytest.mark.system
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="changes identity: needs root")
WAIT = 'until [ -e "$GO" ]; do sleep 0.02; done; '


class Orphan:
    """A run whose keeper was killed together with its engine; its files lie in the dead keeper's folder."""

    def __init__(self, make: Make, argv: list[str], *names: str, limit: int | None = None, **more: Any) -> None:
        self.old = make()
        self.go = self.old.folder / "go"
        env = {**os.environ, "GO": str(self.go)}
        answer = self.old.spawn("p.a.1", argv, *names, limit=limit, env=env, **more)
        self.pid, self.start = answer["pid"], answer["start"]
        self.streams = self.old.streams("p.a.1", *(names or ("out",)), limit=limit)

    def lose_keeper(self) -> None:
        os.kill(self.old.engine_pid, signal.SIGKILL)
        self.old.process.kill()
        self.old.process.wait()

    def attach(self, keeper: Keeper, **more: Any) -> Frame:
        for name, facts in self.streams.items():
            facts["log"] = str([Path(facts["log"]), *self.old.files("p.a.1", name)][-1])
        asked: Frame = {"run": "p.a.1", "pid": self.pid, "start": self.start, "streams": self.streams, **more}
        return keeper.ask("attach", **asked)


ENDS = [("exit 0", 0), ("exit 7", 7 << 8), ("kill -9 $$", 9), ("kill -SEGV $$", 11)]


@pytest.mark.parametrize(("script", "status"), ENDS)
def test_an_adopted_run_ends_with_its_true_code(make_keeper: Make, script: str, status: int) -> None:
    """Design 5: the exit of a non-child is read from the zombie or the pidfd; its output goes on in its log."""
    orphan = Orphan(make_keeper, ["sh", "-c", f"echo one; {WAIT} echo two; {script}"])
    until(lambda: orphan.old.output("p.a.1"), "it has spoken")
    orphan.lose_keeper()
    keeper = make_keeper()
    before = descriptors(keeper.process.pid)
    assert orphan.attach(keeper)["lost"] == {}
    (run,) = keeper.table()
    assert (run["run"], run["pid"], run["adopted"], run["status"]) == ("p.a.1", orphan.pid, True, None)
    orphan.go.touch()
    ended = keeper.event("exited")
    if ended["status"] is None and not _tells():
        pytest.skip("reaped before we looked, and this kernel forgets")
    assert (ended["run"], ended["pid"], ended["status"] & ~0x80) == ("p.a.1", orphan.pid, status)
    keeper.event("drained")
    assert orphan.old.output("p.a.1") == b"one\ntwo\n"
    assert not (orphan.old.folder / "p.a.1.out").exists()
    keeper.ask("taken", run="p.a.1")
    assert keeper.table() == []
    assert descriptors(keeper.process.pid) <= before + 1, "one epoll stays"


def test_output_written_while_nobody_read_is_exact(make_keeper: Make) -> None:
    """Design 5: the FIFO fills and blocks; after the adoption not a byte is missing, and numbering goes on."""
    for limit in (None, 300_000):
        orphan = Orphan(make_keeper, writer(1 << 40), limit=limit)
        until(partial(orphan.old.output, "p.a.1"), "output flows")
        orphan.lose_keeper()
        size = len(orphan.old.output("p.a.1"))
        keeper = make_keeper()
        assert orphan.attach(keeper)["lost"] == {}
        until(partial(_grown, orphan.old, size + 2_000_000), "it flows again")
        os.killpg(orphan.pid, signal.SIGKILL)
        assert keeper.event("exited")["status"] == 9
        keeper.event("drained")
        assert exact(orphan.old.output("p.a.1")) > 0
        if limit:
            assert {p.stat().st_size for p in orphan.old.files("p.a.1")[:-1]} == {limit}


def test_a_log_that_is_just_full_is_followed_by_the_next(make_keeper: Make) -> None:
    """The newest file has exactly its limit: the next number is begun, the stream is not taken for ended."""
    orphan = Orphan(make_keeper, ["sh", "-c", f"printf 12345; {WAIT} printf 67"], limit=5)
    until(lambda: orphan.old.output("p.a.1"), "it has spoken")
    orphan.lose_keeper()
    for empty in orphan.old.files("p.a.1")[1:]:
        empty.unlink()
    keeper = make_keeper()
    orphan.attach(keeper)
    orphan.go.touch()
    assert keeper.event("rotated")["path"].endswith("out.1.log")
    keeper.event("drained")
    assert [p.read_bytes() for p in orphan.old.files("p.a.1")] == [b"12345", b"67"]


@pytest.mark.parametrize("place", ["file", "link", "folder", "nothing", "socket"])
def test_what_took_the_fifos_place_is_not_touched(make_keeper: Make, place: str) -> None:
    """Bad input: FIFO replaced by a file or link: that stream is lost, in words; the run is adopted all the same."""
    orphan = Orphan(make_keeper, ["sleep", "60"], "out", "err")
    orphan.lose_keeper()
    fifo = orphan.old.folder / "p.a.1.out"
    fifo.rename(orphan.old.folder / "away")
    target = orphan.old.folder / "target"
    target.write_text("mine")
    if place == "file":
        fifo.write_text("secret")
    elif place == "link":
        fifo.symlink_to(orphan.old.folder / "away")
    elif place == "folder":
        fifo.mkdir()
    elif place == "socket":
        (orphan.old.folder / "s").rename(fifo)
    keeper = make_keeper()
    before = descriptors(keeper.process.pid)
    answer = orphan.attach(keeper)
    assert answer["ok"]
    assert list(answer["lost"]) == ["out"]
    assert str(fifo) in answer["lost"]["out"]
    assert descriptors(keeper.process.pid) == before + 3, "a pidfd, an epoll and stderr's FIFO"
    os.kill(orphan.pid, signal.SIGTERM)
    assert keeper.event("exited")["status"] == signal.SIGTERM
    assert keeper.event("drained")["stream"] == "err"
    if place == "file":
        assert fifo.read_text() == "secret"


@ROOT
def test_a_strangers_fifo_is_not_read(make_keeper: Make) -> None:
    """A FIFO of another user than ours or the service's is not what was made for the run."""
    orphan = Orphan(make_keeper, ["sleep", "60"])
    orphan.lose_keeper()
    os.chown(orphan.old.folder / "p.a.1.out", pwd.getpwnam("nobody").pw_uid, -1)
    keeper = make_keeper()
    assert list(orphan.attach(keeper)["lost"]) == ["out"]


@ROOT
def test_a_service_of_another_user_is_adopted(make_keeper: Make) -> None:
    """Its FIFO belongs to its user, as it was made; its code is true."""
    nobody = pwd.getpwnam("nobody")
    ids: dict[str, Any] = {"uid": nobody.pw_uid, "gid": nobody.pw_gid, "groups": []}
    orphan = Orphan(make_keeper, ["sh", "-c", f"{WAIT} echo bye; exit 4"], **ids)
    orphan.lose_keeper()
    keeper = make_keeper()
    assert orphan.attach(keeper)["lost"] == {}
    orphan.go.touch()
    assert keeper.event("exited")["status"] == 4 << 8
    keeper.event("drained")
    assert orphan.old.output("p.a.1") == b"bye\n"


def test_a_recycled_pid_is_never_adopted(make_keeper: Make, keeper: Keeper) -> None:
    """Bad input: recycled pids. Another start time, no start time, nobody: ESRCH, and nothing stays behind."""
    orphan = Orphan(make_keeper, ["sleep", "60"])
    orphan.lose_keeper()
    before = descriptors(keeper.process.pid)
    real = orphan.start
    for orphan.start in (real - 1, real + 1, 0):
        assert orphan.attach(keeper)["errno"] == "ESRCH"
    orphan.start = real
    os.kill(orphan.pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{orphan.pid}").exists(), "it is reaped")
    assert orphan.attach(keeper)["errno"] == "ESRCH"
    assert descriptors(keeper.process.pid) == before
    assert keeper.table() == []
    assert (orphan.old.folder / "p.a.1.out").exists(), "its bytes are the engine's to decide about"


def test_nobody_is_adopted_twice(keeper: Keeper) -> None:
    """A run or a pid that is in the table, the keeper itself and its engine are refused."""
    pid = keeper.spawn("p.a.1", ["sleep", "60"])["pid"]
    for run, number in (("p.a.1", 1), ("p.b.1", pid), ("p.b.1", keeper.process.pid), ("p.b.1", keeper.engine_pid)):
        answer = keeper.ask("attach", run=run, pid=number, start=start_of(number), streams={})
        assert answer["errno"] == "EEXIST"
    assert len(keeper.table()) == 1


@pytest.mark.slow
def test_one_that_dies_in_the_same_millisecond(keeper: Keeper) -> None:
    """Bad input: an adopted service that dies in the same millisecond: one true end or ESRCH, 100 times."""
    told = 0
    for number in range(100):
        run = f"p.a.{number}"
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read(); sys.exit(5)"],
                                   stdin=subprocess.PIPE)  # fmt: skip
        start = start_of(process.pid)
        assert process.stdin
        process.stdin.close()
        time.sleep(number % 25 / 1000)
        if number % 2:
            process.wait()  # reaped: whatever the keeper sees of it now is the pidfd's
        answer = keeper.ask("attach", run=run, pid=process.pid, start=start, streams={})
        if "ok" in answer:
            told += 1
            ended = keeper.event("exited", run)
            assert ended["pid"] == process.pid
            assert ended["status"] == 5 << 8 or (ended["status"] is None and not _tells())
            keeper.ask("taken", run=run)
        else:
            assert answer["errno"] == "ESRCH"
        process.wait()
    assert told >= 50, "those that were not reaped before"
    keeper.quiet(0.1)
    assert [f for f in keeper.frames if f.get("ev") == "exited"] == []
    assert keeper.table() == []


LAUNCHER = """
import os, sys, time
if os.fork():
    sys.exit(0)
if os.fork():
    os._exit(0)
os.setsid()
print(os.getpid(), flush=True)
while not os.path.exists(os.environ["GO"]):
    time.sleep(0.02)
print("served", flush=True)
sys.exit(9)
"""


@pytest.mark.parametrize("engine_dies", [False, True])
def test_the_heir_of_a_launcher_is_followed(keeper: Keeper, engine_dies: bool) -> None:
    """ORP-7: a launcher that exits 0 while its child serves: the run's main process is the child from now on."""
    go = keeper.folder / "go"
    argv = [sys.executable, "-I", "-S", "-c", LAUNCHER]
    launcher = keeper.spawn("p.a.1", argv, env={**os.environ, "GO": str(go)})["pid"]
    ended = keeper.event("exited")
    assert (ended["pid"], ended["status"]) == (launcher, 0)
    heir = int(until(lambda: keeper.output("p.a.1").endswith(b"\n") and keeper.output("p.a.1"), "its pid is written"))
    until(lambda: heir in children(keeper.process.pid), "it has fallen to the keeper")
    asked: Frame = {"run": "p.a.1", "pid": heir, "start": start_of(heir)}
    assert keeper.ask("follow", **{**asked, "start": 1})["errno"] == "ESRCH"
    assert keeper.ask("follow", **asked)["ok"]
    (run,) = keeper.table() if engine_dies else [{"pid": heir, "status": None}]
    assert (run["pid"], run["status"]) == (heir, None)
    assert keeper.ask("follow", **asked)["errno"] == "EBUSY"
    go.touch()
    ended = keeper.event("exited")
    assert (ended["run"], ended["pid"], ended["status"], ended["strays"]) == ("p.a.1", heir, 9 << 8, [])
    assert ended["max_rss_bytes"] > 0, "it was waited for"
    keeper.event("drained")
    assert keeper.output("p.a.1").endswith(b"served\n")
    keeper.ask("taken", run="p.a.1")
    assert keeper.table() == []


@pytest.mark.slow
def test_an_heir_that_dies_at_that_moment(keeper: Keeper) -> None:
    """ORP-7: one that ends while it is looked at: its own code by wait4, once, or ESRCH; 40 times."""
    told = 0
    for number in range(40):
        run = f"p.a.{number}"
        keeper.spawn(run, ["sh", "-c", f"(sleep 0.{number % 10:02}; exit 5) & echo $!"])
        assert keeper.event("exited", run)["status"] == 0
        heir = int(until(partial(_line, keeper, run), "its pid is written"))
        try:
            start = start_of(heir)
        except (FileNotFoundError, ProcessLookupError):
            continue
        answer = keeper.ask("follow", run=run, pid=heir, start=start)
        if "ok" in answer:
            told += 1
            ended = keeper.event("exited", run)
            assert (ended["pid"], ended["status"]) == (heir, 5 << 8)
            assert ended["max_rss_bytes"] > 0
        else:
            assert answer["errno"] == "ESRCH"
    assert told
    keeper.quiet(0.2)
    assert [f for f in keeper.frames if f.get("ev") == "exited"] == []


def test_an_heir_that_is_nobodys_child_is_followed(keeper: Keeper) -> None:
    """ORP-7: one that was re-parented elsewhere is watched like an adopted run; its code is true."""
    other = subprocess.Popen(["sh", "-c", "read x; exit 8"], stdin=subprocess.PIPE)
    keeper.spawn("p.a.1", ["true"])
    keeper.event("exited")
    assert keeper.ask("follow", run="p.a.1", pid=other.pid, start=start_of(other.pid))["ok"]
    other.communicate(b"go\n")
    ended = keeper.event("exited")
    assert (ended["pid"], ended["status"]) == (other.pid, 8 << 8) or (ended["status"] is None and not _tells())


def _line(keeper: Keeper, run: str) -> bytes:
    text = keeper.output(run)
    return text if text.endswith(b"\n") else b""


def _grown(keeper: Keeper, size: int) -> bool:
    return len(keeper.output("p.a.1")) > size


def _tells() -> bool:
    return tuple(int(n) for n in os.uname().release.split(".")[:2]) >= (6, 15)
