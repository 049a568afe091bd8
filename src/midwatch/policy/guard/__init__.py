"""Guards on memory: how often to look (pace), where the lines are (lines), and what follows for a run (memory) and for
the machine (host). Pure: (state, sample, lines, now) -> (state, proposals). A proposal that is an event goes to `step`,
which decides; a `Note` goes to the journal; the other two are work for the sampler: look closer, or capture.
"""

from __future__ import annotations

import msgspec


class Confirm(msgspec.Struct, frozen=True):
    """Walk the pages of this run's tree (PSS) and judge the sample with `pss` set again, at once."""

    run: str


class Evidence(msgspec.Struct, frozen=True):
    """Capture while it is alive; nothing is stopped. Stage 1 reads, stage 2 may pause the tree."""

    run: str
    stage: int
    why: str


class Arm(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hysteresis of one line: `since` and `count` of the samples at it, `on` in an episode, `low` since below it."""

    since: float | None = None
    count: int = 0
    on: bool = False
    low: float | None = None


def arm(a: Arm, at: float, high: bool, low: bool, samples: int = 1, seconds: float = 0.0, calm: float = 60.0) -> Arm:
    """The next state: on after `samples` and `seconds` of `high`, whichever is later; off after `calm` of `low`."""
    since, count = (at if a.since is None else a.since, a.count + 1) if high else (None, 0)
    below = (at if a.low is None else a.low) if low and a.on else None
    crossed = since is not None and count >= samples and at - since >= seconds
    return Arm(since, min(count, samples), crossed or (a.on and (below is None or at - below < calm)), below)
