"""The spools of a folder as they lie there: which files, which state, what they take; and their removal.

A spool is three files of one name: .data, .idx (shape.py) and .json (meta.py). Called with the folder's lock held where
it changes anything, because a spool that is just being made looks like the remains of one. Must not decide which spools
have to go (retention.py). Tests: tests/bounded/test_spool_retention.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from midwatch.bounded.spool import folder as f
from midwatch.bounded.spool import meta, shape
from midwatch.bounded.spool.meta import SpoolInfo

DATA, INDEX, META = ".data", ".idx", ".json"
WHOLE = ".whole"  # instead of .data, once a session store wanted it in order


class Taken(NamedTuple):
    """Disk space of all spools. `promised`: reserved by writers and not yet used."""

    size: int
    promised: int


def names(folder: int) -> set[str]:
    """Of everything that could be a spool here."""
    found = set()
    for entry in os.listdir(folder):
        stem, dot, end = entry.partition(".")
        if dot and len(stem) == 32 and f".{end}" in (DATA, INDEX, META, WHOLE, f"{META}.new"):
            found.add(stem)
    return found


def taken(folder: int) -> Taken:
    """By stat alone: 1,000 spools in 2 ms."""
    size = promised = 0
    for entry in os.listdir(folder):
        if entry.endswith((DATA, WHOLE)):
            try:
                found = os.stat(entry, dir_fd=folder, follow_symlinks=False)
            except OSError:
                continue
            size += found.st_size
            promised += max(0, found.st_size - found.st_blocks * 512)
    return Taken(size, promised)


def data_name(name: str, info: SpoolInfo) -> str:
    """The file that holds its bytes."""
    return name + (WHOLE if info.turned else DATA)


def read_meta(folder: int, name: str) -> SpoolInfo | None:
    """As it was written; None: missing or damaged."""
    try:
        return meta.decode(f.read_file(folder, name + META, meta.META_MOST + 1))
    except OSError:
        return None


def read_header(folder: int, name: str) -> shape.Header | None:
    """None: missing or damaged."""
    try:
        return shape.unpack(f.read_file(folder, name + INDEX, shape.HEADER))
    except OSError:
        return None


def look(folder: int, name: str) -> SpoolInfo | None:
    """A spool as it is now: what a writer is about, or was about when it died."""
    info = read_meta(folder, name)
    if info is None or info.state != "running":
        return info
    header = read_header(folder, name)
    try:
        fd = f.open_file(folder, name + DATA)
    except OSError:
        return _lost(info, header)
    try:
        if f.claimed(fd):
            return _running(info, header)
    finally:
        os.close(fd)
    again = read_meta(folder, name)  # it may have been closed since it was read
    return again if again is not None and again.state != "running" else _lost(info, header)


def _running(info: SpoolInfo, header: shape.Header | None) -> SpoolInfo:
    header = header or shape.Header()
    return msgspec.structs.replace(info, complete=False, why="it is still being written", **counted(header))


def _lost(info: SpoolInfo, header: shape.Header | None) -> SpoolInfo:
    why = "its writer died before the end" if header else "its writer died, and its index is damaged"
    found = counted(header or shape.Header())
    return msgspec.structs.replace(info, state="lost", complete=False, why=why, **found)


def counted(header: shape.Header) -> dict[str, object]:
    """The numbers of a header, for a SpoolInfo."""
    return {
        "bytes_total": header.seen,
        "lines_total": header.lines,
        "bytes_stored": header.stored,
        "kept": header.kept if header.head else (),
    }


def everything(folder: int) -> Iterator[tuple[str, SpoolInfo | None]]:
    """All spools by name; None: without a readable meta file."""
    for name in names(folder):
        yield name, look(folder, name)


def settle(folder: int, name: str, info: SpoolInfo) -> None:
    """Write down that a spool is lost, and give back what its writer had reserved."""
    header = read_header(folder, name)
    try:
        fd = f.open_file(folder, name + DATA, write=True)
        try:
            os.ftruncate(fd, header.shape.file_bytes(header.stored) if header else 0)
            ended = os.fstat(fd).st_mtime
        finally:
            os.close(fd)
        info = msgspec.structs.replace(info, ended=ended)
        f.replace_file(folder, name + META, meta.encode(info))
    except OSError:
        return  # a full or unwritable disk: the next sweep tries again


def drop_data(folder: int, name: str, info: SpoolInfo, why: str) -> int:
    """Remove the bytes, keep a line about it. How many bytes that freed."""
    try:
        size = os.stat(data_name(name, info), dir_fd=folder, follow_symlinks=False).st_size
    except OSError:
        size = 0
    gone = msgspec.structs.replace(info, state="gone", why=why, kept=(), pinned=False)
    try:
        f.replace_file(folder, name + META, meta.encode(gone))
    except OSError:
        f.remove(folder, name + META)  # no room even for that: better no line than no space
    for end in (DATA, WHOLE, INDEX):
        f.remove(folder, name + end)
    return size


def unneeded(folder: int, name: str, info: SpoolInfo) -> None:
    """Remove what a kill in the middle of an adoption left."""
    f.remove(folder, name + (DATA if info.turned else WHOLE))


def remains(folder: int, name: str) -> float | None:
    """Of a spool that tells nothing about itself: when it last changed; None: it was never finished being made."""
    try:
        found = os.stat(name + META, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    return found.st_mtime


def forget(folder: int, name: str) -> None:
    """Remove everything of this name."""
    for end in (DATA, INDEX, META, WHOLE, f"{META}.new"):
        f.remove(folder, name + end)
