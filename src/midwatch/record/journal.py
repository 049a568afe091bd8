"""The journal: what happened, one line of JSON an event, one write() a line, readable with any tool.

Files by ISO week of the event, continued by size; each opens with a snapshot of the state, so that a new engine
and `replay` need only the newest snapshot and the inputs after it. A full or read-only disk never stops anybody: lines
wait in a bounded ring, one message says so, and a `journal.gap` line says later how many were lost.

The contract with the engine: it replaces a service's state first and writes the line then, so `snapshot()`, which may
be called inside `write`, already holds the effect of the input being written (`covers_next` says so to `recover`).
Snapshots are redacted like everything else: rules with a secret in them have to come from the accepted specs.
Not thread-safe: one loop owns it. Must not decide what is worth a line. Tests: tests/record/test_journal*.py.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from midwatch.record import retention
from midwatch.record.files import make_folder, open_append
from midwatch.record.flush import Flusher
from midwatch.record.lines import Clock, encode
from midwatch.record.reading import (
    HEADER,
    LONGEST_LINE,
    JournalStats,
    Snapshot,
    file_number,
    follow,
    last_snapshot,
    newest_snapshot,
    read,
    recover,
    wall_of,
)
from midwatch.record.weeks import Part, parts, path_of

__all__ = [
    "HEADER", "Journal", "JournalStats", "Snapshot", "follow", "newest_snapshot", "read", "recover", "wall_of",
]  # fmt: skip

RING_LINES = 1000
RING_BYTES = 1 << 20
RETRY_FIRST = 1.0  # seconds between two tries while the disk refuses; doubles
RETRY_MOST = 15.0
FRESH_TAIL = 256 << 10  # bytes after the last snapshot that a restarted engine may have to read again
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
        self._weeks, self._max_bytes, self._file_bytes = weeks, max_bytes, file_bytes
        self._snapshot, self._on_trouble = snapshot, on_trouble
        self._flusher = flusher or Flusher()
        self._own_flusher = flusher is None
        self._clock = Clock()
        self._fd = -1
        self._path = ""
        self._part: Part | None = None
        self._number: int | None = None  # of the newest file; None: not looked yet
        self._size = self._limit = 0
        self._torn = False  # the file ends in a piece of a line that could not be taken back
        self._seen_second = 0
        self._stamp = b""  # the beginning of the current line
        self.unheard = 0  # messages that `on_trouble` could not take
        self._ring: deque[tuple[tuple[int, int], bytes, bool]] = deque()
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
        input: dict[str, Any] | None = None,
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
            self._flusher.ask(self._path)

    def checkpoint(self) -> None:
        """Write a snapshot now, so that a successor has nothing to read again. Never raises."""
        if self._ring or self._fd < 0:
            return
        try:
            self._append(self._opening(False))
        except OSError as error:
            self._begin_trouble(error)

    def retry(self) -> None:
        """Try to write what is waiting; worth a call from a slow timer, because no event may come for hours."""
        if self._ring and time.monotonic() >= self._retry_at:
            self._drain()

    def close(self) -> None:
        """Last try for what is waiting, then end the helper thread. Nothing is fsynced that was not asked for."""
        if self._ring:
            self._drain()
        self._forget()
        if self._own_flusher:
            self._flusher.close()

    # -- one line to the disk ------------------------------------------------------------------------------------

    def _put(self, week: tuple[int, int], data: bytes, has_input: bool) -> None:
        if not self._ring:
            try:
                self._emit(week, data, has_input)
                return
            except OSError as error:
                self._begin_trouble(error)
        self._hold(week, data, has_input)
        self.retry()

    def _emit(self, week: tuple[int, int], data: bytes, has_input: bool) -> None:
        part = self._part
        if self._fd < 0 or part is None or part[:2] != week or self._size >= self._limit or self._gone():
            self._open(week, has_input)
        self._append(data)

    def _append(self, data: bytes) -> None:
        """All of it in one write, or nothing: a piece is taken back."""
        if self._torn:
            data = b"\n" + data
        written = os.write(self._fd, data)
        if written != len(data):
            self._torn = True
            os.ftruncate(self._fd, self._size)
            self._torn = False
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._torn = False
        self._size += written

    def _gone(self) -> bool:
        """Somebody removed the file under us? Looked at once a second."""
        now = int(time.monotonic())
        if now == self._seen_second:
            return False
        self._seen_second = now
        return os.fstat(self._fd).st_nlink == 0

    # -- files -----------------------------------------------------------------------------------------------------

    def _open(self, week: tuple[int, int], has_input: bool) -> None:
        """Make the file for this week ready for its next line, opening line and retention included."""
        first = self._number is None
        self._forget()
        make_folder(self.folder)
        known = parts(self.folder)
        if first and self._continue(week, known, has_input):
            return
        number = max([part.number for part in known if part[:2] == week], default=0)
        for attempt in range(1, 9):  # something that is not ours may stand at the path
            part = Part(*week, number + attempt)
            try:
                self._take(part)
                break
            except OSError as error:
                if attempt == 8 or error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENOTSUP):
                    raise
        self._number = (self._number or 0) + 1
        try:
            header = self._opening(has_input)
            self._append(header)
        except OSError:
            path = self._path
            self._number -= 1
            self._forget()
            os.unlink(path)  # a file without its opening line would only confuse
            raise
        self._limit = max(self._file_bytes, 4 * len(header))
        self._prune()

    def _continue(self, week: tuple[int, int], known: list[Part], has_input: bool) -> bool:
        """After a start: go on in the newest file when it is of this week and has room."""
        numbered = [(n, part) for part in known if (n := file_number(path_of(self.folder, part))) is not None]
        self._number, newest = max(numbered, default=(0, None))
        if newest is None or newest[:2] != week:
            return False
        found = last_snapshot(path_of(self.folder, newest))
        try:
            self._take(newest)
        except OSError:
            return False
        self._limit = self._file_bytes
        if self._size >= self._limit:
            self._forget()
            return False
        self._repair()
        if found is None or self._size - found.offset > FRESH_TAIL:
            self._append(self._opening(has_input))
        self._prune()
        return True

    def _take(self, part: Part) -> None:
        path = path_of(self.folder, part)
        fd = open_append(path)
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            raise OSError(errno.ENOTSUP, "not a regular file", path)
        self._fd, self._path, self._part, self._size = fd, path, part, info.st_size

    def _repair(self) -> None:
        """A torn last line stays as it is, but the next one starts on a line of its own."""
        if not self._size:
            return
        with open(self._path, "rb") as file:
            file.seek(self._size - 1)
            self._torn = file.read(1) != b"\n"

    def _opening(self, covers_next: bool) -> bytes:
        line: dict[str, Any] = {"event": HEADER, "number": self._number or 1, "version": 1}
        if covers_next:
            line["covers_next"] = True
        try:
            line["snapshot"] = self._snapshot()
        except Exception as error:  # a line without a snapshot still keeps the record going
            self._say(f"journal: no snapshot could be taken ({error!r}); a restarted engine has to read further back")
        return self._stamp + encode(line, LONGEST_LINE)[1:]

    def _prune(self) -> None:
        if self._part is None:
            return
        try:
            retention.prune(self.folder, self._part, self._weeks, self._max_bytes)
        except OSError as error:
            self._say(f"journal: an old file could not be removed: {error}; the journal may grow beyond its limit")

    def _forget(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._part, self._torn = -1, None, False

    # -- when the disk refuses --------------------------------------------------------------------------------------

    def _begin_trouble(self, error: OSError) -> None:
        if self._trouble_since is None:
            self._trouble_since = time.monotonic()
            self._retry_delay = RETRY_FIRST
            where = error.filename or self._path or self.folder
            self._say(
                f"journal: cannot write {where}: {error.strerror or error}; supervision goes on, the last {RING_LINES} "
                "events are kept in memory; free space or make the folder writable"
            )
        self._retry_at = time.monotonic() + self._retry_delay
        self._retry_delay = min(self._retry_delay * 2, RETRY_MOST)

    def _hold(self, week: tuple[int, int], data: bytes, has_input: bool) -> None:
        self._ring.append((week, data, has_input))
        self._ring_bytes += len(data)
        while len(self._ring) > RING_LINES or self._ring_bytes > RING_BYTES:
            self._ring_bytes -= len(self._ring.popleft()[1])
            self._lost += 1

    def _drain(self) -> None:
        """Write the gap and what was kept. Lost inputs make the old snapshot useless, so a new one follows."""
        lost = self._lost
        try:
            gap = {"event": "journal.gap", "lines": lost, "kept": len(self._ring)}
            if self._trouble_since is not None:
                gap["seconds"] = int(time.monotonic() - self._trouble_since)
            self._emit(self._ring[0][0], self._stamp + encode(gap)[1:], False)
            self._lost -= lost
            while self._ring:
                self._emit(*self._ring[0])
                self._ring_bytes -= len(self._ring.popleft()[1])
            if lost:
                self._append(self._opening(False))
        except OSError as error:
            self._begin_trouble(error)
            return
        self._trouble_since = None

    def _say(self, text: str) -> None:
        try:
            self._on_trouble(text)
        except Exception:  # whoever listens must not be able to stop the record
            self.unheard += 1
