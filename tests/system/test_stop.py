"""Stops that tell the truth: the whole tree is gone before "stopped" is said, and the lock outlives the last
process."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.system.conftest import Instance, alive, kill, wait_for

STUBBORN = 'trap "" TERM; echo $$ >> pids; while :; do sleep 0.2; done'

# A wrapper chain as npx, uv and sh make them: the middle ignores TERM, one grandchild has its own session, one was
# double-forked with an empty environment. Each writes its pid.
CHAIN = """\
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def note():
    with open(sys.argv[1], "a") as f:
        f.write(f"{os.getpid()}\\n")
note()
if os.fork() == 0:
    os.setsid()
    note()
    time.sleep(600)
if os.fork() == 0:
    if os.fork():
        os._exit(0)
    os.setsid()
    code = "import os,sys,time\\nopen(sys.argv[1],'a').write(f'{os.getpid()}\\\\n')\\ntime.sleep(600)"
    os.execve(sys.executable, [sys.executable, "-S", "-c", code, os.path.abspath(sys.argv[1])], {})
os.wait()
time.sleep(600)
"""


def pids(folder: Path, count: int) -> list[int]:
    """The numbers that the tree wrote down, once all are there."""
    path = folder / "pids"
    wait_for(lambda: path.exists() and len(path.read_text().split()) >= count, f"{count} processes are there")
    return [int(word) for word in path.read_text().split()]


def test_d2_a_child_that_leaves_at_term_is_not_waited_for(instance: Instance) -> None:
    """D2: stop takes as long as the child needs, not as long as the grace."""
    instance.up('[service.a]\ncommand = ["sleep", "1000"]\nstop = { grace = "35s" }\n')
    began = time.monotonic()
    instance.ok("stop", "a")
    assert time.monotonic() - began < 15
    [done] = instance.journal("stop.done")
    assert done["verified_by"] in ("cgroup", "tree", "marker")


def test_d3_a_child_that_ignores_term_is_killed_and_said_so(instance: Instance) -> None:
    """D3: KILL after the grace, really dead, recorded as ours."""
    instance.up(f"[service.a]\ncommand = [\"sh\", \"-c\", '{STUBBORN}']\nstop = {{ grace = \"0.3s\" }}\n")
    [pid] = pids(instance.folder, 1)
    instance.ok("stop", "a")
    assert not alive(pid)
    exited = instance.journal("run.exited")[-1]
    assert exited["cause"] == "requested"
    assert instance.journal("stop.kill")


@pytest.mark.parametrize("contain", ["auto", "none"])
def test_d4_nothing_of_a_wrapper_chain_is_left(instance: Instance, contain: str) -> None:
    """D4: also the grandchild in its own session and the double-forked one without our marker."""
    (instance.folder / "chain.py").write_text(CHAIN)
    instance.up(
        f'[service.a]\ncommand = ["sh", "-c", "{sys.executable} -S chain.py pids; true"]\n'
        f'contain = "{contain}"\nstop = {{ grace = "0.3s" }}\n'
    )
    found = pids(instance.folder, 3)
    instance.ok("stop", "a")
    assert [pid for pid in found if alive(pid)] == []


@pytest.mark.parametrize("contain", ["auto", "none"])
def test_leftovers_of_a_crash_are_gone_before_the_next_run_starts(instance: Instance, contain: str) -> None:
    """D4: when the main process dies by itself, no second set of grandchildren starts beside the first."""
    (instance.folder / "chain.py").write_text(CHAIN)
    instance.up(
        f'[service.a]\ncommand = ["sh", "-c", "{sys.executable} -S chain.py pids; true"]\n'
        f'contain = "{contain}"\nstop = {{ grace = "0.3s" }}\n'
    )
    first = pids(instance.folder, 3)
    kill(instance.ps()["a"]["pid"])
    both = pids(instance.folder, 6)
    assert [pid for pid in first if alive(pid)] == []
    assert len(both) == 6
    instance.ok("stop", "a")
    assert [pid for pid in both if alive(pid)] == []


def test_d5_a_second_daemon_is_refused_while_the_first_drains(instance: Instance) -> None:
    """D5: the lock is released only after the last descendant is gone."""
    instance.up(f"[service.a]\ncommand = [\"sh\", \"-c\", '{STUBBORN}']\nstop = {{ grace = \"3s\" }}\n")
    [pid] = pids(instance.folder, 1)
    instance.cli("down", "--all", "--no-wait")
    second = instance.blind_up()
    assert second.returncode == 4, second.stderr
    assert "already running" in second.stderr
    wait_for(lambda: not alive(pid), "the stubborn child is gone")


def test_d6_stop_after_a_restart_means_the_new_process(instance: Instance) -> None:
    """D6: W1 killed from outside, W2 spawned; stopped is said when W2 is dead, and the order is on record."""
    instance.up('[service.a]\ncommand = ["sleep", "1000"]\n')
    first = instance.ps()["a"]["pid"]
    kill(first)
    rows = instance.until(lambda r: r["a"]["pid"] not in (None, first), "the second run is up")
    instance.ok("stop", "a")
    assert not alive(rows["a"]["pid"])
    events = [line["event"] for line in instance.journal("stop.begin", "run.exited", "stop.done")]
    assert events[-3:] == ["stop.begin", "run.exited", "stop.done"]


def test_d7_many_signals_make_one_shutdown(instance: Instance) -> None:
    """D7: two TERMs and an INT: one shutdown; the second one ends the grace."""
    instance.up(f"[service.a]\ncommand = [\"sh\", \"-c\", '{STUBBORN}']\nstop = {{ grace = \"20s\" }}\n")
    [pid] = pids(instance.folder, 1)
    keeper = instance.daemon()["keeper_pid"]
    for signum in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        os.kill(keeper, signum)
        time.sleep(0.2)
    wait_for(lambda: not alive(keeper), "the daemon is gone")
    assert not alive(pid)
    assert len(instance.journal("stop.begin")) == 1
    assert len(instance.journal("daemon.stopped")) == 1


def test_d10_stop_in_backoff_ends_at_once(instance: Instance) -> None:
    """D10, B5: no worker when stop arrives: done at once, nothing is spawned after it."""
    instance.up('[service.a]\ncommand = ["sh", "-c", "exit 1"]\nbackoff = { first = "50s" }\n')
    instance.until(lambda r: r["a"]["state"] == "backoff", "it backs off")
    instance.ok("stop", "a")
    assert instance.ps()["a"]["state"] == "stopped"
    assert len(instance.journal("run.spawned")) == 1


def test_d1_a_child_that_is_gone_already_is_not_waited_for(instance: Instance) -> None:
    """D1: the exit happened before the stop; the stop still ends at once and verifies."""
    instance.up('[service.a]\ncommand = ["sh", "-c", "sleep 600 & exec true"]\nrestart = { on_clean = "stop" }\n')
    instance.until(lambda r: r["a"]["state"] == "done", "it has ended")
    began = time.monotonic()
    instance.ok("stop", "a")
    assert time.monotonic() - began < 5
