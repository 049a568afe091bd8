"""A table that `ps` printed, as processes: the columns by their headings, `lstart` as its five words.

ps joins arguments with spaces, so words inside quotes cannot be told apart again; a Mac's application path is kept
whole. Sizes are resident memory: on Linux an upper bound of held memory, on a Mac neither above nor below it.
Tests: tests/inspect/test_recorded.py.
"""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, tzinfo
from typing import Any

from midwatch.model.look import Proc

_NAMES = {
    "elapsed": "etimes", "etime": "etimes", "started": "lstart", "tt": "tty", "command": "args", "cmd": "args",
    "sess": "sid", "stat": "state", "s": "state", "mem": "held", "footprint": "held", "nlwp": "threads", "%cpu": "-",
}  # fmt: skip
_LSTART = 5  # Mon Mar  2 09:14:07 2026
_UNITS = {"K": 10, "M": 20, "G": 30}


def parse(text: str, now: float, zone: tzinfo | None = None) -> dict[int, Proc]:
    """Every line that can be read, by pid; `lstart` is of `zone` (None: this machine's)."""
    lines = text.splitlines()
    if not lines:
        return {}
    head = [_NAMES.get(word.lower(), word.lower()) for word in lines[0].split()]
    rows = (_row(head, line, now, zone) for line in lines[1:] if line.strip())
    return {row.pid: row for row in rows if row is not None}


def _row(head: list[str], line: str, now: float, zone: tzinfo | None) -> Proc | None:
    cells: dict[str, str] = {}
    rest = line.strip()
    for name in head[:-1]:
        words = rest.split(None, _LSTART if name == "lstart" else 1)
        taken = _LSTART if name == "lstart" else 1
        if len(words) < taken:
            return None
        cells[name], rest = " ".join(words[:taken]), words[taken] if len(words) > taken else ""
    cells[head[-1]] = rest.strip() if head[-1] == "args" else rest.split()[0] if rest.split() else ""
    try:
        return _proc(cells, now, zone)
    except (ValueError, KeyError):
        return None


def _proc(cells: dict[str, str], now: float, zone: tzinfo | None) -> Proc:
    started = _started(cells, now, zone)
    argv = words(cells.get("args", ""))
    kernel = len(argv) == 1 and argv[0].startswith("[") and argv[0].endswith("]")
    rss = int(cells["rss"]) * 1024 if cells.get("rss", "").isdigit() else None
    held: Any = _size(cells["held"]) if "held" in cells else None
    pid = int(cells["pid"])
    return Proc(
        pid=pid,
        start=round(started * 1e6),
        ppid=int(cells["ppid"]),
        pgid=_number(cells.get("pgid"), pid),
        sid=_number(cells.get("sid"), 0),
        uid=_number(cells.get("uid"), -1),
        name=argv[0].strip("[]").rsplit("/", 1)[-1] if argv else "?",
        argv=() if kernel else argv,
        started=started,
        state=cells.get("state", "S")[:1],
        tty="" if cells.get("tty", "?") in {"?", "??", "-"} else cells["tty"],
        held=held if held is not None else rss,
        quality="exact" if held is not None else "absent" if rss is None else "upper-bound",
        rss=rss,
        threads=int(cells["threads"]) if cells.get("threads", "").isdigit() else None,
    )


def words(text: str) -> tuple[str, ...]:
    """The arguments as far as ps kept them apart; "/Applications/A B.app/Contents/MacOS/A B" stays one word."""
    inside = text.find(".app/Contents/")
    if text.startswith("/") and inside > 0 and " -" not in text[:inside] and " /" not in text[:inside]:
        end = text.find(" -", inside)
        slash = text.find(" /", inside)
        stops = [at for at in (end, slash) if at > 0]
        at = min(stops) if stops else len(text)
        return (text[:at], *text[at:].split())
    return tuple(text.split())


def _started(cells: dict[str, str], now: float, zone: tzinfo | None) -> float:
    if "lstart" in cells:
        with contextlib.suppress(ValueError):
            seen = datetime.strptime(cells["lstart"], "%a %b %d %H:%M:%S %Y")  # noqa: DTZ007 (zone below)
            return seen.replace(tzinfo=zone).timestamp() if zone else time.mktime(seen.timetuple())
    return now - _elapsed(cells["etimes"])


def _elapsed(text: str) -> float:
    """Seconds, or ps's [[days-]hours:]minutes:seconds."""
    days, dash, rest = text.partition("-")
    parts = [int(part) for part in (rest if dash else text).split(":")]
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + part
    return float(seconds + (int(days) * 86400 if dash else 0))


def _number(text: str | None, other: int) -> int:
    return int(text) if text is not None and text.lstrip("-").isdigit() else other


def _size(text: str) -> int | None:
    """ "812K", "1.5G" or bytes."""
    try:
        return int(float(text[:-1]) * (1 << _UNITS[text[-1]])) if text[-1:] in _UNITS else int(text)
    except ValueError:
        return None
