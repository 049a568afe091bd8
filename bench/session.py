"""One session: a peer started on some services in a folder of its own, and ended again whatever happens.

It decides what belongs to the peer (its own processes) and what to the services, and that nothing is left
behind. It must not know how any peer is configured (bench/peers) nor what is measured (bench/measures).
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import procs
from bench.model import Failed, Plan, Service, Variant
from bench.peers.base import Peer
from bench.procs import Memory, Proc
from bench.stamps import Stamp, Stamps

STOP_S = 5.0  # a peer's own stop may take this long, then its processes are killed: how they stop is not measured here


class Session:
    """A running peer."""

    def __init__(self, peer: Peer, plan: Plan, stamps: Stamps) -> None:
        self.peer = peer
        self.plan = plan
        self.stamps = stamps
        self.began_ns = 0
        self.roots: list[int] = []

    @property
    def label(self) -> str:
        """For progress lines and failures."""
        return f"{self.peer.name} ({self.plan.variant.name})"

    def own_pids(self) -> list[int]:
        """All processes of the supervisor itself: its tree without the services."""
        services = {stamp.pid for stamp in self.stamps.starts()}
        found = procs.tree(self.peer.roots(self.plan, self.roots), services)
        if not found:  # absent is never 0
            raise Failed(f"its own processes are not there{self.peer.complaint(self.plan)}")
        return found

    def own_memory(self) -> dict[str, tuple[int, Memory]]:
        """Role -> number of processes and their memory."""
        sums: dict[str, tuple[int, Memory]] = {}
        for pid in self.own_pids():
            role = self.peer.role(self.plan, pid)
            count, total = sums.get(role, (0, Memory()))
            sums[role] = (count + 1, total + procs.memory(pid))
        return sums

    def own_cpu(self) -> dict[int, float]:
        """On-CPU seconds of each own process so far."""
        return {pid: procs.cpu_seconds(pid) for pid in self.own_pids()}

    def wait_started(self, count: int, seconds: float) -> list[Stamp]:
        """Wait for the first instructions of `count` services."""
        found = self.stamps.wait(lambda stamp: stamp.kind == "S", seconds, count)
        if len(found) < count:
            said = self.peer.complaint(self.plan)
            raise Failed(f"{len(found)} of {count} services started within {seconds:.0f} s{said}")
        return found

    def newest(self) -> Proc:
        """The running service process of a session with one service."""
        proc = procs.identify(self.stamps.starts()[-1].pid)
        if proc is None or str(self.plan.folder) not in procs.command(proc.pid):
            raise Failed("the service is not running")
        return proc

    def stop(self) -> None:
        """Stop in the peer's own way, then end by pid what is left: own processes, services, helpers."""
        try:
            mine = [proc for pid in self.own_pids() if (proc := procs.identify(pid))]
        except Failed:
            mine = []
        try:
            self.peer.stop(self.plan, self.roots)
        except OSError:
            pass  # what follows does not depend on a polite end
        procs.end(procs.wait_gone(mine, STOP_S), 1.0)
        self._sweep()

    def _sweep(self) -> None:
        left = [proc for pid in procs.mentioning(f"{self.plan.folder}/") if (proc := procs.identify(pid))]
        survivors = procs.end(left, 1.0)
        for root in self.roots:
            procs.reap(root)
        if survivors:
            print(
                f"{self.label}: pids {[proc.pid for proc in survivors]} could not be ended", file=sys.stderr
            )


@contextmanager
def session(
    peer: Peer, base: Path, services: int, variant: Variant, child: tuple[str, ...]
) -> Iterator[Session]:
    """Configure and start a peer; whatever happens, stop it and remove its folder.

    `child`: the supervised program and its arguments, {stamps} standing for the stamp file.
    """
    folder = base / f"{peer.name}-{time.monotonic_ns() % 10**9}"
    folder.mkdir(mode=0o700)
    stamps = Stamps(folder / "stamps")
    argv = tuple(part.replace("{stamps}", str(stamps.path)) for part in child)
    plan = Plan(folder, tuple(Service(f"svc{number}", argv) for number in range(services)), variant)
    running = Session(peer, plan, stamps)
    try:
        peer.configure(plan)
        running.began_ns = time.monotonic_ns()
        running.roots = peer.start(plan)
        yield running
    finally:
        try:
            running.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
