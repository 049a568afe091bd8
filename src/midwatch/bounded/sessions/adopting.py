"""Files that a store refers to instead of copying: spools, as hard links of its own beside it where that is possible.

A link keeps the bytes alive when the spool is pruned, and is removed with the last item that refers to it. On another
file system the spool itself is pinned and stays its owner's. Must not know items. Tests:
tests/bounded/sessions/test_payload.py.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

from midwatch.bounded.sessions.connect import Connections
from midwatch.policy import defaults_sessions as d
from midwatch.record.files import make_folder


class Adopted(Protocol):
    """A finished file: where it is, its bytes, their sha256 in hex."""

    @property
    def path(self) -> Path: ...
    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...


class Spools(Protocol):
    """`bounded.spool.SpoolStore`, as far as it is needed here."""

    def adopt(self, ref: str, into: Path | None = None) -> Adopted: ...


def take(store: str, spools: Spools, ref: str) -> Adopted:
    """The spool as a file that this store may refer to for as long as it likes. Raises SpoolError, OSError."""
    folder = Path(f"{store}-files")
    make_folder(folder)
    try:
        return spools.adopt(ref, into=folder / os.urandom(16).hex())
    except OSError:  # another file system, or one without hard links: pinned where it is
        return spools.adopt(ref)


def is_own(store: str, path: str) -> bool:
    return os.path.dirname(path) == f"{store}-files"


def sweep(connections: Connections) -> int:
    """Remove links of ours that nothing refers to; young ones may belong to an item that is just being written."""
    folder = f"{connections.path}-files"
    try:
        old = [one.path for one in os.scandir(folder) if time.time() - one.stat().st_ctime > d.ORPHAN_S]
    except OSError:
        return 0
    gone = 0
    for path in old[: d.BATCH_ROWS]:
        with connections.reader("look for a file") as connection:
            known = connection.execute("SELECT 1 FROM payload WHERE storage = 'file' AND path = ?", (path,)).fetchone()
        if known is None:
            gone += remove(path)
    return gone


def remove(path: str) -> int:
    try:
        os.unlink(path)
    except OSError:
        return 0
    return 1
