"""Who killed it: the kernel for lack of memory, somebody else, or we ourselves. Real kills, by the command line.

The run's own memory group is v1 or v2, whatever this machine has; v2 with an older kernel is tried in a VM
(test_oom_vm.py). Nothing here takes more than 128 MiB.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import Instance, alive, wait_for

from midwatch.machine.linux import cgroup

EATER = """
import os, sys, time
def eat(most, rate):
    kept = []
    while len(kept) < most:
        kept.append(b"x" * (1 << 20))
        time.sleep(1 / rate)
    time.sleep(1000)
what, most, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
if what == "worker":
    if os.fork() == 0:
        eat(most, rate)
    print("worker ended with", os.wait()[1], flush=True)
    time.sleep(1000)
eat(most, rate)
"""


def config(*arguments: str, hard: str = "48M", more: str = "") -> str:
    words = ", ".join(f'"{word}"' for word in (sys.executable, "-S", "eat.py", *arguments))
    return f'[service.a]\ncommand = [{words}]\nmemory = {{ hard = "{hard}" }}\nbackoff = {{ first = "30s" }}\n{more}'


def begin(instance: Instance, text: str) -> None:
    (instance.folder / "eat.py").write_text(EATER)
    instance.up(text, "--no-wait")


def first_exit(instance: Instance) -> dict[str, Any]:
    [line, *_] = wait_for(lambda: instance.journal("run.exited"), "it has exited")
    return dict(line)


def needs(instance: Instance, rung: str) -> None:
    if (why := instance.daemon()["rungs"].get(rung)) != "yes":
        pytest.skip(f"{rung}: {why}")


def readable_log() -> bool:
    """Is the kernel's log ours to read, with our pids in it?"""
    return os.access("/dev/kmsg", os.R_OK) and os.readlink("/proc/self/ns/pid") == "pid:[4026531836]"


@pytest.mark.root("to limit a memory cgroup")
def test_a_real_oom_kill_shows_the_kernels_own_words(instance: Instance) -> None:
    """guards 11: counted by the run's own group, told by the kernel's log with the limit that was reached."""
    begin(instance, config("self", "200", "1000"))
    needs(instance, "memory limit")
    end = first_exit(instance)
    assert (end["cause"], end["signal"]) == ("oom", "SIGKILL")
    assert end["confidence"] >= 0.95
    assert "memory group counted 1 out-of-memory kill" in end["because"][0]
    if readable_log():
        [line] = [words for words in end["because"] if words.startswith("the kernel log says: ")]
        assert f"Killed process {end['pid']} " in line
        assert "[out of memory: memory group " in line
        assert f"/{end['run_id']}, " in line
    said = instance.cli("why", "a").stdout
    assert "Cause: oom" in said


@pytest.mark.root("to limit a memory cgroup")
def test_an_outside_kill_of_the_same_program_is_killed(instance: Instance) -> None:
    """guards 11: the same limit, much memory held, SIGKILL by somebody: 137 alone is no OOM."""
    begin(instance, config("self", "24", "1000"))
    rows = instance.until(lambda rows: (rows["a"]["memory"]["held_bytes"] or 0) > 20 << 20, "it holds 20 MiB")
    os.kill(rows["a"]["pid"], signal.SIGKILL)
    end = first_exit(instance)
    assert (end["cause"], end["signal"]) == ("killed", "SIGKILL")
    assert any("no out-of-memory kill was counted or logged" in words for words in end["against"])


@pytest.mark.root("to limit a memory cgroup")
@pytest.mark.skipif(not readable_log(), reason="the kernel's log is not ours to read")
def test_a_kill_after_a_workers_oom_kill_is_killed(instance: Instance) -> None:
    """The counter says 1, but the kernel's log names the worker: who killed the main process was somebody else."""
    begin(instance, config("worker", "200", "1000"))
    needs(instance, "memory limit")
    pid = instance.until(lambda rows: rows["a"]["pid"], "it runs")["a"]["pid"]
    if Path(f"/proc/{pid}/cgroup").read_text().count("memory") == 0:
        pytest.skip("cgroup v2 ends the whole group")
    wait_for(lambda: "worker ended with 9" in instance.cli("logs", "a").stdout, "the worker was killed")
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)
    end = first_exit(instance)
    assert end["cause"] == "killed", end["because"]
    assert any("killed 1 process(es) of the run for lack of memory, not this one" in words for words in end["against"])


def test_our_own_kill_at_the_line_is_the_guards(instance: Instance) -> None:
    """guards 11: without a cgroup the guard reads and kills; what it did was written before, and is no OOM kill."""
    begin(instance, config("self", "128", "60", hard="64M", more='contain = "none"\n'))
    end = first_exit(instance)
    assert end["cause"] == "memory-guard", end
    assert end["confidence"] == 1.0
    names = ["guard.tripped", "evidence.captured", "run.exited"]
    lines = {line["event"]: line for line in reversed(instance.journal(*names)) if line["run_id"] == end["run_id"]}
    assert lines["guard.tripped"]["ts"] <= lines["run.exited"]["ts"]
    assert lines["evidence.captured"]["ts"] <= lines["run.exited"]["ts"]
    assert '"done"' in (Path(lines["evidence.captured"]["path"]) / "manifest.json").read_text()


@pytest.mark.root("to make a cgroup")
def test_a_user_space_killers_mark_on_a_group_is_read(instance: Instance) -> None:
    """guards 11: systemd-oomd counts its kills in an attribute of the group; the verdict names it."""
    begin(instance, config("self", "8", "1000"))
    needs(instance, "cgroup")
    pid = instance.until(lambda rows: rows["a"]["pid"], "it runs")["a"]["pid"]
    path = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1].partition("::")[2]
    roots = [root for root in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if os.path.isdir(f"{root}{path}")]
    group = f"{roots[0]}{path}"
    assert cgroup.oomd(group) == ""
    try:
        os.setxattr(group, "user.oomd_kill", b"1")
    except OSError as error:
        pytest.skip(f"no attributes on cgroups here: {error.strerror}")
    os.kill(pid, signal.SIGKILL)
    end = first_exit(instance)
    assert end["cause"] == "oom", end
    assert "systemd-oomd" in end["because"][0]
