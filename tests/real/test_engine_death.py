"""The engine's death is a non-event: kill -9 at random moments under load (design: 0 lines lost, 0 doubled, no run
restarted or doubled, every exit with its true code). CI kills 15 times;
MIDWATCH_ENGINE_KILLS=100 is the acceptance run."""

from __future__ import annotations

import os
import random
import statistics
import sys
import time

import pytest
from tests.real import fast
from tests.system.conftest import Instance, instance, kill  # noqa: F401  the fixture
from tests.system.writing import WRITER, check_lines

KILLS = int(os.environ.get("MIDWATCH_ENGINE_KILLS", "15"))

CYCLE = "n=$(cat count 2>/dev/null || echo 0); n=$((n+1)); echo $n > count; sleep 0.03; exit $((n % 7 + 20))"

CONFIG = """\
[service.writer]
command = ["{python}", "-u", "writer.py"]
output = {{ file = "2M", files = 190, compress = false }}

[service.cycle]
command = ["sh", "-c", '{cycle}']
restart = {{ crash = 100000 }}
backoff = {{ first = "10ms", most = "10ms" }}

[service.toggled]
command = ["sleep", "1000"]

[service.steady]
command = ["sleep", "1001"]
"""


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_the_engine_is_killed_at_random_moments_and_nobody_notices(instance: Instance) -> None:  # noqa: F811
    """D9, design 5: lines exact, pids the same, each exit's code true, each run number spawned once. Every eighth dies
    again before it answers: in the middle of taking over."""
    (instance.folder / "writer.py").write_text(WRITER)
    instance.up(CONFIG.format(python=sys.executable, cycle=CYCLE))
    before = instance.ps()
    rng = random.Random(7)
    took = []
    for number in range(KILLS):
        time.sleep(rng.uniform(0.0, 0.35))
        keeper, engine = fast.daemon(instance)
        if number % 3 == 0:
            fast.ask(instance, "stop" if number % 2 else "restart", services=["p/toggled"], by="test")
        kill(engine)
        if number % 8 == 7:
            time.sleep(rng.uniform(0.0, 0.2))
            fast.end(newborn := fast.newborn(keeper, engine))
            engine = newborn
        took.append(fast.answer_after(instance, engine))
    fast.daemon(instance)
    print(  # noqa: T201  shown by -s: the acceptance run's figures
        f"{KILLS} kills; to the next answer: median {statistics.median(took):.3f} s, worst {max(took):.3f} s"
    )
    after = instance.ps()
    assert after["writer"]["pid"] == before["writer"]["pid"]
    assert after["steady"]["pid"] == before["steady"]["pid"]
    assert after["writer"]["restarts"] == {}
    restarted = instance.journal("engine.restarted")
    assert KILLS <= len(restarted) <= KILLS + KILLS // 8
    instance.ok("stop", "cycle", "writer")
    check_lines(instance)
    check_codes(instance)
    instance.ok("down", "--all")


def check_codes(instance: Instance) -> None:  # noqa: F811
    """The n-th start of `cycle` wrote n before it exited with n % 7 + 20; the record says the same."""
    starts = int((instance.folder / "count").read_text())
    exits = {}
    for line in instance.journal("run.exited"):
        if line["service"].endswith("/cycle") and line["cause"] != "requested":
            assert line["run_id"] not in exits, f"{line['run_id']} exited twice"
            exits[line["run_id"]] = line["code"]
    numbers = sorted(int(run.rpartition(".")[2]) for run in exits)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) in (starts, starts - 1)  # the last one may have been stopped by us
    assert all(code == int(run.rpartition(".")[2]) % 7 + 20 for run, code in exits.items())
