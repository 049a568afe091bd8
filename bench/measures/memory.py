"""Own memory: RSS, RssAnon and PSS of all processes of the supervisor, its idle services excluded.

Peers run one at a time, so that PSS is not lowered by another peer on the same interpreter. It is still
lowered by every other Python process on the machine that uses it (the benchmark is one); how many there
were is noted. Products of several processes get each role's sum as well.
"""

from __future__ import annotations

import time

from bench import procs
from bench.context import Context
from bench.model import Failed, Result, Variant
from bench.peers.base import Peer

SETTLE_S = 3.0


def measure(context: Context) -> list[Result]:
    """Each size, each peer, once: these figures repeat within 2 %."""
    results = {
        (peer.name, variant.name): Result("memory", peer.name, variant.name)
        for peer, variant in context.entrants("memory")
    }
    for size in context.effort.sizes:
        for peer, variant in context.entrants("memory"):
            result = results[peer.name, variant.name]
            if size > peer.most:
                result.notes.append(f"{size} services not tried")
                continue
            try:
                _one(context, peer, variant, size, result)
            except (Failed, OSError) as error:
                result.failed = f"{size} services: {error}"
    return list(results.values()) + context.absentees("memory")


def _one(context: Context, peer: Peer, variant: Variant, size: int, result: Result) -> None:
    context.say(f"memory: {peer.name} ({variant.name}) with {size}")
    with context.open(peer, variant, size) as running:
        running.wait_started(size, context.patience(size))
        time.sleep(SETTLE_S)
        roles = running.own_memory()
        total = sum((memory for _, memory in roles.values()), procs.Memory())
        result.add(f"{size}.processes", sum(count for count, _ in roles.values()))
        result.add(f"{size}.other_pythons", procs.other_pythons(running.own_pids()))
        for name, memory in (("", total), *((f"{role}.", memory) for role, (_, memory) in roles.items())):
            result.add(f"{size}.{name}rss", memory.rss)
            result.add(f"{size}.{name}anon", memory.anon)
            result.add(f"{size}.{name}pss", memory.pss)
        for role, (count, _) in roles.items():
            result.add(f"{size}.{role}.processes", count)
