"""The ten stories of real users that a release must pass, each by at least one test that makes its claim.

Here are the ones that real processes on Linux can play from beginning to end; the others are told by tests beside
what they are about. STORIES says which, and that they exist.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.inspect.zoo import Scoped, Zoo, until
from tests.system.conftest import Instance, alive

from midwatch.inspect.leftovers.find import find
from midwatch.inspect.ours import Ours
from midwatch.inspect.sources import Table, procs
from midwatch.inspect.sources.live import Live
from midwatch.inspect.sweep.ending import Ended, LinuxHands, Sweep
from midwatch.machine.linux import procfs
from midwatch.machine.linux.counters import Counters
from midwatch.model.look import Leftover

TESTS = Path(__file__).parents[1]
STORIES: dict[str, tuple[str, ...]] = {
    "1 I closed six terminals (OC#14504)": (
        "system/test_stories.py::test_story_1_six_closed_terminals",
        "inspect/test_sweep.py::test_real_leftovers_go_and_the_living_stay",
    ),
    "2 402 helpers under one app-server (CX#25015)": (
        "system/test_stories.py::test_story_2_402_helpers",
        "inspect/test_leftovers_piles.py::test_402_helpers_under_one_app_server",
    ),
    "3 restarted 73 times, gave up (GB#1002)": (
        "system/test_stories.py::test_story_3_clean_recycles_cost_nothing",
    ),
    "4 every 14 seconds since the update (OW#82250)": (
        "inspect/doctor/test_units.py::test_keepalive_and_already_running_is_named_within_one_run",
    ),
    "5 454 FDs on a Mac mini (HW#1458)": (
        "system/test_stories.py::test_story_5_state_db_is_at_the_top",
        "inspect/test_forecast.py::test_story_5_state_db_leads_with_rate_and_time",
        "engine/test_guard_leaks.py::test_near_its_descriptor_limit_it_is_said_and_restarted_only_on_demand",
    ),
    "6 168 MB to 26 GB (DA#2978)": (
        "system/test_guard.py::test_s49_an_explosion_is_ended_by_looking",
        "system/test_guard.py::test_s53_the_samples_outlive_everybody",
        "system/test_guard.py::test_s50_the_kernel_holds_the_line_and_it_is_told_as_memory",
    ),
    "7 no terminal opens (CC#67402)": (
        "inspect/test_forecast.py::test_story_7_terminals_run_out_in_nine_hours",
    ),
    "8 up, but dead for three days (onecli#484)": (
        "system/test_health.py::test_hlt4_three_failures_restart_with_their_own_budget",
        "system/test_health.py::test_hlt5_an_answer_without_progress_is_no_health",
        "system/test_health.py::test_g8_a_probe_that_hangs_counts_once_and_never_overlaps",
    ),
    "9 it stopped when I slept (OW#86535)": (
        "policy/test_woke.py::test_a_fresh_full_count_is_required",
        "policy/test_woke.py::test_nothing_to_forgive_is_not_said",
    ),
    "10 the cleaner killed my worker (EmpiricaAI/empirica#114)": (
        "system/test_stories.py::test_story_10_a_thousand_sweeps",
        "inspect/test_zoo.py::test_a_look_alike_is_spared",
    ),
}


CODEX = "import os, sys; os.execv(sys.argv[1], ['codex', 'app-server', sys.argv[2]])"


@pytest.mark.parametrize("story", STORIES)
def test_each_story_has_its_tests(story: str) -> None:
    """The tests that tell a story exist under the names given here."""
    for name in STORIES[story]:
        path, _, function = name.partition("::")
        tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


class Narrow(Live):
    """This machine, of which only a few processes are seen: a thousand looks in seconds."""

    def __init__(self, pids: set[int]) -> None:
        super().__init__()
        self._pids = pids

    def table(self) -> Table:
        counters = Counters(procfs.kernel_version(os.uname().release))
        at = time.time()
        booted = at - time.clock_gettime(time.CLOCK_BOOTTIME)
        rows = (procs.one("/proc", pid, booted, counters) for pid in self._pids)
        return Table({row.pid: row for row in rows if row is not None}, at)


def look(zoo: Zoo) -> tuple[list[Leftover], Table]:
    sources = Scoped(zoo.mark)
    table = sources.table()
    return find(sources, table, Ours(), young=0), table


def sweep(zoo: Zoo) -> list[Ended]:
    """One command's worth: look, and end what is certain."""
    found, _ = look(zoo)
    return Sweep(lambda: look(zoo), LinuxHands(), grace=2.0).run(
        [one for one in found if one.certain], lambda _: None
    )


@pytest.mark.skipif(sys.platform != "linux", reason="proofs need /proc")
def test_story_1_six_closed_terminals(zoo: Zoo) -> None:
    """Six agents whose terminals were closed, with their helpers: listed with age and proof, swept at once; the
    session that is open, and its helper, are untouched."""
    words = ["claude", "-c", "trap : HUP; sleep 600; :"]
    at: dict[str, Any] = {"streams": ("pty", "pty", "pty"), "exe": "/bin/sh", "setsid": True}
    closed = [zoo.orphan(f"closed{n}", words, **at) for n in range(6)]
    helpers = [zoo.orphan(f"helper{n}") for n in range(6)]
    open_session = zoo.held(
        "open", ["claude", "-c", "sleep 600; :"], ("pty", "pty", "pty"), exe="/bin/sh", setsid=True
    )
    zoo.held("open helper")
    until(lambda: {one.proc.pid for one in look(zoo)[0]} >= {*closed, *helpers}, "all twelve are found")
    assert all(one.proof and one.proc.started > 0 for one in look(zoo)[0])
    done = sweep(zoo)
    assert all(one.action in ("ended", "killed", "gone") for one in done)
    assert not any(alive(pid) for pid in [*closed, *helpers])
    assert open_session.poll() is None
    assert alive(zoo.pids["open"])
    assert alive(zoo.pids["open helper"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="argv[0] of sleep")
def test_story_2_402_helpers(zoo: Zoo) -> None:
    """A living app-server with 402 copies of a server, in two sub-agents' sets: shown as a pile-up with who starts them
    again, never certain; a sweep without being told leaves every one alone."""
    script = zoo.folder / "app-server"
    script.write_text(
        "import os, subprocess, sys, time\nkept = []\nfor half in range(2):\n    for _ in range(201):\n"
        "        kept.append(subprocess.Popen(['chrome-devtools-mcp', '600'], executable=sys.argv[1], stdin=-1))\n"
        "    time.sleep(4 * (1 - half))\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"
    )
    sleep = subprocess.run(
        ["sh", "-c", "command -v sleep"], capture_output=True, text=True, check=True
    ).stdout.strip()
    words = ["sh", "-c", 'exec 3>&1; "$@" >&3 &', "sh", sys.executable, "-c", CODEX, sys.executable, sleep]
    parent = zoo.start(words, cwd=zoo.folder, stdout=subprocess.PIPE, start_new_session=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    until(lambda: len(look(zoo)[0]) == 401, "all but the newest are offered", 30.0)
    found, table = look(zoo)
    assert sum(one.ppid == pid for one in table.procs.values()) == 402
    assert not any(one.certain for one in found)
    assert f"(pid {pid}) starts it again" in found[0].respawns
    assert "one of 201 that began at" in found[0].proof[1]
    assert sweep(zoo) == []
    assert sum(one.ppid == pid for one in look(zoo)[1].procs.values()) == 402


@pytest.mark.slow
def test_story_3_clean_recycles_cost_nothing(instance: Instance) -> None:
    """100 exits with 0 leave the crash count at 0; 1,0,1,0,1,0,1 spends a crash budget of 4, because a clean exit is no
    proof of health."""
    code = (
        "n=$(cat n 2>/dev/null || echo 0); n=$((n + 1)); echo $n > n\n"
        "[ $n -le 100 ] && exit 0\n"
        "[ $n -gt 107 ] && exec sleep 1000\n"
        "exit $((n % 2))\n"
    )
    (instance.folder / "recycle").write_text(code)
    instance.up(
        '[service.a]\ncommand = ["sh", "recycle"]\nrestart = { crash = 4, clean = "1000 in 60s" }\n',
        "--no-wait",
    )

    def exits() -> list[dict[str, object]]:
        return instance.journal("run.exited")

    until(lambda: len(exits()) >= 100, "it has recycled a hundred times", 60.0)
    first = exits()[:100]
    assert {one["cause"] for one in first} == {"clean"}
    assert {one["crash_count"] for one in first} == {0}
    until(lambda: instance.journal("budget.exhausted"), "the crash budget is spent", 60.0)
    (spent,) = instance.journal("budget.exhausted")
    assert (spent["budget"], spent["count"], spent["limit"]) == ("crash", 4, 4)
    assert [one["cause"] for one in exits()[100:107]] == ["crash", "clean"] * 3 + ["crash"]


def test_story_5_state_db_is_at_the_top(instance: Instance) -> None:
    """A web UI that opens state.db for every request and never closes it: `leaks` names file and count first."""
    (instance.folder / "ui.py").write_text(
        "import time\nopen('state.db', 'w').close()\nkept = [open('state.db') for _ in range(109)]\n"
        "other = [open('/etc/passwd') for _ in range(3)]\nprint('open', flush=True)\ntime.sleep(600)\n"
    )
    instance.up(f'[service.ui]\ncommand = ["{sys.executable}", "ui.py"]\n')

    def told() -> dict[str, Any]:
        report = json.loads(instance.cli("leaks", "ui", "--json").stdout)["reports"][0]
        top = (report["fds"] or {}).get("top") or [["", "", 0]]
        return {"top": top[0], "report": report} if "state.db" in top[0][0] else {}

    found = until(told, "state.db leads", 60.0)
    assert found["top"][2] == 109


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(sys.platform != "linux", reason="proofs need /proc")
def test_story_10_a_thousand_sweeps(zoo: Zoo) -> None:
    """A worker that its manager started, parent process 1, streams /dev/null, alone: it outlives a thousand sweeps."""
    background = '"$@" </dev/null >/dev/null 2>&1 & echo $!'
    started = zoo.start(
        ["sh", "-c", background, "sh", sys.executable, str(zoo.server)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert started.stdout is not None
    zoo.pids["worker"] = int(started.stdout.readline())
    started.wait()
    zoo.settle("worker")
    until(lambda: Scoped(zoo.mark).table().procs[zoo.pids["worker"]].ppid == 1, "its parent is process 1")
    wanted = {1, os.getpid(), zoo.pids["worker"]}
    for _ in range(1000):
        sources = Narrow(wanted)
        found = find(sources, sources.table(), Ours(), young=0)
        assert Sweep(lambda: look(zoo), LinuxHands()).run(found, lambda _: None) == []
    os.kill(zoo.pids["worker"], 0)
