"""The registry of peers: one adapter a file, listed in the order of the report.

`bare` is no product: it is the physical limit that every figure is compared with.
"""

from __future__ import annotations

from pathlib import Path

from bench.peers.bare import Bare
from bench.peers.base import Peer
from bench.peers.circus import Circus
from bench.peers.honcho import Honcho
from bench.peers.midwatch import Midwatch
from bench.peers.monit import Monit
from bench.peers.pm2 import Pm2
from bench.peers.runit import Runit
from bench.peers.s6 import S6
from bench.peers.supervisor import Supervisor

ALL: tuple[type[Peer], ...] = (Bare, Midwatch, Supervisor, Circus, Honcho, Pm2, Monit, Runit, S6)
NAMES = tuple(peer.name for peer in ALL)


def chosen(names: tuple[str, ...], cache: Path) -> list[Peer]:
    """The adapters with these names, in the order of the report."""
    return [peer(cache) for peer in ALL if peer.name in names]
