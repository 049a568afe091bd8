"""One daemon a home: scenarios E1-E10, E13, H14 with the real command line.

Nothing but the kernel's lock decides who runs, whatever the file, the environment or the clock says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from tests.system.conftest import Instance, alive, blind_up, kill, wait_for

ONE = '[service.a]\ncommand = ["sleep", "1000"]\n'
STARTS = 20
ROUNDS = int(os.environ.get("MIDWATCH_START_ROUNDS", "2"))


def write(instance: Instance, text: str = ONE) -> None:
    (instance.folder / "midwatch.toml").write_text(text)


def test_e1_a_second_start_is_refused_and_changes_nothing(instance: Instance) -> None:
    """E1 H17: exit 4, names the holder; the lock file is the same file with the same content."""
    instance.up(ONE)
    lock = instance.home / "lock"
    before, inode = lock.read_bytes(), lock.stat().st_ino
    second = instance.blind_up()
    assert second.returncode == 4
    assert f"pid {json.loads(before)['pid']}" in second.stderr
    assert (lock.read_bytes(), lock.stat().st_ino) == (before, inode)


def test_e2_the_lock_of_a_dead_daemon_is_taken_over(instance: Instance) -> None:
    """E2 D9: keeper and engine killed; the next start works at once, and never are there two of a service."""
    instance.up(ONE)
    row, daemon = instance.ps()["a"], instance.daemon()
    for pid in (daemon["keeper_pid"], daemon["pid"]):
        kill(pid)
    wait_for(lambda: not alive(daemon["keeper_pid"]), "the keeper is gone")
    instance.ok("up", "-d")
    rows = instance.until(lambda r: r["a"]["state"] == "up", "it is up again")
    assert [pid for pid in {row["pid"], rows["a"]["pid"]} if alive(pid)] == [rows["a"]["pid"]]


def strangers_lock(pid: int) -> bytes:
    """What a daemon with this pid would have written."""
    return json.dumps({"pid": pid, "start": 1, "boot": "x", "version": "0.0.1", "since": 1.0, "what": "up p"}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 100, b"not a lock\xff\xfe", b'{"pid":', b"x" * 100_000, strangers_lock(1),
        strangers_lock(os.getpid()), strangers_lock(2**22 + 1), b"[1]",
    ],
    ids=["empty", "zeros", "garbage", "torn", "huge", "pid-1", "recycled", "dead", "list"],
)  # fmt: skip
def test_e3_e6_e7_what_the_lock_file_says_cannot_refuse_a_start(instance: Instance, content: bytes) -> None:
    """E3 garbage, E6 our own number from an earlier life, E7 a number that is somebody else's now: it starts, and
    the file holds the truth afterwards."""
    lock = instance.home / "lock"
    lock.write_bytes(content)
    inode = lock.stat().st_ino
    instance.up(ONE)
    assert lock.stat().st_ino == inode, "the lock file is never deleted"
    assert json.loads(lock.read_bytes())["pid"] == instance.daemon()["keeper_pid"]


@pytest.mark.unprivileged("root may write everywhere; test_faults has a read-only file system for root")
def test_e4_a_home_that_cannot_be_written_is_78_with_the_path(instance: Instance) -> None:
    """E4: names the path and what to do."""
    write(instance)
    instance.home.chmod(0o500)
    try:
        for done in (instance.cli("up", "-d"), instance.blind_up()):
            assert done.returncode == 78
            assert str(instance.home) in done.stderr
            assert "MIDWATCH_HOME" in done.stderr
            assert "Traceback" not in done.stderr
    finally:
        instance.home.chmod(0o700)


def test_e4_a_home_that_is_a_file_is_78_with_the_path(instance: Instance, tmp_path: Path) -> None:
    """E4: the same for something that is no folder, and for a file in the way of one of ours."""
    write(instance)
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    done = instance.cli("up", "-d", env={**os.environ, "MIDWATCH_HOME": str(blocked)})
    assert (done.returncode, str(blocked) in done.stderr) == (78, True)
    (instance.home / "journal").write_text("mine")
    done = instance.cli("up", "-d")
    assert (done.returncode, str(instance.home / "journal") in done.stderr) == (78, True)
    assert "Traceback" not in done.stderr


def all_but_one_ended(starts: list[subprocess.Popen[str]]) -> bool:
    return sum(start.poll() is not None for start in starts) >= len(starts) - 1


def test_e5_of_many_starts_at_once_exactly_one_wins(instance: Instance) -> None:
    """E5: 20 real starts over a stale lock, several rounds: one daemon; every loser says 4 and nothing else happens."""
    write(instance)
    (instance.home / "lock").write_bytes(strangers_lock(2**22 + 1))
    for _ in range(ROUNDS):
        starts = [
            subprocess.Popen(
                blind_up(), cwd=instance.folder, stdin=subprocess.DEVNULL, text=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )
            for _ in range(STARTS)
        ]  # fmt: skip
        wait_for(partial(all_but_one_ended, starts), "all but one have ended")
        instance.until(lambda r: "a" in r and r["a"]["state"] == "up", "the winner is up")
        losers = [p for p in starts if p.poll() is not None]
        assert [p.returncode for p in losers] == [4] * (STARTS - 1)
        assert all("already running" in p.communicate()[1] for p in losers)
        [winner] = [p for p in starts if p.poll() is None]
        assert instance.daemon()["keeper_pid"] == winner.pid
        instance.ok("down", "--all")
        winner.communicate(timeout=30)
    assert len(instance.journal("daemon.started")) == ROUNDS
    assert len(instance.journal("run.spawned")) == ROUNDS


def test_e5_many_detached_ups_at_once_make_one_service_each(instance: Instance) -> None:
    """E5 from a person's side: `up -d` of five terminals at once all end with 0 and one daemon."""
    write(instance)
    ups = [
        subprocess.Popen(
            [sys.executable, "-m", "midwatch", "up", "-d"], cwd=instance.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(5)
    ]  # fmt: skip
    words = [up.communicate(timeout=60)[0] for up in ups]
    assert {up.returncode for up in ups} <= {0, 4}, words
    assert 0 in {up.returncode for up in ups}
    assert len(instance.journal("daemon.started")) == 1
    assert len(instance.journal("run.spawned")) == 1


def test_e9_no_ps_on_path_and_an_empty_path(instance: Instance, tmp_path: Path) -> None:
    """E9: identity comes from /proc, not from a program: kill, restart and stop work without any on PATH."""
    write(instance, '[service.a]\ncommand = ["/bin/sleep", "1000"]\n')
    env = {**os.environ, "PATH": str(tmp_path)}
    done = instance.cli("up", "-d", env=env)
    assert done.returncode == 0, done.stderr
    first = instance.ps()["a"]["pid"]
    kill(first)
    instance.until(lambda r: r["a"]["pid"] not in (None, first), "it runs again")
    done = instance.cli("stop", "a", env=env)
    assert done.returncode == 0, done.stderr
    assert instance.journal("stop.done")[-1]["verified_by"] != "not provable"


def test_e10_home_and_xdg_of_the_caller_do_not_matter(instance: Instance, tmp_path: Path) -> None:
    """E10: a start from cron, sudo or launchd finds the daemon that a shell started."""
    instance.up(ONE)
    elsewhere = {
        "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path), "TMPDIR": str(tmp_path), "USER": "somebody", "LOGNAME": "somebody",
    }  # fmt: skip
    env = {**os.environ, "PATH": os.defpath, **elsewhere}
    done = instance.cli("ps", "--json", env=env)
    assert json.loads(done.stdout)["daemon"]["keeper_pid"] == instance.daemon()["keeper_pid"]
    refused = instance.blind_up(env=env)
    assert refused.returncode == 4
    assert list(tmp_path.iterdir()) == []


def test_e13_a_losing_start_spends_nothing_of_the_winner(instance: Instance) -> None:
    """E13: a refused duplicate writes nothing, so it cannot spend the winner's budget."""
    instance.up(ONE)
    before, lines = instance.ps()["a"], len(instance.journal())
    files = {path.name for path in instance.home.iterdir()}
    for _ in range(3):
        assert instance.blind_up().returncode == 4
    assert len(instance.journal()) == lines
    after = instance.ps()["a"]
    assert (after["pid"], after["restarts"]) == (before["pid"], before["restarts"])
    assert {path.name for path in instance.home.iterdir()} == files


def test_h14_help_never_starts_anything(instance: Instance) -> None:
    """H14: -h and --help of everything, and --version: text, 0, and not even a folder."""
    write(instance)
    verbs = ("run", "up", "down", "start", "stop", "restart", "reload", "ps", "logs")
    asks = [(verb, "--help") for verb in verbs] + [("--help",), ("-h",), ("--version",), ("up", "-d", "-h")]
    for ask in asks:
        assert instance.ok(*ask).strip()
    assert [path.name for path in instance.home.iterdir()] == ["p"]


def test_h13_a_word_too_many_starts_nothing(instance: Instance) -> None:
    """H13: usage errors are 2."""
    write(instance)
    for wrong in (("up", "-d", "--no-such-option"), ("run",), ("no-such-verb",)):
        assert instance.cli(*wrong).returncode == 2, wrong
    assert [path.name for path in instance.home.iterdir()] == ["p"]


def test_another_instance_with_the_same_names_is_never_touched(instance: Instance, tmp_path: Path) -> None:
    """Two homes, the same project and service names: the clean-up after one daemon's death ends its own run only."""
    instance.up(ONE)
    env = {**os.environ, "MIDWATCH_HOME": str(tmp_path / "other")}
    try:
        assert instance.cli("up", "-d", env=env).returncode == 0
        other = json.loads(instance.cli("ps", "--json", env=env).stdout)["services"][0]["pid"]
        daemon = instance.daemon()
        for pid in (daemon["keeper_pid"], daemon["pid"]):
            kill(pid)
        wait_for(lambda: not alive(daemon["keeper_pid"]), "the keeper is gone")
        instance.ok("up", "-d")
        instance.until(lambda r: r["a"]["state"] == "up", "it is up again")
        assert alive(other), "a foreign process was ended"
    finally:
        instance.cli("down", "--all", "--now", env=env)
