"""A spool made ready for a session store: its bytes in one file in the order of the output, and their sha256.

Only a ring that went round has to be turned: into a file of its own, which counts from the moment when the meta file
says so. A kill leaves the old file or both, never a doubt. Must not know sessions. Tests:
tests/bounded/test_spool_adopt.py.
"""

from __future__ import annotations

import os

import msgspec

from midwatch.bounded.spool import folder as f
from midwatch.bounded.spool import meta, shape, shelf
from midwatch.bounded.spool.errors import SpoolError
from midwatch.bounded.spool.meta import SpoolInfo
from midwatch.policy import defaults_bounded as d
from midwatch.record.files import write_all


def prepare(folder: int, name: str, info: SpoolInfo) -> SpoolInfo:
    """The spool's facts with its sum. Called with the folder's lock held. Raises SpoolError."""
    header = shelf.read_header(folder, name)
    if header is None:
        raise SpoolError("damaged", f"spool {info.ref}: its index is damaged, what is where cannot be told")
    made = header.shape
    mixed = made.file_bytes(header.stored) != info.bytes_kept  # some of the ring is not of the output
    wraps = (made.turn(info.kept) != 0 or mixed) and not info.turned
    if info.sha256 and not wraps:
        return info
    try:
        return _summed(folder, name, info, header, wraps)
    except OSError as error:
        if not info.turned:
            f.remove(folder, name + shelf.WHOLE)
        raise SpoolError("disk", f"spool {info.ref} cannot be adopted: {error.strerror or error}") from None


def _summed(folder: int, name: str, info: SpoolInfo, header: shape.Header, wraps: bool) -> SpoolInfo:
    turn = header.shape.turn(info.kept) if info.turned else 0
    pieces = [at for stretch in info.kept for at in header.shape.pieces(*stretch, turn)]
    source = f.open_file(folder, shelf.data_name(name, info))
    try:
        if os.fstat(source).st_size < (info.bytes_kept if info.turned else header.shape.file_bytes(header.stored)):
            raise SpoolError("damaged", f"spool {info.ref}: its data are shorter than its index says")
        if not wraps:
            return msgspec.structs.replace(info, sha256=_pour(source, pieces, None))
        f.remove(folder, name + shelf.WHOLE)
        target = f.create(folder, name + shelf.WHOLE)
        try:
            found = msgspec.structs.replace(info, sha256=_pour(source, pieces, target), turned=True)
        finally:
            os.close(target)
    finally:
        os.close(source)
    f.replace_file(folder, name + shelf.META, meta.encode(found))
    f.remove(folder, name + shelf.DATA)
    return found


def _pour(source: int, pieces: list[tuple[int, int]], target: int | None) -> str:
    """The sum of these pieces, which are copied on the way if they have a target."""
    from hashlib import sha256

    found = sha256()
    for at, size in pieces:
        done = 0
        while done < size:
            data = os.pread(source, min(d.READ_BUFFER, size - done), at + done)
            if not data:
                raise OSError(0, "its data ended too early")
            found.update(data)
            if target is not None:
                write_all(target, data)
            done += len(data)
    return found.hexdigest()
