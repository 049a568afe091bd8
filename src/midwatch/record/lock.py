"""One instance a home: flock on a file that is never deleted.

The kernel's lock is the only truth, so a dead holder, a recycled pid, garbage or our own pid from an earlier
container cannot refuse a start. The content is for people and is written after winning; a loser changes
nothing. The lock belongs to an open file description: the descriptor is close-on-exec, and `release` unlocks
it explicitly, so that not even a child caught between fork and exec keeps it. A lock file that somebody deletes
or replaces still is locked, but no longer in anybody's way: `LockWatch` notices. Tests:
tests/record/test_lock.py, test_lock_watch.py.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Any, Literal

import msgspec

from midwatch.record.files import make_folder, open_read, open_update

_LARGEST = 16 << 10
_TRIES = 6  # a reader's look (`holder`) may stand in the way for an instant
_PAUSE = 0.01


class Held(Exception):
    """Another instance has the lock. `info` is what it wrote about itself ({} when that cannot be read)."""

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path, self.info = path, info
        who = f"pid {info['pid']}" if "pid" in info else "another process"
        since = f", since {_when(info['since'])}" if info.get("since") else ""
        what = f" ({info['what']})" if info.get("what") else ""
        super().__init__(f"already running: {who}{what}{since} holds {path}")


class Unwritable(Exception):
    """The lock file cannot be made or locked here."""

    def __init__(self, path: Path, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(
            f"cannot write {path}: {why}; make the folder writable or name another one with MIDWATCH_HOME"
        )


class InstanceLock:
    """The lock of one home."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    @property
    def held(self) -> bool:
        """Do we have it?"""
        return self._fd >= 0

    def fileno(self) -> int:
        """The descriptor that carries the lock, for a process that has to pass it on; -1 when not held."""
        return self._fd

    def acquire(self, info: dict[str, Any]) -> None:
        """Take the lock and write `info` for people; raises Held or Unwritable and has then changed
        nothing.
        """
        if self._fd >= 0:
            return
        fd = self._take()
        try:
            data = msgspec.json.encode(info) + b"\n"
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))
        except OSError:
            self._blank(fd)  # a full disk: better no words than those of an earlier holder
        self._fd = fd

    def release(self) -> None:
        """Give it up; the file stays."""
        if self._fd < 0:
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        finally:
            os.close(self._fd)
            self._fd = -1

    def holder(self) -> dict[str, Any] | None:
        """For readers: what the holder says about itself ({} when it cannot be read), None when nobody holds
        it.
        """
        try:
            fd = open_read(self.path)
        except OSError:
            return None
        try:
            if _try_lock(fd, fcntl.LOCK_SH):
                fcntl.flock(fd, fcntl.LOCK_UN)
                return None
            return _content(fd)
        except OSError:
            return None
        finally:
            os.close(fd)

    def _take(self) -> int:
        """A locked descriptor of the file that is at the path now (somebody may have replaced it
        meanwhile).
        """
        info: dict[str, Any] = {}
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE)
            fd = self._open()
            try:
                if _try_lock(fd, fcntl.LOCK_EX) and _is_at(fd, self.path):
                    return fd
                info = _content(fd)
            except OSError as error:
                os.close(fd)
                raise Unwritable(self.path, error.strerror or str(error)) from error
            os.close(fd)
        raise Held(self.path, info)

    def _open(self) -> int:
        try:
            make_folder(self.path.parent)
            return open_update(self.path)
        except OSError as error:
            why = "a symbolic link" if error.errno == errno.ELOOP else error.strerror or str(error)
            raise Unwritable(self.path, why) from error

    def _blank(self, fd: int) -> None:
        try:
            os.ftruncate(fd, 0)
        except OSError:
            return  # then the words are old; the lock itself is what counts


Verdict = Literal["ours", "gone", "foreign", "unsure"]
Look = Literal["ours", "retaken", "lost", "unsure"]


def identity(fd: int) -> tuple[int, int]:
    """Which file a descriptor has open. Its number is not used again while anybody has it open."""
    facts = os.fstat(fd)
    return facts.st_dev, facts.st_ino


def still_ours(path: Path, mine: tuple[int, int]) -> Verdict:
    """Is the file at the path the one whose lock we hold? `gone`: there is none, or one that nobody holds;
    `foreign`: somebody else holds the one that is there now; `unsure`: it cannot be looked at.
    """
    try:
        fd = open_read(path)
    except FileNotFoundError:
        return "gone"
    except OSError:
        return "unsure"
    try:
        if identity(fd) == mine:
            return "ours"
        if not _try_lock(fd, fcntl.LOCK_SH):
            return "foreign"
        fcntl.flock(fd, fcntl.LOCK_UN)
        return "gone"
    except OSError:
        return "unsure"
    finally:
        os.close(fd)


class LockWatch:
    """Keeps the lock in everybody's way (E12). `mine`: the file that the keeper has locked for the daemon's life.

    A file that was taken away (a cleaner of old files) is made and locked again: the answer is `retaken`, once.
    `lost`: another daemon has it and this home with it; then the only true thing is to go without touching
    anything, since services, records and socket are the other one's by now. `unsure` is said once after so many
    looks in a row and is no reason to act: who cannot look cannot start a second daemon either.
    """

    def __init__(self, path: Path, mine: tuple[int, int], info: dict[str, Any], *, misses: int) -> None:
        self._path, self._mine, self._info, self._most = path, mine, info, misses
        self._again: InstanceLock | None = None
        self._missed = 0

    def look(self) -> Look:
        """One look; a few microseconds while all is well."""
        verdict = still_ours(self._path, self._mine)
        if verdict == "gone":
            verdict = self._retake()
            if verdict == "ours":
                self._missed = 0
                return "retaken"
        if verdict == "foreign":
            return "lost"
        self._missed = self._missed + 1 if verdict == "unsure" else 0
        return "unsure" if self._missed == self._most else "ours"

    def close(self) -> None:
        """Give a retaken lock up."""
        if self._again is not None:
            self._again.release()

    def _retake(self) -> Verdict:
        lock = InstanceLock(self._path)
        try:
            lock.acquire(self._info)
        except Held:
            return "foreign"
        except Unwritable:
            return "unsure"
        self.close()
        self._again, self._mine = lock, identity(lock.fileno())
        return "ours"


def _when(since: Any) -> str:
    """A time for people, whichever way it was written."""
    if isinstance(since, (int, float)) and 0 < since < 1e11:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))
    return str(since)[:40]


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: Path) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _content(fd: int) -> dict[str, Any]:
    """What is written there; read again while a winner is just writing it."""
    for attempt in range(3):
        if attempt:
            time.sleep(_PAUSE)
        try:
            value = msgspec.json.decode(os.pread(fd, _LARGEST, 0))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}
