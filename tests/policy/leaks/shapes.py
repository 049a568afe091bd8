"""The seeded traces on which the detector is measured: memory and descriptors of healthy and of leaking services.

One value a minute, 72 hours, plain `random.Random`: the same on every machine, no data files. Memory in bytes, base 250
to 300 MiB under a limit of 1 GiB; what the definitions leave open is chosen here and said in docs/leaks-detector.md.
Used by the tests beside it and by scripts/detector_table.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random

MIB = 1 << 20
HOURS = 72
MINUTES = HOURS * 60
LIMIT = 1024 * MIB
Trace = list[float]


def noise(rng: Random, deviation: float) -> Iterator[float]:
    """AR(1): what an idle server's memory does; half of a deviation is forgotten in a quarter of an hour."""
    value, keep = 0.0, 0.95
    while True:
        value = keep * value + rng.gauss(0.0, deviation * math.sqrt(1 - keep * keep))
        yield value


def base(rng: Random) -> Trace:
    level, hum = rng.uniform(250, 300), noise(rng, 6.0)
    return [level + next(hum) for _ in range(MINUTES)]


def saw(rng: Random, shortest: float = 0.7, longest: float = 2.5) -> Trace:
    """Garbage collection: up 150 MiB, then back to nothing; each value is the smallest of a minute's 30 samples."""
    period, at, found = rng.uniform(shortest, longest), rng.random(), []
    for _ in range(MINUTES):
        later = at + rng.uniform(0.8, 1.2) / period
        found.append(0.0 if int(later) > int(at) else 150 * (at % 1.0))
        at = later
    return found


def slow_saw(rng: Random) -> Trace:
    """The same with 10 to 40 minutes from bottom to bottom: longer than a bucket of the fast tier."""
    return saw(rng, 10, 40)


def warmup(rng: Random) -> Trace:
    most, tau = rng.uniform(150, 500), rng.uniform(20, 180)
    return [most * (1 - math.exp(-t / tau)) for t in range(MINUTES)]


def steps(rng: Random) -> Trace:
    """3 to 8 permanent loads of 20 to 150 MiB."""
    loads = [(rng.uniform(0, MINUTES), rng.uniform(20, 150)) for _ in range(rng.randint(3, 8))]
    return [sum(size for at, size in loads if at <= t) for t in range(MINUTES)]


def diurnal(rng: Random) -> Trace:
    period, phase = rng.uniform(4, 24) * 60, rng.uniform(0, math.tau)
    return [120 * (1 + math.sin(math.tau * t / period + phase)) for t in range(MINUTES)]


def ratchet(rng: Random) -> Trace:
    """An allocator keeps its high water: the largest of heavy-tailed requests, a few a minute."""
    high, found = 0.0, []
    for _ in range(MINUTES):
        high = max(high, min(400.0, 4 * max(rng.paretovariate(1.8) for _ in range(3))))
        found.append(high)
    return found


def sessions(rng: Random) -> Trace:
    """One agent: ramps of 20 to 120 minutes to 50-250 MiB, then free, then up to half an hour of nothing."""
    found: Trace = []
    while len(found) < MINUTES:
        length, most = rng.randint(20, 120), rng.uniform(50, 250)
        found += [most * i / length for i in range(length)] + [0.0] * rng.randint(2, 30)
    return found[:MINUTES]


def overlap(rng: Random) -> tuple[Trace, Trace]:
    """(memory, sessions): 40 to 160 sessions at once; the load wanders over hours, each session holds 1 to 4 MiB."""
    mean, each, tau = rng.uniform(70, 130), rng.uniform(1, 4), rng.uniform(120, 480)
    active, found, loads = mean, [], []
    for _ in range(MINUTES):
        active += (mean - active) / tau + rng.gauss(0.0, 30 * math.sqrt(2 / tau))
        active = min(160.0, max(40.0, active))
        loads.append(float(round(active)))
        found.append(each * loads[-1])
    return found, loads


SHAPES: dict[str, Callable[[Random], Trace]] = {
    "steady": lambda _: [0.0] * MINUTES, "gc_saw": saw, "slow_saw": slow_saw, "warmup": warmup, "steps": steps,
    "diurnal": diurnal, "ratchet": ratchet, "sessions": sessions, "overlap": lambda rng: overlap(rng)[0],
}  # fmt: skip
LEAKS = (20, 60, 300)  # MiB an hour
UNDER = ("steady", "gc_saw", "sessions")  # what a leak hides under; slow_saw is measured beside them


def memory(shape: str, seed: int, leak: float = 0.0) -> tuple[Trace, Trace | None]:
    """(held bytes, active units or None) a minute; `leak` in MiB an hour lies under the shape."""
    rng = Random(f"{shape}/{seed}")
    ground = base(rng)
    loads: Trace | None = None
    if shape == "overlap":
        over, loads = overlap(rng)
    else:
        over = SHAPES[shape](rng)
    values = (g + o + leak * t / 60 for t, (g, o) in enumerate(zip(ground, over, strict=True)))
    return [value * MIB for value in values], loads


def sockets(seed: int) -> Trace:
    """A bounded pool: connections come and go, about 10 to 70 of them over a day, half an hour each."""
    rng = Random(f"sockets/{seed}")
    phase, stay, count, found = rng.uniform(0, math.tau), 30.0, 40, []
    for t in range(MINUTES):
        want = 40 + 24 * math.sin(math.tau * t / 1440 + phase)
        gone = sum(rng.random() < 1 / stay for _ in range(count))
        come = _poisson(rng, want / stay)
        count = min(70, max(10, count - gone + come))
        found.append(float(count))
    return found


def files(seed: int, leak: float = 0.0) -> Trace:
    """20 to 40 files that stay, a few that come and go; `leak` handles an hour that do not go."""
    rng = Random(f"files/{seed}")
    stay, phase = rng.randint(20, 40), rng.random()
    return [float(stay + _poisson(rng, 0.7) + int(leak * t / 60 + phase)) for t in range(MINUTES)]


def _poisson(rng: Random, mean: float) -> int:
    count, product, bound = 0, rng.random(), math.exp(-mean)
    while product > bound:
        count, product = count + 1, product * rng.random()
    return count
