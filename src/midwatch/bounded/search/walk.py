"""Which files of a tree are searched, and why the others are not. Part of the worker: standard library only.

Regular files only, by stat of what a link leads to; a FIFO, a device or a file that is too large is never opened. One
file system, no links to folders, none of the folders that were named (our own: a search that finds its own results
feeds itself). In the order of their names. Must not look into files. Tests: tests/bounded/test_search_walk.py.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from fnmatch import translate

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
EXAMPLES = 3


class Enough(Exception):
    """A limit is reached; its words say which."""


class Skipped:
    """What was left out, by reason: how many, and the first few."""

    def __init__(self) -> None:
        self.reasons: dict[str, tuple[int, list[str]]] = {}

    def add(self, reason: str, path: str) -> None:
        count, examples = self.reasons.setdefault(reason, (0, []))
        if len(examples) < EXAMPLES:
            examples.append(path)
        self.reasons[reason] = (count + 1, examples)


class Walk:
    """One walk. `files` counts those that were looked into."""

    def __init__(
        self, root: str, *, own: list[tuple[int, int]], big: int, stream: bool, most: int, include: list[str],
        exclude: list[str],
    ) -> None:  # fmt: skip
        self.root, self.skipped, self.files, self.folders = root, Skipped(), 0, 0
        self._own, self._big, self._stream, self._most = set(own), big, stream, most
        self._include, self._exclude = _either(include), _either(exclude)
        self._device = -1

    def each(self) -> Iterator[tuple[str, int, int]]:
        """Path, descriptor (the walk closes it) and size. Raises OSError for the root only, Enough."""
        found = os.stat(self.root)
        self._device = found.st_dev
        if stat.S_ISDIR(found.st_mode):
            yield from self._tree(found)
        elif stat.S_ISREG(found.st_mode):
            yield from self._file(self.root, found, os.O_CLOEXEC)
        else:
            raise NotADirectoryError(20, "is neither a folder nor a regular file")

    def _tree(self, root: os.stat_result) -> Iterator[tuple[str, int, int]]:
        waiting = [(self.root, root)]
        while waiting:
            folder, found = waiting.pop()
            if (found.st_dev, found.st_ino) in self._own:
                self.skipped.add("midwatch's own folder", folder)
                continue
            try:
                with os.scandir(folder) as entries:
                    names = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self.skipped.add(f"unreadable ({error.strerror})", folder)
                continue
            self.folders += 1
            if self.folders > self._most:
                raise Enough(f"{self._most:,} folders were looked at")
            inner = []
            for entry in names:
                if self._exclude is not None and self._exclude.match(entry.name):
                    self.skipped.add("excluded", entry.path)
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        inner.append(entry)
                    else:
                        yield from self._entry(entry)
                except OSError as error:
                    self.skipped.add(f"unreadable ({error.strerror})", entry.path)
            waiting += reversed(list(self._inner(inner)))

    def _inner(self, folders: list[os.DirEntry[str]]) -> Iterator[tuple[str, os.stat_result]]:
        for entry in folders:
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError as error:
                self.skipped.add(f"unreadable ({error.strerror})", entry.path)
                continue
            if found.st_dev != self._device:
                self.skipped.add("another file system", entry.path)
            else:
                yield entry.path, found

    def _entry(self, entry: os.DirEntry[str]) -> Iterator[tuple[str, int, int]]:
        if self._include is not None and not self._include.match(entry.name):
            self.skipped.add("not included", entry.path)
            return
        flags = os.O_NOFOLLOW
        if entry.is_symlink():
            try:
                found = entry.stat()
            except OSError:
                self.skipped.add("broken link", entry.path)
                return
            if stat.S_ISDIR(found.st_mode):
                self.skipped.add("link to a folder", entry.path)
                return
            if stat.S_ISREG(found.st_mode) and self._leads_home(entry.path):
                self.skipped.add("midwatch's own folder", entry.path)
                return
            flags = 0
        else:
            found = entry.stat(follow_symlinks=False)
        yield from self._file(entry.path, found, flags)

    def _leads_home(self, path: str) -> bool:
        """Does a link lead into one of the folders that are not searched?"""
        folder = os.path.dirname(os.path.realpath(path))
        while True:
            found = os.stat(folder)
            if (found.st_dev, found.st_ino) in self._own:
                return True
            if folder == os.path.dirname(folder):
                return False
            folder = os.path.dirname(folder)

    def _file(self, path: str, found: os.stat_result, flags: int) -> Iterator[tuple[str, int, int]]:
        if not stat.S_ISREG(found.st_mode):
            self.skipped.add(_kind(found.st_mode), path)
        elif found.st_dev != self._device:
            self.skipped.add("another file system", path)
        elif found.st_size > self._big and not self._stream:
            self.skipped.add(f"larger than {self._big:,} bytes", path)
        elif found.st_size:
            if self.files >= self._most:
                raise Enough(f"{self._most:,} files were looked at")
            self.files += 1
            fd = os.open(path, _FLAGS | flags)
            try:
                again = os.fstat(fd)
                same = (again.st_dev, again.st_ino) == (found.st_dev, found.st_ino)
                if same and stat.S_ISREG(again.st_mode):  # an inode's number is soon used again
                    yield path, fd, again.st_size
                else:
                    self.skipped.add("replaced meanwhile", path)
            finally:
                os.close(fd)


def _either(globs: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(translate(glob) for glob in globs)) if globs else None


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "FIFO"
    if stat.S_ISSOCK(mode):
        return "socket"
    return "device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "not a regular file"
