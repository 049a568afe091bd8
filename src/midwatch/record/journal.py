"""The journal: what happened, one line of JSON an event, one write() a line, readable with any tool.

Files by ISO week of the event, continued by size; each opens with a snapshot of the state, so that a new
engine and `replay` need only the newest snapshot and the inputs after it. A full or read-only disk never
stops anybody: lines wait in a bounded ring, one message says so, and a `journal.gap` line says later how many
were lost.

The contract with the engine: it replaces a service's state first and writes the line then, so `snapshot()`,
which may be called inside `write`, already holds the effect of the input being written (`covers_next` says so
to `recover`). Snapshots are redacted like everything else: rules with a secret in them have to come from the
accepted specs. Not thread-safe: one loop owns it. Must not decide what is worth a line. Tests:
tests/record/test_journal*.py.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from midwatch.record.flush import Flusher
from midwatch.record.journalfile import JournalFile, Week
from midwatch.record.lines import Clock, encode
from midwatch.record.reading import (
    HEADER,
    LONGEST_LINE,
    JournalStats,
    Snapshot,
    follow,
    newest_snapshot,
    read,
    recover,
    wall_of,
)

__all__ = [
    "HEADER",
    "Journal",
    "JournalStats",
    "Snapshot",
    "follow",
    "newest_snapshot",
    "read",
    "recover",
    "wall_of",
]

RING_LINES = 1000
RING_BYTES = 1 << 20
RETRY_FIRST = 1.0  # seconds between two tries while the disk refuses; doubles
RETRY_MOST = 15.0
_NOTHING: Mapping[str, Any] = {}


class Journal:
    """The writer."""

    def __init__(
        self,
        folder: Path,
        *,
        weeks: int,
        max_bytes: int,
        file_bytes: int,
        snapshot: Callable[[], dict[str, Any]],
        on_trouble: Callable[[str], None],
        flusher: Flusher | None = None,
    ) -> None:
        """Touches nothing yet: the folder and the first file are made by the first `write`."""
        self.folder = folder
        self._snapshot, self._on_trouble = snapshot, on_trouble
        self._file = JournalFile(folder, weeks, max_bytes, file_bytes, self._opening, self._say)
        self._flusher = flusher or Flusher()
        self._own_flusher = flusher is None
        self._clock = Clock()
        self._stamp = b""  # the beginning of the current line
        self.unheard = 0  # messages that `on_trouble` could not take
        self._ring: deque[tuple[Week, bytes, bool]] = deque()
        self._ring_bytes = 0
        self._lost = 0
        self._trouble_since: float | None = None
        self._retry_at = 0.0
        self._retry_delay = RETRY_FIRST

    @property
    def pending(self) -> int:
        """Lines that wait in memory because the disk refuses them."""
        return len(self._ring)

    def write(
        self,
        event: str,
        wall: float,
        *,
        service: str | None = None,
        run: str | None = None,
        fields: Mapping[str, Any] = _NOTHING,
        input: dict[str, Any] | None = None,  # noqa: A002  the word of the journal's lines
        awake: float | None = None,
        flush: bool = False,
    ) -> None:
        """One line; never raises. `flush` asks the fsync thread to make it durable."""
        line: dict[str, Any] = {"event": event}
        if service is not None:
            line["service"] = service
        if run is not None:
            line["run_id"] = run
        line.update(fields)
        if input is not None:
            line["input"] = input
        if awake is not None:
            line["awake"] = awake
        line["event"] = event  # a field may not take its place
        self._stamp = b'{"ts":"' + self._clock.stamp(wall).encode() + b'",'
        self._put(self._clock.week, self._stamp + encode(line)[1:], input is not None)
        if flush and not self._ring:
            self._flusher.ask(self._file.path)

    def flush(self) -> None:
        """Ask the fsync thread to make everything written so far durable."""
        if self._file.path and not self._ring:
            self._flusher.ask(self._file.path)

    def bound(self, *, weeks: int, max_bytes: int) -> None:
        """Other bounds from now on; what is too much goes when the next file is opened."""
        self._file.bound(weeks, max_bytes)

    def checkpoint(self) -> None:
        """Write a snapshot now, so that a successor has nothing to read again. Never raises."""
        if self._ring:
            return  # the ring ends with one when lines were lost
        try:
            self._file.snapshot()
        except OSError as error:
            self._begin_trouble(error)

    def retry(self) -> None:
        """Try to write what is waiting; worth a call from a slow timer, because no event may come for
        hours.
        """
        if self._ring and time.monotonic() >= self._retry_at:
            self._drain()

    def close(self) -> None:
        """Last try for what is waiting, then end the helper thread. Nothing is fsynced that was not asked
        for.
        """
        if self._ring:
            self._drain()
        self._file.close()
        if self._own_flusher:
            self._flusher.close()

    def _put(self, week: Week, data: bytes, has_input: bool) -> None:
        if not self._ring:
            try:
                self._file.emit(week, data, has_input)
                return
            except OSError as error:
                self._begin_trouble(error)
        self._hold(week, data, has_input)
        self.retry()

    def _opening(self, number: int, covers_next: bool) -> bytes:
        line: dict[str, Any] = {"event": HEADER, "number": number, "version": 1}
        if covers_next:
            line["covers_next"] = True
        try:
            line["snapshot"] = self._snapshot()
        except Exception as error:  # noqa: BLE001  a line without a snapshot still keeps the record going
            self._say(
                f"journal: no snapshot could be taken ({error!r}); a restarted engine reads further back"
            )
        return self._stamp + encode(line, LONGEST_LINE)[1:]

    def _begin_trouble(self, error: OSError) -> None:
        if self._trouble_since is None:
            self._trouble_since = time.monotonic()
            self._retry_delay = RETRY_FIRST
            where = error.filename or self._file.path or self.folder
            self._say(
                f"journal: cannot write {where}: {error.strerror or error}; supervision goes on, "
                f"the last {RING_LINES} events are kept in memory; free space or make the folder writable"
            )
        self._retry_at = time.monotonic() + self._retry_delay
        self._retry_delay = min(self._retry_delay * 2, RETRY_MOST)

    def _hold(self, week: Week, data: bytes, has_input: bool) -> None:
        self._ring.append((week, data, has_input))
        self._ring_bytes += len(data)
        while len(self._ring) > RING_LINES or self._ring_bytes > RING_BYTES:
            self._ring_bytes -= len(self._ring.popleft()[1])
            self._lost += 1

    def _drain(self) -> None:
        """Write the gap and what was kept. Lost inputs make the old snapshot useless, so a new one
        follows.
        """
        lost = self._lost
        try:
            gap = {"event": "journal.gap", "lines": lost, "kept": len(self._ring)}
            if self._trouble_since is not None:
                gap["seconds"] = int(time.monotonic() - self._trouble_since)
            self._file.emit(self._ring[0][0], self._stamp + encode(gap)[1:], False)
            self._lost -= lost
            while self._ring:
                self._file.emit(*self._ring[0])
                self._ring_bytes -= len(self._ring.popleft()[1])
            if lost:
                self._file.snapshot()
        except OSError as error:
            self._begin_trouble(error)
            return
        self._trouble_since = None

    def _say(self, text: str) -> None:
        try:
            self._on_trouble(text)
        except Exception:  # noqa: BLE001  whoever listens must not be able to stop the record
            self.unheard += 1
