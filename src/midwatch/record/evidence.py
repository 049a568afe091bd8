"""Evidence: what was seen of a run before it was stopped, one folder a capture, under `evidence/`.

A folder is complete or absent: it is filled under another name and then renamed. `facts.json` is for people and
programs, `tail.txt` the last output, both redacted by the caller. Oldest first out, by count and by bytes; the newest
always stays. Must not collect anything. Tests: tests/record/test_evidence.py.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec

from midwatch.record.files import FOLDER_MODE, make_folder, open_fresh, write_all

FACTS, TAIL = "facts.json", "tail.txt"
_UNFINISHED = ".new-"
_MOST_ON_A_REASON = 10_000  # captures of one run for one reason


class Evidence:
    """The folder of all bundles of an instance. Safe to use from worker threads, one capture each."""

    def __init__(self, folder: Path, *, count: int, max_bytes: int) -> None:
        self.folder = folder
        self._count = count
        self._max_bytes = max_bytes

    def write(self, run: str, reason: str, facts: dict[str, Any], tail: str) -> tuple[Path, int]:
        """One bundle, on disk when this returns: its folder and size. Raises OSError."""
        make_folder(self.folder)
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{run}-{reason}")[:150].lstrip(".") or "run"
        unfinished = self.folder / f"{_UNFINISHED}{base}-{os.getpid()}"
        _remove(unfinished)
        os.mkdir(unfinished, FOLDER_MODE)
        try:
            text = msgspec.json.format(msgspec.json.encode(facts, enc_hook=str), indent=2) + b"\n"
            size = _put(unfinished / FACTS, text) + _put(unfinished / TAIL, tail.encode("utf-8", "replace"))
            made = self._name(base, unfinished)
        except OSError:
            _remove(unfinished)
            raise
        self.prune(keep=made)
        return made, size

    def _name(self, base: str, unfinished: Path) -> Path:
        """Move it to the first free number. A folder is never renamed over one that holds something."""
        for number in range(1, _MOST_ON_A_REASON):
            made = self.folder / f"{base}-{number}"
            if not os.path.lexists(made):
                os.rename(unfinished, made)
                return made
        raise FileExistsError(f"{self.folder}/{base}-*: too many")

    def prune(self, keep: Path | None = None) -> list[Path]:
        """Remove what is over the bounds, and what a crash has left unfinished."""
        bundles = sorted((path for path in self._all() if path != keep), key=_age)
        sizes = {path: _size(path) for path in bundles}
        total = sum(sizes.values()) + (_size(keep) if keep else 0)
        count = len(bundles) + (1 if keep else 0)
        gone: list[Path] = []
        for path in bundles:
            if count <= self._count and total <= self._max_bytes:
                break
            _remove(path)
            count, total = count - 1, total - sizes[path]
            gone.append(path)
        return gone

    def _all(self) -> list[Path]:
        found = []
        for entry in os.scandir(self.folder):
            if not entry.is_dir(follow_symlinks=False):
                continue
            if not entry.name.startswith(_UNFINISHED):
                found.append(Path(entry.path))
            elif not entry.name.endswith(f"-{os.getpid()}"):  # of an engine that died meanwhile
                _remove(Path(entry.path))
        return found


def _remove(path: Path) -> None:
    """A bundle and what is in it; silent when it is gone or not ours. (`shutil` would cost the engine 1 MB.)"""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                os.unlink(entry.path)
        os.rmdir(path)
    except OSError:
        pass


def _put(path: Path, data: bytes) -> int:
    fd = open_fresh(path)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)
    return len(data)


def _age(path: Path) -> tuple[float, str]:
    try:
        return path.stat().st_mtime, path.name
    except OSError:
        return 0.0, path.name


def _size(path: Path) -> int:
    total = 0
    for name in (FACTS, TAIL):
        try:
            total += (path / name).stat().st_size
        except OSError:
            continue
    return total
