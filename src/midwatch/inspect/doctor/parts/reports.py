"""The diagnostic reports of a Mac: which there are, with their kind and time, also those moved to Retired/.

A name's own time counts, not the file's; names have local time without a zone, which is taken from a report that says
it. Bounded in files. Must not judge. Tests: tests/inspect/doctor/test_crashes.py, test_freeze.py.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from midwatch.inspect.doctor.check import Context, Missing
from midwatch.inspect.doctor.parts import ips
from midwatch.policy import defaults_inspect as figures

_NAME_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[-_](\d{6})")
_ZONE = re.compile(rb'"(?:timestamp|captureTime)":\s*"[^"]*([+-]\d{4})"')
_NAMED = (("ResetCounter", "reset"), ("JetsamEvent", "jetsam"))


class File(NamedTuple):
    """One report on disk."""

    path: str
    kind: str  # crash | jetsam | panic | reset | stall | other
    when: float
    report: ips.Report | None = None
    problem: str = ""


def files(ctx: Context) -> tuple[list[File], list[str]]:
    """(every report, what could not be read), newest first. Raises Missing when no folder may be listed."""
    found = ctx.once("reports", lambda: _files(ctx))
    assert isinstance(found, tuple)
    if found[2] == 0:
        raise Missing("no folder of diagnostic reports can be read", "ls /Library/Logs/DiagnosticReports")
    return found[0], found[1]


def folders(ctx: Context) -> list[str]:
    """Where reports are."""
    tops = ["/Library/Logs/DiagnosticReports", f"{ctx.sources.home}/Library/Logs/DiagnosticReports"]
    return [folder for top in tops for folder in (top, f"{top}/Retired")]


def _files(ctx: Context) -> tuple[list[File], list[str], int]:
    names, problems, listed = [], [], 0
    for folder in folders(ctx):
        try:
            names += [f"{folder}/{name}" for name in ctx.sources.names(folder)]
            listed += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(f"{folder}: {error.strerror}")
    names = [name for name in names if name.endswith((".ips", ".panic", ".diag", ".shutdownStall"))]
    # By the time in the name, because a Mac keeps years of them.
    names = sorted(names, key=_key, reverse=True)[: figures.REPORTS]
    zone = _zone(ctx, names)
    made = [_file(ctx, path, zone) for path in names]
    problems += [f"{one.path}: {one.problem}" for one in made if one.problem]
    return sorted(made, key=lambda one: -one.when), problems, listed


def _key(path: str) -> str:
    found = _NAME_TIME.search(path)
    return found[1] + found[2] if found else ""


def _zone(ctx: Context, names: list[str]) -> timezone | None:
    for path in [name for name in names if name.endswith(".ips")][:5]:
        try:
            found = _ZONE.search(ctx.sources.read(path, 4096))
        except OSError:
            continue
        if found:
            text = found[1].decode()
            minutes = int(text[1:3]) * 60 + int(text[3:5])
            return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
    return None


def _file(ctx: Context, path: str, zone: timezone | None) -> File:
    name = path.rpartition("/")[2]
    when = _when(name, zone)
    if name.endswith(".shutdownStall"):
        return File(path, "stall", when)
    kind = next((kind for start, kind in _NAMED if name.startswith(start)), "")
    if kind == "reset" or name.endswith(".diag"):
        return File(path, kind or "other", when)
    try:
        text = ctx.text(path)
    except OSError as error:
        return File(
            path, kind or ("panic" if name.endswith(".panic") else "crash"), when, None, error.strerror or ""
        )
    if text.startswith("panic("):
        return File(path, "panic", when, ips.Report("panic", when, words=text[:2000]))
    try:
        report = ips.parse(text)
    except ValueError as error:
        return File(path, kind or "other", when, None, f"not understood ({str(error)[:60]})")
    return File(path, report.kind, report.when or when, report, report.problem)


def _when(name: str, zone: timezone | None) -> float:
    found = _NAME_TIME.search(name)
    if found is None:
        return 0.0
    try:
        when = datetime.strptime(found[1] + found[2], "%Y-%m-%d%H%M%S")  # noqa: DTZ007 - given a zone in the next line
        return (when.replace(tzinfo=zone) if zone else when.astimezone()).timestamp()
    except ValueError:
        return 0.0
