"""Who died lately, and of what: our own record, the kernel's log, core dumps, and a Mac's reports.

A death is a program that ended against its will: a run of ours with such a cause, a process that the kernel or jetsam
killed for memory, one that crashed. Sources that need privileges are asked and named when they refuse. Must not judge
the cause (`why` and triage do). The parsers are in deathlogs.py. Tests: tests/inspect/test_deaths.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from midwatch.inspect.look import deathlogs
from midwatch.inspect.look.deathlogs import Death
from midwatch.inspect.look.hostfacts import uptime
from midwatch.inspect.sources import Sources
from midwatch.policy import defaults_inspect as figures

_CALM = {"requested", "clean", "drain", "", "None"}
_KERNEL = (("dmesg",), ("journalctl", "-k", "-b", "-o", "short-monotonic", "--no-pager", "-n", "8000"))
_CORES = "/var/lib/systemd/coredump"
_REPORTS = ("/Library/Logs/DiagnosticReports", "~/Library/Logs/DiagnosticReports")
_FILES = 500  # reports whose names are looked at
_LINES = 2000  # of our own journal


class Deaths(msgspec.Struct):
    """Newest first; `missing` in words."""

    deaths: list[Death] = []
    missing: list[str] = []


def find(sources: Sources, journals: Iterable[str]) -> Deaths:
    """Of the last day. `journals`: folders of our instances."""
    found = Deaths()
    since = sources.now() - figures.DEATH_TOLD
    rows = list(ours(journals, since))
    if sources.platform == "darwin":
        rows += _mac(sources, since, found.missing)
    else:
        rows += _kernel(sources, found.missing)
        rows += _cores(sources)
    known: set[tuple[str, int | None]] = set()
    for death in sorted(rows, key=lambda one: (-one.at, one.source != "record")):
        if death.at < since or (death.pid is not None and (death.name, death.pid) in known):
            continue
        known.add((death.name, death.pid))
        found.deaths.append(death)
    del found.deaths[figures.DEATHS_MOST :]
    return found


def ours(journals: Iterable[str], since: float) -> Iterable[Death]:
    """Runs that ended with a cause that nobody wanted."""
    for folder in journals:
        if not os.path.isdir(folder):
            continue
        from midwatch.record.journal import read  # 30 ms, for those who have a record

        for line in read(Path(folder), newest=_LINES, since=since):
            if line.get("event") == "run.exited" and str(line.get("cause")) not in _CALM:
                death = _run(line)
                if death is not None:
                    yield death


def _run(line: dict[str, Any]) -> Death | None:
    at = deathlogs.wall(str(line.get("ts", "")))
    if at is None:
        return None
    code, signal = line.get("code"), line.get("signal")
    how = f"signal {signal}" if signal else f"code {code}" if code is not None else "its end was not seen"
    pid = line.get("pid")
    name = str(line.get("service"))
    return Death(name, pid if isinstance(pid, int) else None, at, f"{line['cause']} ({how})", "record", name)


def _kernel(sources: Sources, missing: list[str]) -> list[Death]:
    """The kernel's log; without it at least how many it has killed since boot, which everybody may read."""
    up = uptime(sources)
    for argv in _KERNEL:
        try:
            ran = sources.run(argv, 1.0)
        except OSError:
            continue
        if ran.code == 0 and not ran.late and deathlogs.is_kernel(ran.out) and up is not None:
            return deathlogs.kernel(ran.out, sources.now() - up)
    killed = 0
    try:
        text = sources.read("/proc/vmstat", 1 << 16).decode("ascii", "replace")
        killed = next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)
    except (OSError, ValueError, IndexError):
        pass
    words = f"; {killed} processes were killed for lack of memory since boot" if killed else ""
    missing.append(f"the kernel's log of kills and crashes is not readable (sudo midwatch look){words}")
    return []


def _cores(sources: Sources) -> list[Death]:
    """The names of systemd's core dumps tell who, when and which pid; the files need not be read."""
    try:
        names = sources.names(_CORES, _FILES)
    except OSError:
        return []
    return [death for name in names if (death := deathlogs.core_name(name)) is not None]


def _mac(sources: Sources, since: float, missing: list[str]) -> list[Death]:
    """Jetsam, crash and panic reports."""
    found: list[Death] = []
    for folder in _REPORTS:
        path = folder.replace("~", sources.home)
        try:
            names = sources.names(path, _FILES)
        except PermissionError:
            missing.append(f"{path}: not readable (sudo midwatch look)")
            continue
        except OSError:
            continue
        for name in names:
            if not name.endswith((".ips", ".panic")):
                continue
            at = deathlogs.named_time(name)
            if at is not None and at < since - 86400.0:
                continue  # a zone may lie between the name and us
            try:
                text = sources.read(f"{path}/{name}").decode("utf-8", "replace")
            except OSError:
                continue
            found += deathlogs.report(name, text)
    return found
