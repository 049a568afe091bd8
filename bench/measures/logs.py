"""Log throughput: 100-byte lines in 64 kB writes through the peer's capture, with rotation where it has one.

The clock runs from the writer's first write until its last, marked line is in the peer's newest log file:
what sits in a queue is not delivered. Beside it the bare loops (bench/peers/bare.py). Runs take turns.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from bench import procs
from bench.context import Context
from bench.model import Failed, Result, Variant
from bench.peers.base import Peer
from bench.session import Session

MARK = b"bench-last-line\n"
SETTLE_S = 1.5
SLOWEST = 30e6  # bytes/s; a peer below it is ended and said to be
POLL_S = 0.01


def measure(context: Context) -> list[Result]:
    """Each peer `effort.log_runs` times, those that take half a minute once."""
    results: dict[tuple[str, str], Result] = {}
    for number in range(context.effort.log_runs):
        for peer, variant in context.entrants("logs"):
            notes = [variant.note] if variant.note else []
            result = results.setdefault(
                (peer.name, variant.name), Result("logs", peer.name, variant.name, notes=notes)
            )
            if result.failed is not None or (number and variant.pace == "slow"):
                continue
            context.say(f"logs, {number + 1}: {peer.name} ({variant.name})")
            try:
                _one(context, peer, variant, result)
            except (Failed, OSError) as error:
                result.failed = str(error)
    return list(results.values()) + context.absentees("logs")


def _one(context: Context, peer: Peer, variant: Variant, result: Result) -> None:
    size = context.effort.log_bytes
    with context.open(peer, variant, 1, "log", str(size)) as running:
        running.wait_started(1, context.patience(1))
        time.sleep(SETTLE_S)
        own = running.own_pids()
        before, resident = running.own_cpu(), procs.rss(own)
        procs.send(running.newest(), signal.SIGUSR1)
        peak, delivered_ns = _watch(running, own, 5.0 + size / SLOWEST)
        times = {stamp.kind: stamp.ns for stamp in running.stamps.poll()}
        after = running.own_cpu()
        seconds = (delivered_ns - times["G"]) / 1e9
        cpu = sum(spent - before.get(pid, 0.0) for pid, spent in after.items())
        result.add("mb_per_s", size / 1e6 / seconds)
        result.add("writer_mb_per_s", size / 1e3 / ((times["D"] - times["G"]) / 1e6))
        result.add("cpu_s_per_gb", cpu * 1e9 / size)
        result.add("rss_growth", max(0, peak - resident))


def _watch(running: Session, own: list[int], limit: float) -> tuple[int, int]:
    """Peak resident bytes of the peer, and when the marked line was found in its files."""
    deadline = time.monotonic() + limit
    first = peak = procs.rss(own)
    while time.monotonic() < deadline:
        peak = max(peak, procs.rss(own))
        written = any(stamp.kind == "D" for stamp in running.stamps.poll())
        if written and _delivered(running.peer.log_folder(running.plan)):
            return peak, time.monotonic_ns()
        time.sleep(POLL_S / 5 if written else POLL_S)
    where = (
        "written but not delivered"
        if any(stamp.kind == "D" for stamp in running.stamps.seen)
        else "not taken"
    )
    raise Failed(f"output {where} within {limit:.0f} s; RSS grew by {(peak - first) / 1e6:.0f} MB")


def _delivered(folder: Path) -> bool:
    """Whether the marked line ends one of the two newest files (it may just have been rotated)."""
    files = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            try:
                files.append((os.stat(path).st_mtime_ns, path))
            except OSError:
                continue
    return any(_ends_with_mark(path) for _, path in sorted(files)[-3:])


def _ends_with_mark(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            return MARK in file.read()
    except OSError:
        return False
