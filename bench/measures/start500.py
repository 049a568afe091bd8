"""Starting 500 services: from the start command to the last first instruction, cold daemon included.

Three figures from one start: command to the first service's first instruction (the daemon's own start),
first to last (the spawning), and their sum. Peers take turns, the whole list several times.
"""

from __future__ import annotations

from bench.context import Context
from bench.model import Failed, Result

SERVICES = 500


def measure(context: Context) -> list[Result]:
    """Each peer `effort.starts` times."""
    results: dict[tuple[str, str], Result] = {}
    for number in range(context.effort.starts):
        for peer, variant in context.entrants("start500"):
            result = results.setdefault(
                (peer.name, variant.name), Result("start500", peer.name, variant.name)
            )
            if result.failed is not None:
                continue
            if peer.most < SERVICES:
                result.notes = [f"not tried with more than {peer.most} services"]
                continue
            context.say(f"start 500, {number + 1}: {peer.name} ({variant.name})")
            try:
                with context.open(peer, variant, SERVICES) as running:
                    stamps = running.wait_started(SERVICES, context.patience(SERVICES))
                    times = sorted(stamp.ns for stamp in stamps)
                    result.add("first_s", (times[0] - running.began_ns) / 1e9)
                    result.add("spread_s", (times[-1] - times[0]) / 1e9)
                    result.add("last_s", (times[-1] - running.began_ns) / 1e9)
            except (Failed, OSError) as error:
                result.failed = str(error)
    return list(results.values()) + context.absentees("start500")
