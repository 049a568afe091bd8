"""One run under the meter: its last sample, what its guard remembers, and when it is to be looked at again.

Must not decide what a number means. Tests: tests/engine/test_guard.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from midwatch.model.sample import TreeSample
from midwatch.policy import defaults
from midwatch.policy.guard import pace
from midwatch.policy.guard.lines import Lines, kill_line
from midwatch.policy.guard.memory import MemoryState, bounds

if TYPE_CHECKING:
    from midwatch.engine.core import Service
    from midwatch.engine.run import Run
    from midwatch.machine.ports import Meter, Tree


class Watch:
    """What the sampler holds of one run."""

    __slots__ = (
        "detail_at", "due", "ended", "kept", "kernel", "last", "lines", "meter", "number", "period", "restless", "run",
        "sample", "service", "state", "still_until", "sure", "tree", "value", "walk_at", "walking", "walks",
    )  # fmt: skip

    def __init__(self, service: Service, run: Run, tree: Tree, meter: Meter, state: MemoryState | None) -> None:
        self.service = service
        self.run = run
        self.tree = tree
        self.meter = meter
        self.state = state or MemoryState()
        tail = run.id.rpartition(".")[2]
        self.number = int(tail) if tail.isdigit() else 0
        self.lines = Lines(warn=1 << 62)
        self.kernel = False  # the kernel holds its hard line
        self.sample: TreeSample | None = None
        self.value = 0  # bytes it holds, as far as is known; `sure`: that is more than an upper bound
        self.sure = False
        self.still_until = 0.0  # until then what stands still is neither judged nor written
        self.kept: TreeSample | None = None  # the one that was written last
        self.last: TreeSample | None = None  # the one that was judged last
        self.ended = False  # it was over its hard line
        self.restless = False  # one of its guards is in, or near, an episode
        self.period = defaults.PACE_LEAST
        self.due = 0.0
        self.detail_at = 0.0
        self.walk_at = 0.0  # before that no walk through its pages
        self.walking = False
        self.walks = True  # pages can be walked here

    def read(self, at: float) -> TreeSample | None:
        """A sample of now; None when there is nothing to be read any more."""
        try:
            return self.meter.read(at)
        except OSError:
            return None

    def still(self, sample: TreeSample) -> bool:
        """Nothing has moved since the last look and nothing is due: most services, most of the time."""
        old, at = self.sample, sample.at
        if (
            old is None
            or self.restless
            or sample.held != old.held
            or sample.cgroup_bytes != old.cgroup_bytes
            or at >= min(self.still_until, self.detail_at)
            or (sample.fds, sample.threads, sample.members) != (old.fds, old.threads, old.members)
        ):
            return False
        self.sample = sample
        self.due = at + self.period
        return True

    def news(self, sample: TreeSample) -> bool:
        """Does it say anything that the last one on disk does not say? Half a minute holds one in any case."""
        kept = self.kept
        if (
            kept is not None
            and sample.held == kept.held
            and sample.at - kept.at < defaults.KEEP_EVERY
            and (sample.fds, sample.threads, sample.members) == (kept.fds, kept.threads, kept.members)
        ):
            return False
        self.kept = sample
        self.still_until = sample.at + defaults.KEEP_EVERY
        return True

    def worth(self, sample: TreeSample) -> bool:
        """Is it worth a judgement? Not what stands still far from every line: 500 such cost what reading costs."""
        last, held = self.last, sample.held.value
        if last is None or last.held.value is None or held is None or self.restless:
            return True
        near = min(self.lines.warn, self.lines.soft or 1 << 62, self.lines.hard or 1 << 62)
        if held > near / 2 or sample.at - last.at >= defaults.JUDGE_EVERY:
            return True
        return abs(held - last.held.value) >= defaults.JUDGE_STEP or sample.members != last.members

    def judged(self, sample: TreeSample) -> None:
        """This one was."""
        self.last = sample
        arms = self.state.arms
        self.ended = "hard" in arms and arms["hard"].on
        self.restless = any(arm.on or arm.since is not None for arm in arms.values())

    def take(self, sample: TreeSample) -> None:
        """A new one: the cgroup's number, its own, or the share of the sum that the last walk found."""
        self.sample = sample
        held = sample.held.value
        if sample.cgroup_bytes is not None:
            self.value, self.sure = sample.cgroup_bytes, True
        elif held is None or sample.held.quality != "upper-bound":
            self.value, self.sure = held or 0, held is not None
        else:
            found = bounds(self.state, sample, 0)
            guess = None if found is None else found.guess
            self.value, self.sure = held if guess is None else guess, guess is not None

    def pace(self, cost: float) -> None:
        """When to look again: by the nearest line of its own that is not crossed; without one, now and then.

        `cost`: seconds that a look at all runs takes."""
        sample, lines = self.sample, self.lines
        assert sample is not None
        self.period = defaults.PACE_MOST
        if lines.soft is not None or lines.hard is not None:
            held, track = self.value, self.state.track
            rate, rooms, alone, crossing = track.rate, list[int](), list[int](), defaults.PACE_MOST
            if lines.soft is not None and lines.soft > held:
                rooms.append(lines.soft - held)
            if lines.hard is not None and lines.hard > held:
                room = max(0, kill_line(lines.hard, track.slope, defaults.PACE_MOST, self.kernel) - held)
                rooms.append(room)
                alone.append(room)  # also where the kernel holds it: the evidence has to come before the kernel does
                if track.slope > 0 and not self.ended:
                    crossing = max(room / track.slope, defaults.SAMPLE_LEAST)
            self.period = pace.period([(room, rate) for room in rooms], alone, cost)
            self.due = sample.at + min(self.period, crossing)  # at its speed it will be there at that moment
            return
        self.due = sample.at + self.period

    def after_gap(self) -> None:
        """The machine slept or stood still: between the last sample and the next one there is no slope at all."""
        track = msgspec.structs.replace(pace.after_gap(self.state.track), recent=())
        self.state = msgspec.structs.replace(self.state, track=track)
        self.last = None
