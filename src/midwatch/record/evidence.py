"""Evidence: what was seen of a run before it was stopped, one folder a capture, under `evidence/`.

`manifest.json` is there first and says what is planned; the files follow one by one; at the end the manifest says what
became of each. So a bundle that is cut short, because its writer was killed, can be read, and is recognised: its state
is still "open". All text is redacted by the caller. Oldest first out, by count and by bytes; the newest always stays.
Must not collect anything. Tests: tests/record/test_evidence.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from midwatch.record.files import FOLDER_MODE, make_folder, open_fresh, open_read, read_small, write_all

MANIFEST, FACTS, TAIL = "manifest.json", "facts.json", "tail.txt"
PAUSED = "paused"  # there only while the run stands still for us
BUNDLE_BYTES = 5 << 20  # of all files of one bundle
_UNFINISHED = ".new-"  # how earlier versions called a bundle that was not complete
_MOST_ON_A_REASON = 10_000  # captures of one run for one reason
_SMALL = 1 << 20


class Bundle:
    """One capture. Its folder exists, with a manifest, from the beginning."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path = path
        self.size = 0
        self._head = head
        self._files: dict[str, int] = {}
        self._manifest("open", [])

    def add(self, name: str, data: bytes) -> str:
        """One file. Says what was cut off, "" nothing. Raises OSError; half a file may be left."""
        room = max(0, BUNDLE_BYTES - self.size)
        kept = data[:room]
        self._files[name] = _put(self.path / name, kept)
        self.size += len(kept)
        return f"{len(data) - len(kept)} bytes cut off: the bundle is full" if len(kept) < len(data) else ""

    def add_json(self, name: str, value: Any) -> str:
        """A value, readable for people."""
        return self.add(name, to_json(value))

    def close(self, collectors: list[dict[str, Any]]) -> None:
        """Everything is written; what became of each collector."""
        self._manifest("done", collectors)

    def sync(self) -> None:
        """On the disk and not only in its cache. Raises OSError."""
        for name in (*self._files, MANIFEST, "."):
            fd = open_read(self.path / name)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _manifest(self, state: str, collectors: list[dict[str, Any]]) -> None:
        facts = {**self._head, "state": state, "bytes": self.size, "files": self._files, "collectors": collectors}
        _replace(self.path / MANIFEST, to_json(facts))


class Evidence:
    """The folder of all bundles of an instance. Safe to use from worker threads, one capture each."""

    def __init__(self, folder: Path, *, count: int, max_bytes: int) -> None:
        self.folder = folder
        self._count = count
        self._max_bytes = max_bytes

    def begin(self, run: str, reason: str, head: dict[str, Any]) -> Bundle:
        """A new bundle under the first free number. Raises OSError, and then nothing is left."""
        make_folder(self.folder)
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{run}-{reason}")[:150].lstrip(".") or "run"
        path = self._made(base)
        try:
            return Bundle(path, head)
        except OSError:
            _remove(path)
            raise

    def _made(self, base: str) -> Path:
        for number in range(1, _MOST_ON_A_REASON):
            path = self.folder / f"{base}-{number}"
            try:
                os.mkdir(path, FOLDER_MODE)
            except FileExistsError:
                continue
            return path
        raise FileExistsError(f"{self.folder}/{base}-*: too many")

    def cut_short(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Bundles whose writer is gone, with their manifests; they are marked as such. Before anything is captured."""
        try:
            paths = self._all()
        except OSError:
            return
        for path in paths:
            manifest = read_json(path / MANIFEST)
            if manifest.get("state") != "open":
                continue
            manifest |= {"state": "cut short", "bytes": _size(path)}
            try:
                _replace(path / MANIFEST, to_json(manifest))
            except OSError:
                pass  # told all the same, and again at the next start
            yield path, manifest

    def prune(self, keep: Path | None = None) -> list[Path]:
        """Remove what is over the bounds."""
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
            if entry.name.startswith(_UNFINISHED):
                _remove(Path(entry.path))
            else:
                found.append(Path(entry.path))
        return found


def to_json(value: Any) -> bytes:
    """For people: indented."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2) + b"\n"


def read_json(path: Path) -> dict[str, Any]:
    """One of our small files; {} when it is not there or no object."""
    try:
        found = msgspec.json.decode(read_small(path, _SMALL))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


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


def _replace(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    other = path.with_name(f".{path.name}.new")
    _put(other, data)
    os.replace(other, path)


def _age(path: Path) -> tuple[float, str]:
    try:
        return path.stat().st_mtime, path.name
    except OSError:
        return 0.0, path.name


def _size(path: Path) -> int:
    total = 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        pass
    return total
