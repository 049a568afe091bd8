"""Two starts at once: one winner, and nobody else leaves a trace (E1, E11, H11).

50 processes race for one home in 100 rounds, forked and going through the launch's own claim, up to the point where the
winner would become the daemon; then the whole command line, 20 at once. As root and as any other user.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.system.conftest import Instance, alive, wait_for

from midwatch.engine.layout import Layout

STARTS, ROUNDS = 50, 100
COMMANDS, COMMAND_ROUNDS = 20, 2
SLEEP = '[service.a]\ncommand = ["sleep", "1000"]\n'

LEFT = {
    "nothing": b"",
    "a dead holder": b'{"pid":4194000,"version":"0.1.0","since":1.0,"what":"up shop"}\n',
    "a living stranger": b'{"pid":1,"version":"0.1.0","since":1.0,"what":"up shop"}\n',
    "garbage": b"\xff\xfe\0[[[" * 500,
    "half a line": b'{"pid":41',
}


RACE = """\
import os, sys
from pathlib import Path
from midwatch.engine import launch
from midwatch.engine.layout import Layout
layout, many = Layout.for_home(Path(sys.argv[1])), int(sys.argv[2])

def contender(go, say, stay):  # waits for the start, claims, says how it went; the winner stays until all have spoken
    code = "x"
    try:
        os.read(go, 1)
        lock = launch._claim(layout, "up test", "midwatch down --all")
        code = "w"
    except launch.LaunchError as error:
        code = "l" if error.code == 4 and "already running" in str(error) else "x"
    finally:
        os.write(say, code.encode())
        os.read(stay, 1)
        os._exit(0)

for _ in sys.stdin:
    (go, start), (heard, say), (stay, over) = os.pipe(), os.pipe(), os.pipe()
    for _ in range(many):
        if os.fork() == 0:
            os.close(start)
            os.close(over)
            contender(go, say, stay)
    for fd in (start, go, say, stay):
        os.close(fd)
    results = ""
    while len(results) < many and (piece := os.read(heard, many)):
        results += piece.decode()
    os.close(over)
    for _ in range(many):
        os.wait()
    os.close(heard)
    print(results, flush=True)
"""


def racing(home: Path) -> subprocess.Popen[str]:
    """A small process that forks 50 starts at each line it reads and answers how each went: w, l, or x."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    words = [sys.executable, "-c", RACE, str(home), str(STARTS)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)


def files(home: Path) -> set[str]:
    """Everything in a home that is not a folder."""
    return {str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir()}


@pytest.mark.timeout(240)
@pytest.mark.slow
def test_fifty_starts_at_once_have_one_winner(home: Path) -> None:
    """E1, E11: 100 rounds over whatever lock file is there; 49 are told who won, and leave no file."""
    layout = Layout.for_home(home)
    with racing(home) as contest:
        assert contest.stdin is not None
        assert contest.stdout is not None
        for number in range(ROUNDS):
            if number % 10 == 0:
                layout.lock.write_bytes(list(LEFT.values())[number // 10 % len(LEFT)])
            inode = layout.lock.stat().st_ino
            contest.stdin.write("go\n")
            contest.stdin.flush()
            assert Counter(contest.stdout.readline().strip()) == {"w": 1, "l": STARTS - 1}, number
            assert layout.lock.stat().st_ino == inode
            assert files(home) == {"lock"}
        contest.stdin.close()
    assert not alive(json.loads(layout.lock.read_bytes())["pid"])


@pytest.mark.timeout(120)
@pytest.mark.slow
def test_twenty_commands_at_once_start_one_daemon(instance: Instance) -> None:
    """H11, E11: `midwatch up -d` as a person types it, 20 at once: every one ends with 0 (it found the daemon, and put
    the same services into force) or 4 (it lost the lock); there is one daemon and one copy of the service."""
    (instance.folder / "midwatch.toml").write_text(SLEEP)
    for _ in range(COMMAND_ROUNDS):
        command = [sys.executable, "-m", "midwatch", "up", "-d"]
        many = [
            subprocess.Popen(command, cwd=instance.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(COMMANDS)
        ]
        ends = [(p.communicate(timeout=90), p.returncode) for p in many]
        codes = Counter(code for _, code in ends)
        assert set(codes) <= {0, 4}, ends
        assert codes[0] >= 1
        for said, code in ends:
            assert code == 0 or "already running" in said[1], said
        assert len(keepers(instance)) == 1
        assert keepers(instance) == [instance.daemon()["keeper_pid"]]
        assert len(instance.journal("run.spawned")) == 1
        assert not list(instance.home.glob("room.*"))
        instance.ok("down", "--all")
        for path in (instance.home / "journal").glob("*"):
            path.unlink()


def keepers(instance: Instance) -> list[int]:
    """Keepers of this home: by the plan that they were started with."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
            if str(instance.home / "keeper.json").encode() in words and alive(int(entry.name)):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("left", LEFT.values(), ids=list(LEFT))
def test_what_an_old_lock_says_refuses_no_start(instance: Instance, left: bytes) -> None:
    """E1: stale, garbage, our own pid of another container: the kernel's lock alone counts."""
    (instance.home / "lock").write_bytes(left)
    instance.up(SLEEP)
    said = json.loads((instance.home / "lock").read_bytes())
    assert said["pid"] == instance.daemon()["keeper_pid"]


def test_a_lock_whose_holder_hangs_is_held(instance: Instance) -> None:
    """A stopped daemon is no dead one: the second start is refused within its patience and names it."""
    instance.up(SLEEP)
    daemon = instance.daemon()
    pids = (daemon["keeper_pid"], daemon["pid"])
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        before = time.monotonic()
        done = instance.cli("up", "-d")
        assert time.monotonic() - before < 40
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert done.returncode in (1, 4), done
    assert "already running" in done.stderr or "answer" in done.stderr, done.stderr
    wait_for(lambda: instance.ps()["a"]["state"] == "up", "it goes on")
