"""The nouns of the benchmark: what is supervised, in which setting, and what came out.

Frozen values only; nothing here starts a process or reads a clock. Peers (bench/peers) and measures
(bench/measures) meet in these types, the report reads nothing but `Result`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Measure = Literal[
    "restart", "memory", "cpu", "start500", "logs", "sockets", "survive", "readings", "guards", "exec", "look", "spool",
    "sessions",
]  # fmt: skip
MEASURES: tuple[Measure, ...] = (
    "restart", "memory", "cpu", "start500", "logs", "sockets", "survive", "readings", "guards", "exec", "look", "spool",
    "sessions",
)  # fmt: skip
Trigger = Literal["exit", "kill"]


class Unavailable(Exception):
    """A peer that cannot be had here; the text is the reason that the report prints."""


class Failed(Exception):
    """A measurement that did not come to its end; the text is the reason that the report prints."""


@dataclass(frozen=True)
class Service:
    """One program to supervise. Names are svc0, svc1, ..."""

    name: str
    argv: tuple[str, ...]


@dataclass(frozen=True)
class Capture:
    """Bounds for captured output: bytes per file, number of files kept, gzip or not."""

    file_bytes: int
    files: int
    compress: bool = False


@dataclass(frozen=True)
class Variant:
    """One way to configure a peer. Slow ones get fewer samples: each takes a second or more."""

    name: str = "default"
    pace: Literal["fast", "slow", "rare"] = "fast"
    triggers: tuple[Trigger, ...] = ("exit", "kill")
    capture: Capture | None = None
    note: str = ""
    listen: tuple[str, ...] = ()  # addresses that the peer opens and passes on
    memory: int | None = None  # MiB: its memory guard's limit for each service
    life_s: float | None = (
        None  # restart: how long a child lives before it is ended, if not as long as all others
    )


@dataclass(frozen=True)
class Plan:
    """Everything a peer needs to write its configuration."""

    folder: Path
    services: tuple[Service, ...]
    variant: Variant


@dataclass
class Result:
    """The figures of one peer in one variant of one measure: name -> samples, its unit in the name."""

    measure: Measure
    peer: str
    variant: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    failed: str | None = None
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, value: float) -> None:
        """One more sample of a figure."""
        self.figures.setdefault(name, []).append(value)


@dataclass(frozen=True)
class Effort:
    """How much is measured: the full run's or the quick run's numbers of samples, sizes and windows."""

    quick: bool
    restarts: dict[str, int]  # by Variant.pace
    sizes: tuple[int, ...]
    cpu_sizes: tuple[int, ...]
    cpu_window_s: float
    starts: int
    log_bytes: int
    log_runs: int


FULL = Effort(
    quick=False,
    restarts={"fast": 80, "slow": 16, "rare": 5},
    sizes=(1, 10, 100, 500),
    cpu_sizes=(10, 500),
    cpu_window_s=65.0,
    starts=3,
    log_bytes=1_000_000_000,
    log_runs=3,
)
QUICK = Effort(
    quick=True,
    restarts={"fast": 16, "slow": 4, "rare": 0},
    sizes=(1, 100),
    cpu_sizes=(10, 500),
    cpu_window_s=15.0,
    starts=1,
    log_bytes=200_000_000,
    log_runs=1,
)
