"""Guards on real processes: exploding, leaking, bursting, mapping and forking children under small lines.

The sizes are small (256 MiB lines) and every child stops by itself at four times its line; the figures at full size are
`make bench`'s. How close to the line an end comes is bounded loosely here: the machine may be busy.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import Instance, kill, quiet, wait_for

from midwatch.record import series

MIB = 1 << 20

GROW = """
import ctypes, mmap, os, signal, sys, time
start, rate, stop, calm = (float(word) for word in sys.argv[1:5])
signal.signal(signal.SIGUSR1, lambda *_: os._exit(12))
kept = []
def take(size):
    area = mmap.mmap(-1, int(size * (1 << 20)), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(area)), 1, len(area))
    kept.append(area)
take(start)
print("ready", flush=True)
until = time.monotonic() + calm
while time.monotonic() < until and not os.path.exists("go"):
    time.sleep(0.01)
held, begin = start, time.monotonic()
while held < stop:
    take(4)
    held += 4
    time.sleep(max(0.0, (held - start) / rate - (time.monotonic() - begin)))
print("held", flush=True)
while not os.path.exists("leave"):
    time.sleep(0.05)
os._exit(12)
"""

MAP = """
import mmap, os, sys, time
size = int(sys.argv[1]) << 20
with open("big", "wb") as file:
    for _ in range(size >> 20):
        file.write(os.urandom(1 << 20))
with open("big", "rb") as file:
    area = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    total = sum(area[at] for at in range(0, size, 4096))
print("read", total, flush=True)
time.sleep(600)
"""

FORK = """
import ctypes, mmap, os, time
area = mmap.mmap(-1, 100 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(area)), 1, len(area))
for _ in range(4):
    if os.fork() == 0:
        time.sleep(600)
print("forked", flush=True)
time.sleep(600)
"""


def config(code: str, *arguments: object, hard: str = "256M", more: str = "", contain: str = "none") -> str:
    words = ", ".join(f'"{word}"' for word in (sys.executable, "-S", code, *arguments))
    return (
        f'[service.a]\ncommand = [{words}]\nmemory = {{ hard = "{hard}" }}\ncontain = "{contain}"\n'
        f'backoff = {{ first = "60s", over = "60s" }}\n{more}'
    )


def begin(instance: Instance, text: str) -> None:
    for name, code in (("grow.py", GROW), ("map.py", MAP), ("fork.py", FORK)):
        (instance.folder / name).write_text(code)
    instance.up(text, "--no-wait")


def said(instance: Instance, word: str) -> None:
    """The first run of the service has printed it."""
    logs = instance.home / "logs"
    wait_for(lambda: any(word in path.read_text() for path in logs.rglob("*.log")), f"it says {word!r}")


def first_exit(instance: Instance) -> dict[str, Any]:
    [line, *_] = wait_for(lambda: instance.journal("run.exited"), "it has exited")
    return dict(line)


def bundles(instance: Instance) -> list[Path]:
    return sorted((instance.home / "evidence").glob("p.a.1-*"))


def test_s49_an_explosion_is_ended_by_looking(instance: Instance) -> None:
    """S49, F17, F18: 1 GB/s without a cgroup, nothing in the child helps; intent and evidence come before the end."""
    begin(instance, config("grow.py", 20, 1000, 1024, 1))
    gone = first_exit(instance)
    assert gone["cause"] == "memory-guard"
    assert gone["max_rss_bytes"] < 3 * 256 * MIB, "long before it would have stopped by itself"
    (tripped,) = [line for line in instance.journal("guard.tripped") if line["level"] == "hard"]
    assert tripped["ts"] <= gone["ts"]
    assert tripped["line_bytes"] <= 256 * MIB
    found = bundles(instance)
    assert any((path / "samples.json").exists() for path in found)
    told = instance.ok("why", "a")
    assert "memory-guard" in told
    quiet(instance)


def test_s50_the_kernel_holds_the_line_and_it_is_told_as_memory(instance: Instance) -> None:
    """S50: with a cgroup of its own the kernel stops it at the line; the cause is memory, never "crash"."""
    begin(instance, config("grow.py", 20, 150, 1024, 1, contain="auto"))
    if (why := instance.daemon()["rungs"].get("memory limit", "no")) != "yes":
        pytest.skip(f"memory limit: {why}")
    row = wait_for(lambda: instance.ps()["a"]["memory"], "it is listed")
    assert row["by"] == "cgroup"
    gone = first_exit(instance)
    assert gone["cause"] in ("oom", "memory-guard")
    assert gone["max_rss_bytes"] <= 1.1 * 256 * MIB
    assert bundles(instance) != []
    assert "memory" in instance.ok("why", "a")


def test_s51_a_big_file_that_is_read_is_not_its_memory(instance: Instance) -> None:
    """S51, F8: it maps and reads a file of twice its line; file pages are not held memory."""
    begin(instance, config("map.py", 200, hard="100M"))
    said(instance, "read")
    pid = instance.ps()["a"]["pid"]
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    if int(lines.get("RssFile", "0").split()[0]) < 150 << 10:
        pytest.skip("what it has read is not in its page tables, or the folder is on tmpfs and files are memory")
    time.sleep(4.5)  # two looks
    row = instance.ps()["a"]
    assert (row["pid"], row["memory"]["quality"] != "absent") == (pid, True)
    assert row["memory"]["held_bytes"] < 90 * MIB
    assert instance.journal("run.exited", "guard.tripped") == []


def test_a_burst_to_sixty_per_cent_lives(instance: Instance) -> None:
    """Guards 4, 13.3: at 1 GB/s to 60 % of its line, as a model is loaded: not touched."""
    begin(instance, config("grow.py", 20, 1000, 300, 1, hard="512M"))
    said(instance, "held")
    time.sleep(3)
    assert instance.ps()["a"]["state"] == "up"
    assert [line for line in instance.journal("guard.tripped") if line["level"] != "warn"] == []
    assert instance.journal("run.exited") == []


def test_a_forked_tree_is_walked_once_and_left_alone(instance: Instance) -> None:
    """Guards 13.2: five processes that share 100 MiB sum up to twice the line; a walk finds less than half of it."""
    begin(instance, config("fork.py"))
    said(instance, "forked")
    (confirmed, *_) = wait_for(lambda: instance.journal("guard.confirmed"), "it was confirmed")
    assert confirmed["held_bytes"] > 256 * MIB > confirmed["pss_bytes"]
    time.sleep(4)
    assert instance.ps()["a"]["state"] == "up"
    assert [line for line in instance.journal("guard.tripped") if line["level"] != "warn"] == []
    assert len(instance.journal("guard.confirmed")) <= 2, "a walk is not repeated while nothing changes"


@pytest.mark.parametrize("ask", ['signal = "USR1"', 'command = ["sh", "-c", "touch leave"]'])
def test_the_soft_line_asks_and_the_successor_waits_its_drain_delay(instance: Instance, ask: str) -> None:
    """F16, D5: asked by signal or by a command of its own, it leaves with its reserved code: a drain, no crash."""
    more = f'drain = {{ {ask}, code = 12, within = "20s" }}\nrestart = {{ drain = "3 in 30m" }}\n'
    text = config("grow.py", 20, 30, 130, 0.5, more=more)
    begin(instance, text.replace('{ hard = "256M" }', '{ soft = "100M", hard = "256M" }'))
    gone = first_exit(instance)
    assert (gone["cause"], gone["code"]) == ("drain", 12)
    (tripped,) = [line for line in instance.journal("guard.tripped") if line["level"] == "soft"]
    assert tripped["action"] == "drain"
    assert instance.ps()["a"]["state"] == "backoff"
    assert instance.ps()["a"]["restarts"].get("crash", 0) == 0


def test_s53_the_samples_outlive_everybody(instance: Instance) -> None:
    """S53: keeper and engine are killed at the peak; what was seen last is on disk, and the run is taken over again."""
    begin(instance, config("grow.py", 20, 40, 400, 2, hard="800M"))
    wait_for(lambda: (instance.ps()["a"]["memory"]["held_bytes"] or 0) > 60 * MIB, "it grows")
    daemon = instance.daemon()
    at = time.time()
    kill(daemon["keeper_pid"])
    kill(daemon["pid"])
    rows, _ = series.read(instance.home / "series", "p/a")
    assert rows[-1].held is not None
    assert rows[-1].held > 50 * MIB
    assert at - rows[-1].at < 1.5, "growing, it was looked at a moment ago"
    instance.ok("up", "-d", "--no-wait")
    wait_for(lambda: instance.journal("run.adopted"), "it is taken over")
    kept = len(rows)
    wait_for(lambda: len(series.read(instance.home / "series", "p/a")[0]) > kept, "it is looked at again")
