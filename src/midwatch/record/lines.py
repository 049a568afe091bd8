"""Turns one event into one bounded, redacted line of JSON; never raises.

What cannot be encoded is replaced by words about it, what is too long is cut with a note. Must not know where
the line goes. Tests: tests/record/test_lines.py.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from midwatch.record.redact import is_clean, redact_value

LINE_BYTES = 64 << 10  # one line of the journal, its end included; snapshots are exempt
LONG_STRING = 2048  # characters that are left of a string in a line that is too long
LONG_LIST = 64  # items

_encode = msgspec.json.Encoder(enc_hook=repr).encode


class Clock:
    """Wall time to text and ISO week, remembered for the current second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""
        self.week = (1970, 1)

    def stamp(self, wall: float) -> str:
        """ISO-8601 UTC with milliseconds; sets `week`. A wall time that is none becomes the present one."""
        try:
            ms = int(wall * 1000)
            second = ms // 1000
            if second != self._second:
                self._set(second)
        except (ValueError, OverflowError, OSError):
            ms = int(time.time() * 1000)
            second = ms // 1000
            self._set(second)
        return f"{self._text}{ms - second * 1000:03d}Z"

    def _set(self, second: int) -> None:
        text, year, week = time.strftime("%Y-%m-%dT%H:%M:%S. %G %V", time.gmtime(second)).split()
        if len(text) != 20 or len(year) != 4:
            raise ValueError("a year beyond 9999")
        self._text, self._second, self.week = text, second, (int(year), int(week))


def encode(line: dict[str, Any], limit: int = LINE_BYTES) -> bytes:
    """The line with its end, at most `limit` bytes."""
    try:
        data = _encode(line)  # first, because it refuses a structure that contains itself
        if not is_clean(line):
            if len(data) > 4 * limit:  # no rule has to read megabytes of which 2 KiB will stay
                line = _cut(line, 0, limit)
            line = redact_value(line)
            data = _encode(line)
    except Exception:  # noqa: BLE001  a lone surrogate, a cycle, a huge integer: the event matters more than the field
        line = _plain(line)
        data = _encode(line)
    if len(data) >= limit:
        data = _encode(_shorter(line, limit))
    return data + b"\n"


def _plain(line: dict[str, Any]) -> dict[str, Any]:
    """Each top-level value that can be encoded, and words in place of the others."""
    out: dict[str, Any] = {}
    for key, value in line.items():
        name = str(key).encode("utf-8", "replace").decode()
        try:
            if isinstance(value, str):
                out[name] = redact_value(value.encode("utf-8", "backslashreplace").decode())
            else:
                _encode(value)
                out[name] = redact_value(value)
        except Exception as error:  # noqa: BLE001  whatever it was, the event matters more
            out[name] = f"[not encodable: {type(error).__name__}]"
    return out


def _shorter(line: dict[str, Any], limit: int) -> dict[str, Any]:
    """First the long strings and lists are cut, then whole fields go, the largest first."""
    cut: dict[str, Any] = _cut(line, 0, LONG_STRING)
    while len(_encode(cut)) >= limit:
        sizes = {k: len(_encode(v)) for k, v in cut.items() if k not in ("ts", "event")}
        if not sizes:
            return {key: str(value)[:1000] for key, value in cut.items()}
        key = max(sizes, key=lambda k: sizes[k])
        if cut[key] == "[cut]":
            del cut[key]
        else:
            cut[key] = "[cut]"
    return cut


def _cut(value: Any, depth: int, longest: int) -> Any:
    if isinstance(value, str):
        more = len(value) - longest
        return f"{value[:longest]} [{more} characters cut]" if more > 0 else value
    if depth > 20:
        return "[cut]"
    if isinstance(value, dict):
        return {key: _cut(item, depth + 1, longest) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        out = [_cut(item, depth + 1, longest) for item in value[:LONG_LIST]]
        return [*out, f"[{len(value) - LONG_LIST} items cut]"] if len(value) > LONG_LIST else out
    return value
