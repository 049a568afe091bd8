"""What every measure gets: the peers that are ready, the effort, the child program, a voice for progress.

Holds no figures; each measure returns its own results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bench.model import Effort, Measure, Result, Variant
from bench.peers.base import Peer
from bench.session import Session, session


@dataclass
class Context:
    """One run of the benchmark."""

    peers: list[Peer]
    effort: Effort
    base: Path
    child: tuple[str, ...]
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """One line of progress on stderr; stdout is for the report."""
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", file=sys.stderr, flush=True)

    def minutes(self) -> float:
        """Since the run began."""
        return (time.monotonic() - self.began) / 60

    def entrants(self, measure: Measure) -> Iterator[tuple[Peer, Variant]]:
        """Every peer in each of its settings for a measure."""
        for peer in self.peers:
            for variant in peer.variants(measure):
                yield peer, variant

    def absentees(self, measure: Measure) -> list[Result]:
        """Rows for peers that do not do what is measured."""
        return [
            Result(measure, peer.name, "-", notes=[peer.absent(measure)])
            for peer in self.peers
            if not peer.variants(measure)
        ]

    def open(
        self, peer: Peer, variant: Variant, services: int, *words: str
    ) -> AbstractContextManager[Session]:
        """A session of stamping services, or with `words` of another mode of the child."""
        mode, *more = words or ("stamp",)
        return session(peer, self.base, services, variant, (*self.child, mode, "{stamps}", *more))

    def patience(self, services: int) -> float:
        """How long a start may take, s: generous for slow peers on a loaded machine, bounded for the run."""
        return 15.0 + 0.3 * services
