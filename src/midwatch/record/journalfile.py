"""The journal's current file: chosen by week, continued by size, opened with a snapshot, repaired after a
crash.

Everything here raises OSError when the disk refuses and leaves the file as it was; what to do then is the
journal's. Files get a number that only grows (in the opening line), so that the newest is known even when the
clock was set back. Must not know what an event means. Tests: tests/record/test_journal*.py.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from midwatch.record import retention
from midwatch.record.files import make_folder, open_append
from midwatch.record.reading import file_number, last_snapshot
from midwatch.record.weeks import Part, parts, path_of

FRESH_TAIL = 256 << 10  # bytes after the last snapshot that a restarted engine may have to read again
TRIES = 8  # things that are not ours and stand at a path of ours
_NOT_OURS = (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENOTSUP)

Week = tuple[int, int]
Opening = Callable[[int, bool], bytes]  # (number of the file, covers_next) -> the opening line


class JournalFile:
    """The file that is being written, if any."""

    def __init__(
        self,
        folder: Path,
        weeks: int,
        max_bytes: int,
        file_bytes: int,
        opening: Opening,
        say: Callable[[str], None],
    ) -> None:
        """Touches nothing yet."""
        self.folder, self.path = folder, ""
        self._weeks, self._max_bytes, self._file_bytes = weeks, max_bytes, file_bytes
        self._opening, self._say = opening, say
        self._fd = -1
        self._part: Part | None = None
        self._number: int | None = None  # of the newest file; None: not looked yet
        self._size = self._limit = 0
        self._torn = False  # the file ends in a piece of a line
        self._looked = 0

    @property
    def is_open(self) -> bool:
        """Has a file been opened?"""
        return self._fd >= 0

    def emit(self, week: Week, data: bytes, has_input: bool) -> None:
        """One line into the file of its week."""
        part = self._part
        if part is None or part[:2] != week or self._size >= self._limit or self._gone():
            self._open(week, has_input)
        self._append(data)

    def bound(self, weeks: int, max_bytes: int) -> None:
        """Other bounds, kept from the next file on."""
        self._weeks, self._max_bytes = weeks, max_bytes

    def snapshot(self) -> None:
        """One more opening line, in the middle of the file."""
        if self._fd >= 0:
            self._append(self._opening(self._number or 1, False))

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._part, self._torn = -1, None, False

    def _append(self, data: bytes) -> None:
        """All of it in one write, or nothing: a piece is taken back."""
        if self._torn:
            data = b"\n" + data
        written = os.write(self._fd, data)
        if written != len(data):
            self._torn = True  # until it has been taken back
            os.ftruncate(self._fd, self._size)
            self._torn = data[:1] == b"\n"
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        self._torn = False
        self._size += written

    def _gone(self) -> bool:
        """Has somebody removed the file under us? Looked at once a second."""
        now = int(time.monotonic())
        if now == self._looked:
            return False
        self._looked = now
        return os.fstat(self._fd).st_nlink == 0

    def _open(self, week: Week, has_input: bool) -> None:
        """Make the file for this week ready for its next line, opening line and retention included."""
        first = self._number is None
        self.close()
        make_folder(self.folder)
        known = parts(self.folder)
        if first and self._continue(week, known, has_input):
            return
        self._create(week, max([part.number for part in known if part[:2] == week], default=0))
        number = (self._number or 0) + 1
        try:
            line = self._opening(number, has_input)
            self._append(line)
        except OSError:
            self.close()
            os.unlink(self.path)  # a file without its opening line would only confuse
            raise
        self._number = number
        self._limit = max(self._file_bytes, 4 * len(line))
        self._prune()

    def _create(self, week: Week, last: int) -> None:
        for number in range(last + 1, last + 1 + TRIES):
            try:
                self._take(Part(*week, number))
            except OSError as error:
                if error.errno not in _NOT_OURS or number == last + TRIES:
                    raise
            else:
                return

    def _continue(self, week: Week, known: list[Part], has_input: bool) -> bool:
        """After a start: go on in the newest file when it is of this week and has room."""
        numbered = [(n, part) for part in known if (n := file_number(path_of(self.folder, part))) is not None]
        number, newest = max(numbered, default=(0, None))
        if newest is None or newest[:2] != week:
            self._number = number
            return False
        try:
            self._take(newest)
        except OSError as error:
            if error.errno not in (*_NOT_OURS, errno.EACCES, errno.EPERM):
                raise
            self._number = number
            return False
        if self._size >= self._file_bytes:
            self.close()
            self._number = number
            return False
        self._repair()
        found = last_snapshot(self.path)
        if found is None or self._size - found.offset > FRESH_TAIL:
            self._append(self._opening(number, has_input))
        self._number, self._limit = number, self._file_bytes
        self._prune()
        return True

    def _take(self, part: Part) -> None:
        path = path_of(self.folder, part)
        fd = open_append(path)
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            raise OSError(errno.ENOTSUP, "not a regular file", path)
        self._fd, self.path, self._part, self._size = fd, path, part, info.st_size
        self._limit = self._size + 1  # nothing but the opening line until it is there

    def _repair(self) -> None:
        """A torn last line stays as it is, but the next one starts on a line of its own."""
        if self._size:
            with open(self.path, "rb") as file:
                file.seek(self._size - 1)
                self._torn = file.read(1) != b"\n"

    def _prune(self) -> None:
        if self._part is None:
            return
        try:
            retention.prune(self.folder, self._part, self._weeks, self._max_bytes)
        except OSError as error:
            self._say(f"journal: an old file could not be removed: {error}; it may grow beyond its limit")
