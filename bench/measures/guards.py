"""Memory guards: how much a runaway held at its death, and whether the innocent are left alone.

A hog of nominally 1 GB/s and one of 50 MB/s start to grow at a moment that the guard does not know; a capped one is
said to have lived. Innocent are a process that maps and reads a file of twice the limit, and one that bursts to 60 % of
it. Held is what was touched, counted by the hog itself in a file that outlives it. Must not know any guard.
"""

from __future__ import annotations

import random
import struct
import sys
import time
from pathlib import Path

from bench import procs
from bench.context import Context
from bench.model import Failed, Result, Variant
from bench.peers.base import Peer
from bench.session import Session, session

HOG = (sys.executable, "-S", str(Path(__file__).parents[1] / "hog.py"), "{stamps}")
MOST = 3072  # MiB: where a hog stops by itself
RATES = {"1000": 10.0, "50": 20.0}  # MiB a second -> s that it may live after its growth could have ended it
LOOK_S = 0.02
INNOCENT_S = 12.0


def measure(context: Context) -> list[Result]:
    """One row a setting."""
    results = []
    for peer in context.peers:
        if not peer.guards:
            note = "has no memory guard, or needs one of another product"
            results.append(Result("guards", peer.name, "-", notes=[note]))
        for variant in peer.guards:
            if context.effort.quick and variant.pace == "rare":
                continue
            result = Result("guards", peer.name, variant.name, notes=[variant.note] if variant.note else [])
            results.append(result)
            try:
                _runaways(context, peer, variant, result)
                _innocent(context, peer, variant, result)
            except (Failed, OSError) as error:
                result.failed = str(error)
    return results


def _runaways(context: Context, peer: Peer, variant: Variant, result: Result) -> None:
    limit = variant.memory or 512
    for rate, patience in RATES.items():
        most = 1 if variant.pace == "rare" else 3 if context.effort.quick else 8
        for number in range(most if rate == "1000" else min(most, 3)):
            context.say(f"guards: {peer.name} ({variant.name}), {rate} MB/s, {number + 1}")
            calm = 3.0 + random.random() * 2.0
            words = (*HOG, "grow", rate, str(MOST if rate == "1000" else 2 * limit), f"{calm:.2f}")
            with session(peer, context.base, 1, variant, words) as running:
                stamp = running.wait_started(1, context.patience(1))[0]
                until = time.monotonic() + calm + limit / float(rate) + patience
                while procs.identify(stamp.pid) is not None and time.monotonic() < until:
                    time.sleep(LOOK_S)
                if procs.identify(stamp.pid) is not None:
                    result.notes.append(f"{rate} MB/s: not ended within {patience:.0f} s of its limit")
                held = _held(running, stamp.pid)
            result.add(f"{rate}.peak_mib", held)
            result.add(f"{rate}.ratio", held / limit)


def _held(running: Session, pid: int) -> float:
    """MiB that the hog has touched."""
    data = Path(f"{running.stamps.path}.{pid}").read_bytes()
    return float(struct.unpack("<q", data)[0])


def _innocent(context: Context, peer: Peer, variant: Variant, result: Result) -> None:
    limit = variant.memory or 512
    burst = str(int(0.6 * limit))
    for name, words in (("map", ("map", str(2 * limit))), ("burst", ("grow", "1000", burst, "2"))):
        context.say(f"guards: {peer.name} ({variant.name}), {name}")
        with session(peer, context.base, 1, variant, (*HOG, *words)) as running:
            running.wait_started(1, context.patience(1))
            time.sleep(INNOCENT_S)
            result.add(f"{name}.starts", float(len(running.stamps.starts())))
