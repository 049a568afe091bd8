"""Reading the journal for people: newest lines of the instances, one run's story, one line in words.

Everything here works while nothing runs. Must not write, and must not judge: verdicts are in the journal.
Tests: tests/front/test_events.py, test_why.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from midwatch.engine.layout import Layout
from midwatch.front.cli import instances, names
from midwatch.front.cli.declare import Usage
from midwatch.front.cli.render import clock, plain

Line = dict[str, Any]

INTERNAL = frozenset({"input", "awake", "snapshot"})  # for replay, not for people
_HEADS = frozenset({"ts", "event", "service", "run_id", "decision", "status"})
RECENT = 5000  # lines that are looked through for the newest ones before following
_ROWS = 5  # of what a process had open: the worst; --json has all
_LAST = ("because", "against", "do")


def newest(
    layouts: Iterable[Layout], count: int | None, services: set[str] | None = None, since: float | None = None
) -> list[Line]:
    """The newest `count` lines (None: all) of these instances in the order of time."""
    from midwatch.record.journal import read

    lines: list[Line] = []
    for layout in layouts:
        if layout.journal.is_dir():
            lines += [
                line
                for line in read(layout.journal, services=services, newest=count, since=since)
                if line.get("event") != "journal.opened"
            ]
    lines.sort(key=lambda line: str(line.get("ts", "")))
    return lines if count is None else lines[max(0, len(lines) - count) :]


def following(layout: Layout, services: set[str] | None, count: int, poll: float) -> Iterator[Line]:
    """The newest `count` lines and then new ones for ever, without a gap between the two."""
    from midwatch.record.journal import follow

    kept: deque[Line] | None = deque(maxlen=count or RECENT)
    for line in follow(layout.journal, poll, newest=RECENT):
        if line is None:
            if kept is not None:
                yield from kept
                kept = None
        elif line.get("event") != "journal.opened" and (services is None or line.get("service") in services):
            if kept is None:
                yield line
            else:
                kept.append(line)


def named(words: Iterable[str], picture: instances.Picture, owner: str | None) -> list[str]:
    """The services that the words mean; also ones that left nothing but lines in the journal. Raises Usage."""
    wanted = list(words)
    try:
        return names.resolve(wanted, picture.ids(), owner)
    except Usage:
        known = set(picture.ids())
        for layout in picture.layouts():
            found = {str(line["service"]) for line in newest([layout], None) if line.get("service")} - known
            picture.services.extend(instances.Known(name, layout, None, True) for name in sorted(found))
            known |= found
        return names.resolve(wanted, known, owner)


def wall(line: Line) -> float | None:
    """Unix time of a line."""
    try:
        return datetime.fromisoformat(str(line["ts"])).timestamp()
    except (KeyError, ValueError):
        return None


def public(line: Line) -> Line:
    """A line as `events --json` shows it: `ts event service run_id` first, nothing only for replay."""
    head = {
        "ts": line.get("ts"),
        "event": line.get("event"),
        "service": line.get("service"),
        "run_id": line.get("run_id"),
    }
    return {**head, **{key: value for key, value in line.items() if key not in INTERNAL and key not in head}}


def words(line: Line, now: float | None = None) -> str:
    """One line for a person: time, service, event, the fields, and the decision last."""
    when = wall(line)
    time_text = clock(when, now) if when is not None else "?"
    service = str(line.get("service") or "midwatch")
    fields = [
        _field(key, value) for key, value in line.items() if key not in _HEADS | INTERNAL and key not in _LAST
    ]
    because = line.get("because")
    said = ["; ".join(map(str, because))] if because else []
    decision = [f"-> {line['decision']}"] if line.get("decision") else []
    return plain(
        "  ".join([time_text, service, str(line.get("event")), *filter(None, fields), *said, *decision])
    )


def _field(key: str, value: Any) -> str:
    if value is None or value in ("", [], {}, ()):
        return ""
    if isinstance(value, bool):
        return key if value else ""
    if isinstance(value, (list, tuple)) and all(isinstance(row, list | tuple) and len(row) == 3 for row in value):
        more = f" and {len(value) - _ROWS} more" if len(value) > _ROWS else ""
        rows = ", ".join(f"{count} x {target} ({kind})" for target, kind, count in value[:_ROWS])
        return f'{key}="{rows}{more}"'
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return ""  # its words say it; --json has it
    if isinstance(value, (list, tuple)):
        return f"{key}={','.join(map(str, value))}"
    if isinstance(value, dict):
        return f"{key}={','.join(f'{name}:{inner}' for name, inner in value.items())}"
    if key in ("slot", "at") and isinstance(value, int | float):
        value = clock(value)  # a schedule's time
    if isinstance(value, float):
        return f"{key}={value:.3f}".rstrip("0").rstrip(".")
    text = str(value)
    return f'{key}="{text}"' if " " in text else f"{key}={text}"
