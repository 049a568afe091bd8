"""What the spool's tests share: a store in a folder of its own, and a small spool written in pieces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from midwatch.bounded.limits import Limits
from midwatch.bounded.spool import SpoolInfo, Store

LITTLE = Limits(spool_free=1)


def store_at(folder: Path, **limits: float) -> Store:
    """A store that leaves a full disk to others: the test machine's may be."""
    return Store(folder, Limits(**{"spool_free": 1, **limits}))  # type: ignore[arg-type]


def spooled(store: Store, pieces: Iterable[bytes] | bytes, **facts: object) -> SpoolInfo:
    """A spool that holds these."""
    writer = store.begin(command=["print", "it"])
    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
        writer.write(piece)
    return writer.close(facts)
