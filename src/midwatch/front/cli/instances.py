"""Which instances there are, and what they run: the daemon, and every `midwatch run` in the foreground.

Asks the control sockets; what does not answer is read from the record (accepted services, log folders), so
that `logs`, `why` and `ps` also work while nothing runs. Must not change anything. Tests:
tests/front/test_ps.py.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from midwatch.engine.client import Client, ClientError, DaemonDown, HungUp
from midwatch.engine.layout import Layout

MOST_FOREGROUNDS = 64  # newest `run` instances that are looked at
STATUS_PATIENCE = 2.0  # seconds a status answer may take; the daemon answers without waiting for anything
RESTART_PATIENCE = 3.0  # seconds an engine may need to come back while its keeper holds the lock


class Known(NamedTuple):
    """One service: where its record is, and the daemon's row when it is running.

    `past`: nobody accepts it any more, only its record is left.
    """

    id: str
    layout: Layout
    row: dict[str, Any] | None
    past: bool = False


class Picture(NamedTuple):
    """Everything known at one moment. `daemon` None: it does not run."""

    daemon: dict[str, Any] | None
    services: list[Known]
    home: Layout

    def ids(self) -> list[str]:
        """Every service that has a record."""
        return [known.id for known in self.services]

    def layouts(self) -> list[Layout]:
        """Every instance that has a service, and the daemon's own."""
        found = {self.home.home: self.home, **{known.layout.home: known.layout for known in self.services}}
        return list(found.values())

    def running(self) -> list[str]:
        """Those that a daemon answers for."""
        return [known.id for known in self.services if known.row is not None]

    def find(self, service: str) -> Known:
        """The newest instance that knows this service; running ones first."""
        return next(known for known in self.services if known.id == service)


def connect(layout: Layout, timeout: float = 5.0) -> Client:
    """A connection to the daemon; waits a moment for an engine that is being restarted. Raises DaemonDown."""
    deadline = time.monotonic() + RESTART_PATIENCE
    while True:
        try:
            return Client(layout.control, timeout)
        except DaemonDown:
            if time.monotonic() >= deadline or not locked(layout):
                raise
            time.sleep(0.05)


def locked(layout: Layout) -> bool:
    """Does a keeper hold this instance's lock?"""
    import fcntl

    try:
        handle = os.open(layout.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def status(layout: Layout) -> dict[str, Any] | None:
    """The answer to `ps`, or None when nobody is there."""
    for attempt in (1, 2):
        try:
            with connect(layout, STATUS_PATIENCE) as client:
                return client.call("ps")
        except DaemonDown:
            break
        except HungUp:  # killed while it answered; a question may be asked again
            if attempt == 2:
                raise
    return None


def look(*, foregrounds: bool = True, record_only: bool = False) -> Picture:
    """Ask everybody. `record_only`: what follows needs the record alone, so a daemon that is stuck does no harm."""
    home = Layout.default()
    try:
        answer = status(home)
    except ClientError:
        if not record_only:
            raise
        answer = None
    services = _services(home, answer)
    for layout in home.foregrounds()[:MOST_FOREGROUNDS] if foregrounds else []:
        try:
            services += _services(layout, status(layout))
        except ClientError:
            services += _services(layout, None)
    services.sort(key=lambda known: known.row is None)
    return Picture(None if answer is None else dict(answer.get("daemon") or {}), services, home)


def _services(layout: Layout, answer: dict[str, Any] | None) -> list[Known]:
    rows = {f"{row['project']}/{row['name']}": row for row in (answer or {}).get("services", [])}
    current = list(rows) if answer is not None else recorded_ids(layout)
    known = [Known(name, layout, rows.get(name)) for name in current]
    return known + [Known(name, layout, None, True) for name in past_ids(layout) if name not in current]


def recorded_ids(layout: Layout) -> list[str]:
    """The services that a daemon of this instance would go on with, and those whose process still lives."""
    ids = [f"{spec.get('project')}/{spec.get('name')}" for spec in accepted(layout.specs)]
    return list(dict.fromkeys([*ids, *recorded_runs(layout)]))


def past_ids(layout: Layout) -> list[str]:
    """The services that left output."""
    try:
        folders = sorted(
            entry.name for entry in os.scandir(layout.logs) if entry.is_dir(follow_symlinks=False)
        )
    except OSError:
        return []
    return [name.replace(".", "/", 1) for name in folders]


def accepted(path: Path) -> list[dict[str, Any]]:
    """The accepted services as the engine wrote them; nothing when the file is missing or torn."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    specs = document.get("specs", document.get("services", [])) if isinstance(document, dict) else document
    if isinstance(specs, dict):
        specs = list(specs.values())
    return [spec for spec in specs if isinstance(spec, dict)] if isinstance(specs, list) else []


def alive(pid: int, start: int) -> bool:
    """Is this very process still there? `start` 0: the platform does not tell, the pid has to do."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        if os.path.isdir("/proc/self"):
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True
    fields = text.rpartition(")")[2].split()
    return fields[0] != "Z" and (not start or int(fields[19]) == start)


def recorded_runs(layout: Layout) -> dict[str, dict[str, Any]]:
    """By service: the run record of a process that is still alive although nobody watches it."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(layout.runs.glob("*.json")) if layout.runs.is_dir() else []:
        try:
            record = json.loads(path.read_bytes())
            if alive(int(record["pid"]), int(record.get("start") or 0)):
                found[str(record["service"])] = record
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            continue
    return found
