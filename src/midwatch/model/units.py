"""Bytes, seconds and windows: read what people write, print what people read.

`512M` is 512 x 2^20 bytes; `1.5G`, `2GiB`, `4096` are fine, "2 GBB" is refused with words. Durations: `250ms`, `10s`,
`1h30m`, `2d` or plain seconds. A window: "10 in 60s", or "off". `format_*` is for people, `exact_*` reads back as the
same value. Must not know which key a value belongs to. Tests: tests/model/test_units.py.
"""

from __future__ import annotations

import math
import re

from midwatch.model.service import Window

_SCALES = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:I?B)?|(B))?", re.IGNORECASE | re.ASCII)
_SECONDS_PER = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern}\s*)+", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_WINDOW = re.compile(r"(\d+)\s+in\s+(\S.*)", re.ASCII)


def parse_bytes(value: object) -> int:
    """Bytes from `512M`, `1.5G`, `2GiB`, `100B` or a whole number. Raises ValueError in plain words."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text.startswith("-"):
        raise ValueError(f"{value!r} is negative; a size is 0 or more")
    match = _BYTES.fullmatch(text)
    if match is None:
        raise ValueError(f"{value!r} is not a size; write a number and one of B, K, M, G, T, for example 512M or 1.5G")
    scale = _SCALES[(match[2] or match[3] or "").upper()]
    return int(match[1]) * scale if match[1].isdigit() else round(float(match[1]) * scale)


def parse_seconds(value: object) -> float:
    """Seconds from `250ms`, `10s`, `1h30m`, `2d` or a number. Raises ValueError in plain words."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    text = value.strip() if isinstance(value, str) else ""
    if _NUMBER.fullmatch(text):
        return float(text)
    if _DURATION.fullmatch(text) is None:
        words = "0 or more, for example 250ms, 10s, 5m, 1h30m, 24h or 2d"
        raise ValueError(f"{value!r} is not a duration; write a number and its unit, {words}")
    return sum(float(number) * _SECONDS_PER[unit] for number, unit in _PART.findall(text))


def parse_window(value: object) -> Window | None:
    """A budget from "10 in 60s"; None from "off". Raises ValueError in plain words."""
    text = value.strip() if isinstance(value, str) else ""
    if value is False or text.lower() in ("off", "none", "never"):
        return None
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise ValueError(f'{value!r} is not a budget; write for example "10 in 60s", or "off"')
    window = Window(limit=int(match[1]), seconds=parse_seconds(match[2]))
    if window.limit < 1 or window.seconds <= 0:
        raise ValueError(f'{value!r} allows nothing; a budget is at least "1 in 1s", or "off"')
    return window


def format_bytes(count: int) -> str:
    """Short and readable: 0 B, 512 B, 1.5 GiB."""
    size, power = float(count), 0
    while round(size, 1) >= 1024 and power < 4:
        size, power = size / 1024, power + 1
    return f"{size:.1f}".removesuffix(".0") + (" B", " KiB", " MiB", " GiB", " TiB")[power]


def format_seconds(seconds: float) -> str:
    """Short and readable, at most two units: 0 s, 250 ms, 8 s, 1.5 s, 5 m, 1 h 30 m, 2 d."""
    if seconds < 0:
        return "-" + format_seconds(-seconds)
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms" if round(seconds * 1000) else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for unit, size, lower, lower_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // lower_size
            return f"{whole // size} {unit}" + (f" {rest} {lower}" if rest else "")
    return f"{whole} s"


def exact_bytes(count: int) -> str:
    """The shortest such text: 512M, 1536M, 4097."""
    unit = next((u for u in "TGMK" if count and count % _SCALES[u] == 0), "")
    return f"{count // _SCALES[unit]}{unit}"


def exact_seconds(seconds: float) -> str:
    """Such a text: 24h is 1d, 5m, 10s, 250ms, 0.3s."""
    for unit in ("d", "h", "m", "s"):
        count = seconds / _SECONDS_PER[unit]
        if seconds and count == int(count) and count * _SECONDS_PER[unit] == seconds:
            return f"{int(count)}{unit}"
    millis = round(seconds * 1000)
    return f"{millis}ms" if millis and millis * 0.001 == seconds else f"{seconds:.17f}".rstrip("0").rstrip(".") + "s"


def exact_window(window: Window | None) -> str:
    """The text of a budget as `parse_window` reads it: "10 in 1m", or "off"."""
    return "off" if window is None else f"{window.limit} in {exact_seconds(window.seconds)}"
