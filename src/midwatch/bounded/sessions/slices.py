"""JSON text inside a large column of somebody else's table, read a page at a time through SQLite's blob interface.

Cuts a long array into its elements and finds short fields at both ends of a huge object; never holds more than a
page. SELECT of a 100 MiB value costs 203 MiB (measured), this 3.7. Must not know whose table it is. Tests:
tests/bounded/sessions/test_foreign.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from midwatch.bounded.sessions.connect import Connections
from midwatch.policy import defaults_sessions as d

_OUTSIDE = re.compile(rb'["\[\]{},]')
_INSIDE = re.compile(rb'["\\]')


class Place(NamedTuple):
    """Bytes `begin` to `end` of one column of one row."""

    table: str
    column: str
    row: int
    begin: int
    end: int


class Slice:
    """Such a place as a file. Opens the row for each read: no read transaction lasts."""

    def __init__(self, connections: Connections, place: Place) -> None:
        self._connections, self._place, self._at = connections, place, place.begin

    def seek(self, offset: int, /) -> int:
        self._at = max(self._place.begin, min(self._place.end, self._place.begin + offset))
        return self._at - self._place.begin

    def read(self, size: int, /) -> bytes:
        place = self._place
        room = min(size if size >= 0 else d.PIECE, place.end - self._at, 4 * d.PIECE)
        if room <= 0:
            return b""
        with (
            self._connections.reader("read somebody's row") as connection,
            connection.blobopen(place.table, place.column, place.row, readonly=True) as blob,
        ):
            blob.seek(self._at)
            data = blob.read(room)
        self._at += len(data)
        return data


def length(connections: Connections, table: str, column: str, row: int) -> int:
    """Bytes of a value; nothing of it is read. A value that is no text has none."""
    with connections.reader("look at somebody's row") as connection:
        kind = connection.execute(
            f"SELECT typeof({column}) FROM {table} WHERE rowid = ?", (row,)  # noqa: S608  names of ours
        ).fetchone()
        if kind is None or kind[0] not in ("text", "blob"):
            return 0
        with connection.blobopen(table, column, row, readonly=True) as blob:
            return len(blob)


def elements(source: Slice) -> Iterator[tuple[int, int]]:
    """Begin and end of each element of the array that the text is. Broken text: the elements up to there."""
    depth, inside, skip, at, begin = 0, False, 0, 0, -1
    while data := source.read(d.PIECE):
        place = skip
        skip = 0
        while hit := (_INSIDE if inside else _OUTSIDE).search(data, place):
            place = hit.end()
            byte = hit.group()
            if inside:
                if byte == b"\\":
                    place, skip = place + 1, max(0, place + 1 - len(data))
                else:
                    inside = False
            elif byte == b'"':
                inside = True
            elif byte in b"[{":
                depth += 1
                if depth == 1:
                    begin = at + place
            else:
                if depth == 1 and at + hit.start() > begin >= 0:
                    yield begin, at + hit.start()
                    begin = at + place
                depth -= byte in b"]}"
                if depth == 0:
                    return
        at += len(data)


def field(text: bytes, name: str) -> str:
    """A short text field of an object of which only a piece is at hand; "" when it is not there."""
    hit = re.search(rb'"' + name.encode() + rb'"\s*:\s*("(?:[^"\\]|\\.){0,500}")', text)
    return str(json.loads(hit.group(1))) if hit else ""


def whole(source: Slice, size: int) -> Any:
    """A small value, parsed; None when it is no JSON."""
    try:
        return json.loads(_all(source, size))
    except (ValueError, RecursionError):
        return None


def _all(source: Slice, size: int) -> bytes:
    found = bytearray()
    source.seek(0)
    while len(found) < size and (data := source.read(size - len(found))):
        found += data
    return bytes(found)
