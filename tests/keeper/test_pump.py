"""Output reaches its files exactly, whatever dies, fills up or floods."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from tests.keeper.conftest import Make
from tests.keeper.harness import Keeper, gone, until

pytestmark = pytest.mark.system
# Numbered lines of uneven length for ever (or up to a number), in writes of many sizes.
WRITER = """
import os, sys
n = 0
while n < int(sys.argv[1]):
    lines = b"".join(b"%d %s\\n" % (i, b"x" * (i * 7 % 150)) for i in range(n, n + 1 + n % 700))
    n += lines.count(b"\\n")
    view = memoryview(lines)
    while view:
        view = view[os.write(1, view):]
"""


def writer(count: int) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", WRITER, str(count)]


def exact(data: bytes) -> int:
    """Check that data is the writer's output without a gap or a repetition; return the number of whole lines."""
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1]):
        assert line == b"%d %s" % (number, b"x" * (number * 7 % 150)), f"line {number}: {line[:40]!r}"
    return len(lines) - 1


def test_rotation_is_exact(keeper: Keeper) -> None:
    """Files are cut at the limit to the byte, each end is told, and together they are the output."""
    limit = 100_000
    keeper.spawn("p.a.1", writer(20_000), limit=limit)
    keeper.event("drained")
    assert exact(keeper.output("p.a.1")) >= 20_000
    files = keeper.files("p.a.1")
    assert {p.stat().st_size for p in files[:-1]} == {limit}
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in files)
    told = [f for f in keeper.frames if f.get("ev") == "rotated"]
    assert [f["closed"] for f in told] == [str(p) for p in files[:-1]]
    assert [f["path"] for f in told] == [str(p) for p in files[1:]]


def test_the_index_is_true(keeper: Keeper) -> None:
    """Whole entries of (offset, time), the first at 0, growing, at most one a second."""
    before = time.time()
    keeper.spawn("p.a.1", ["sh", "-c", "echo one; sleep 1.2; echo two; echo three"])
    keeper.event("drained")
    data = Path(f"{keeper.files('p.a.1')[0]}.idx").read_bytes()
    entries = list(struct.iter_unpack("<Qd", data))
    assert [offset for offset, _ in entries] == [0, 4]
    assert before <= entries[0][1] < entries[1][1] <= time.time()


@pytest.mark.slow
def test_killing_the_keeper_loses_and_doubles_nothing(make_keeper: Make) -> None:
    """Design 5: kill -9 at full output; files plus what the FIFO still holds are the output."""
    rng = random.Random(5)
    for _ in range(12):
        keeper = make_keeper()
        pid = keeper.spawn("p.a.1", writer(1 << 40), limit=rng.choice([50_000, 3_000_000, None]))["pid"]
        fifo = os.open(keeper.folder / "p.a.1.out", os.O_RDWR | os.O_NONBLOCK)
        until(partial(keeper.output, "p.a.1"), "output flows")
        time.sleep(rng.uniform(0, 0.15))
        keeper.process.kill()
        keeper.process.wait()
        os.killpg(pid, signal.SIGKILL)
        until(partial(gone, pid), "the writer is gone")
        rest = b""
        try:
            while piece := os.read(fifo, 1 << 20):
                rest += piece
        except BlockingIOError:
            pass
        os.close(fifo)
        assert exact(keeper.output("p.a.1") + rest) > 0


def test_a_flood_does_not_starve_others(keeper: Keeper) -> None:
    """Fairness: a quiet stream's line arrives while another floods; both are exact."""
    flood = keeper.spawn("p.flood.1", writer(1 << 40), limit=2_000_000)["pid"]
    keeper.spawn("p.quiet.1", ["sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.05; done"])
    keeper.event("drained", "p.quiet.1")
    assert keeper.output("p.quiet.1") == b"1\n2\n3\n4\n5\n"
    os.killpg(flood, signal.SIGKILL)
    keeper.event("drained", "p.flood.1")
    assert exact(keeper.output("p.flood.1")) > 0


def test_both_streams_of_many_runs(keeper: Keeper) -> None:
    """Two streams a run, twenty runs at once, nothing mixed."""
    for i in range(20):
        keeper.spawn(f"p.a.{i}", ["sh", "-c", f"seq {i} 3000; seq {i} 2000 >&2"], "out", "err", limit=5000)
    for _ in range(40):
        keeper.event("drained")
    for i in range(20):
        assert keeper.output(f"p.a.{i}") == b"".join(b"%d\n" % n for n in range(i, 3001))
        assert keeper.output(f"p.a.{i}", "err") == b"".join(b"%d\n" % n for n in range(i, 2001))


def test_bytes_are_thrown_away_on_request(keeper: Keeper) -> None:
    """pump: what is thrown away is counted and said once a second; afterwards it goes on."""
    keeper.spawn("p.a.1", writer(1 << 40), limit=1 << 20)
    until(lambda: len(keeper.output("p.a.1")) > 100_000, "output flows")
    keeper.send(op="pump", run="p.a.1", stream="out", discard=True)
    told = [keeper.event("dropped") for _ in range(2)]
    assert all(t["bytes"] > 0 and t["errno"] is None for t in told)
    keeper.frames.clear()
    keeper.send(op="pump", run="p.a.1", stream="out", discard=False)
    keeper.event("rotated")


def test_a_silent_run_costs_no_file(keeper: Keeper) -> None:
    """A log is opened at its first byte; without one there is none, nor an index."""
    keeper.spawn("p.a.1", ["true"])
    keeper.event("drained")
    assert not list(keeper.folder.glob("p.a.1.*"))


def test_a_log_folder_that_isgone_blocks_nobody(keeper: Keeper) -> None:
    """A file that cannot be opened: bytes are thrown away and said, the run goes on, and the next try works."""
    logs = keeper.folder / "logs"
    logs.mkdir()
    streams = keeper.streams("p.a.1", "out", limit=1000)
    streams["out"]["log"] = str(logs / "p.a.1.out.0.log")
    keeper.spawn("p.a.1", writer(1 << 40), streams=streams)
    keeper.event("rotated")
    for number in range(100):  # the pump may make it anew in between
        logs.rename(keeper.folder / f"moved{number}")
        try:
            logs.write_text("in the way")
            break
        except IsADirectoryError:
            continue
    assert keeper.event("dropped")["errno"] == "EEXIST"
    logs.unlink()
    until(lambda: logs.is_dir() and list(logs.iterdir()), "the folder is made anew and files are written again")


def test_a_full_disk_blocks_nobody(keeper: Keeper) -> None:
    """ENOSPC: said with its bytes, at most once a second; the run goes on; writing resumes when there is room."""
    if os.geteuid() != 0:
        pytest.skip("mounts a small tmpfs: needs root")
    small = keeper.folder / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", small], check=False).returncode:
        pytest.skip("may not mount here")
    try:
        streams = keeper.streams("p.a.1", "out")
        streams["out"]["log"] = str(small / "p.a.1.out.0.log")
        (small / "ballast").write_bytes(b"x" * 200_000)
        pid = keeper.spawn("p.a.1", writer(1 << 40), streams=streams)["pid"]
        since = time.monotonic()
        told = [keeper.event("dropped") for _ in range(3)]
        assert all(t["errno"] in ("ENOSPC", None) for t in told)
        assert time.monotonic() - since >= 1.9, "once a second"
        full = (small / "p.a.1.out.0.log").stat().st_size
        (small / "ballast").unlink()
        until(lambda: (small / "p.a.1.out.0.log").stat().st_size > full, "writing resumes")
        assert not gone(pid)
        os.killpg(pid, signal.SIGKILL)
        keeper.event("drained")
    finally:
        subprocess.run(["umount", "-l", small], check=False)
