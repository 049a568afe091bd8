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
_STRING_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


class Place(NamedTuple):
    """Bytes `begin` to `end` of one column of one row."""

    table: str
    column: str
    row: int
    begin: int
    end: int


class Slice:
    """Such a place as a file. Opens the row for a moment only: no read transaction lasts. Who reads on and on gets a
    window of 1 MiB, because to find a place in a long value SQLite walks through all of it."""

    def __init__(self, connections: Connections, place: Place) -> None:
        self._connections, self._place, self._at = connections, place, place.begin
        self._window, self._from = b"", 0

    def seek(self, offset: int, /) -> int:
        self._at = max(self._place.begin, min(self._place.end, self._place.begin + offset))
        return self._at - self._place.begin

    def read(self, size: int, /) -> bytes:
        room = min(size if size >= 0 else d.PIECE, self._place.end - self._at, 4 * d.PIECE)
        if room <= 0:
            return b""
        inside = self._at - self._from
        if not 0 <= inside < len(self._window):
            on = bool(self._window) and inside == len(self._window)
            self._window = b""
            self._window, self._from, inside = self._load(max(room, d.FOREIGN_WINDOW if on else 0)), self._at, 0
        data = self._window[inside : inside + room]
        self._at += len(data)
        return data

    def _load(self, size: int) -> bytes:
        place = self._place
        with (
            self._connections.reader("read somebody's row") as connection,
            connection.blobopen(place.table, place.column, place.row, readonly=True) as blob,
        ):
            blob.seek(self._at)
            return blob.read(min(size, place.end - self._at))


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
    depth, inside, at, begin, place = 0, False, 0, -1, 0
    while data := source.read(d.PIECE):
        while place < len(data):
            if inside:
                hit = _STRING_END.match(data, place)
                if hit is None:  # it goes on in the next page, perhaps behind a backslash
                    place = len(data) + (len(data) - max(place, len(data.rstrip(b"\\")))) % 2
                    break
                inside, place = False, hit.end()
                continue
            hit = _OUTSIDE.search(data, place)
            if hit is None:
                place = len(data)
                break
            place, byte = hit.end(), hit.group()
            if byte == b'"':
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
        at, place = at + len(data), place - len(data)


def field(text: bytes, name: str) -> str:
    """A short text field of an object of which only a piece is at hand; "" when it is not there."""
    hit = re.search(rb'"' + name.encode() + rb'"\s*:\s*("(?:[^"\\]|\\.){0,500}")', text)
    return str(json.loads(hit.group(1))) if hit else ""


def whole(source: Slice, size: int) -> Any:
    """A small value, parsed. Raises ValueError when it is no JSON."""
    try:
        return json.loads(stored(source, size))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def stored(source: Slice, size: int) -> bytes:
    """Its bytes as they are."""
    found = bytearray()
    source.seek(0)
    while len(found) < size and (data := source.read(size - len(found))):
        found += data
    return bytes(found)
