"""The stamp file: what the supervised programs said about themselves (see child.c for the line format).

Read by polling with short sleeps on purpose: a reader that is woken by the stamp would compete with the
supervisor under test for the CPU. Knows nothing of peers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.004


@dataclass(frozen=True)
class Stamp:
    """`kind`: S first instruction, E about to exit 0, G output begins, D output written."""

    kind: str
    pid: int
    ns: int


class Stamps:
    """One session's stamps, in the order of their arrival."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[Stamp] = []
        self._offset = 0
        path.touch()

    def poll(self) -> list[Stamp]:
        """Read what is new; returns everything seen so far."""
        if self.path.stat().st_size > self._offset:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._offset += len(whole)
            for line in whole.decode().splitlines():
                kind, pid, ns = line.split()
                self.seen.append(Stamp(kind, int(pid), int(ns)))
        return self.seen

    def starts(self) -> list[Stamp]:
        """The first instructions so far."""
        return [stamp for stamp in self.poll() if stamp.kind == "S"]

    def wait(self, wanted: Callable[[Stamp], bool], seconds: float, count: int = 1) -> list[Stamp]:
        """The stamps that are wanted, as soon as there are `count`; fewer when the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            found = [stamp for stamp in self.poll() if wanted(stamp)]
            if len(found) >= count or time.monotonic() >= deadline:
                return found
            time.sleep(POLL_S)
