"""Keeper and engine are killed together at random moments under load, and the next start goes on as if nothing was:
0 services doubled, 0 lines lost of services that lived on, no wrong exit code (design 5). CI kills 5 times;
MIDWATCH_DAEMON_KILLS=20 is the acceptance run.
"""

from __future__ import annotations

import os
import random
import sys
import time

import pytest
from tests.real import fast
from tests.system.conftest import Instance, alive, instance, kill, wait_for  # noqa: F401  the fixture
from tests.system.writing import WRITER, check_lines

KILLS = int(os.environ.get("MIDWATCH_DAEMON_KILLS", "5"))

CYCLE = """\
import fcntl, os, sys, time
lock = open("cycle.lock", "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    open("doubled", "a").write("cycle\\n")
number = int(os.environ["MIDWATCH_RUN"].rpartition(".")[2])
open("starts", "a").write(f"{number}\\n")
time.sleep(0.15)
os._exit(number % 7 + 20)
"""

CONFIG = """\
[service.writer]
command = ["{python}", "-u", "writer.py"]
output = {{ file = "2M", files = 190, compress = false }}

[service.cycle]
command = ["{python}", "cycle.py"]
restart = {{ crash = 100000, killed = "100000 in 10m" }}
backoff = {{ first = "10ms", most = "10ms" }}

[service.toggled]
command = ["sleep", "1000"]

[service.steady]
command = ["sh", "-c", "sleep 1001 & wait"]
"""


@pytest.mark.timeout(600)
def test_keeper_and_engine_are_killed_together_and_everything_is_adopted(instance: Instance) -> None:  # noqa: F811
    """D9, ORP-7, scenario 22."""
    (instance.folder / "writer.py").write_text(WRITER)
    (instance.folder / "cycle.py").write_text(CYCLE)
    instance.up(CONFIG.format(python=sys.executable))
    before = instance.ps()
    rng = random.Random(11)
    for number in range(KILLS):
        time.sleep(rng.uniform(0.0, 0.6))
        keeper, engine = fast.daemon(instance)
        if number % 3 == 0:
            fast.ask(instance, "stop" if number % 2 else "restart", services=["p/toggled"], by="test")
        first, second = (keeper, engine) if number % 2 else (engine, keeper)
        kill(first)
        fast.end(second)  # the engine leaves when its keeper is gone
        wait_for(lambda: not alive(keeper) and not alive(engine), "both are gone")  # noqa: B023
        time.sleep(rng.uniform(0.0, 0.3))
        instance.ok("up", "-d")
    after = instance.ps()
    assert after["writer"]["pid"] == before["writer"]["pid"]
    assert after["steady"]["pid"] == before["steady"]["pid"]
    assert after["writer"]["restarts"] == after["steady"]["restarts"] == {}
    adopted = [line["service"] for line in instance.journal("run.adopted")]
    assert min(adopted.count("p/writer"), adopted.count("p/steady")) >= KILLS
    instance.ok("stop", "cycle", "writer")
    assert not (instance.folder / "doubled").exists()
    check_lines(instance)
    check_codes(instance)
    instance.ok("down", "--all")


def check_codes(instance: Instance) -> None:  # noqa: F811
    """Each run began at most once; each exit has its true code, or says that nobody saw it."""
    starts = (instance.folder / "starts").read_text().split()
    assert len(starts) == len(set(starts)), "a run number was started twice"
    seen = set()
    lost = 0
    for line in instance.journal("run.exited"):
        if line["service"] != "p/cycle" or line["cause"] == "requested":
            continue
        assert line["run_id"] not in seen, f"{line['run_id']} exited twice"
        seen.add(line["run_id"])
        if line["cause"] == "lost":
            assert line["code"] is None
            lost += 1
        else:
            assert line["code"] == int(line["run_id"].rpartition(".")[2]) % 7 + 20
    assert lost <= 2 * KILLS
    assert len(seen) > lost
