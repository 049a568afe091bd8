"""DOC-10: native crashes that trickle in: how many of the same kind in the last week, and on how many days running.

Read from a Mac's reports (also retired ones), or from systemd-coredump, else the kernel's log. Two in a week are
tolerable and noted. Must not explain one: that is for a look at the report.
Tests: tests/inspect/doctor/test_crashes.py.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.inspect.doctor.parts import ips, naming, reports
from midwatch.model.look import Checked, Offender, Status
from midwatch.policy import defaults_inspect as figures

_DAY = 86_400.0
_FAULT = re.compile(
    r"^\[?\s*([\d.]+)\]?.*?\s(\S+)\[(\d+)\]: (?:segfault at|traps?:|general protection).*?(?: in (\S+?)\[|$)",
    re.MULTILINE,
)


class Crash(NamedTuple):
    """One. `when` in wall-clock seconds."""

    when: float
    binary: str
    culprit: str = ""
    parent: str = ""
    where: str = ""


def _run(ctx: Context) -> Iterable[Checked]:
    found, missing = _mac(ctx) if not ctx.linux else _linux(ctx)
    now = ctx.sources.now()
    recent = [one for one in found if 0 <= now - one.when <= figures.CRASH_DAYS * _DAY]
    groups: dict[tuple[str, str, str], list[Crash]] = {}
    for one in recent:
        groups.setdefault((one.binary, one.culprit, one.parent), []).append(one)
    for words in missing:
        yield CHECK.say(
            "skip", f"not all could be read: {words}", hint="midwatch doctor --category crashes as root"
        )
    for key, crashes in sorted(groups.items(), key=lambda pair: -len(pair[1])):
        yield _said(ctx, key, crashes)
    if not recent:
        yield CHECK.say("pass", f"no native crash in the last {figures.CRASH_DAYS:g} days")


def _said(ctx: Context, key: tuple[str, str, str], crashes: list[Crash]) -> Checked:
    binary, culprit, parent = key
    days = sorted({int(one.when // _DAY) for one in crashes})
    running = _running(days)
    status = judge(len(crashes), running)
    who = binary + (f" in {culprit}" if culprit else "") + (f", started by {parent}" if parent else "")
    words = (
        f"{naming.count(len(crashes), 'crash')} of {who} on {naming.count(len(days), 'day')} of the last week"
    )
    words += " (tolerable)" if status == "pass" else f", {running} days running" if running > 1 else ""
    evidence = {"count": len(crashes), "days": len(days), "binary": binary, "culprit": culprit, "parent": parent,
                "first": min(one.when for one in crashes), "last": max(one.when for one in crashes)}  # fmt: skip
    hint = "" if status == "pass" else _hint(ctx, binary, culprit)
    named = [Offender("file", one.where) for one in crashes if one.where][:10]
    return CHECK.say(status, words, offenders=named, evidence=evidence, hint=hint)


def judge(count: int, running: int) -> Status:
    """By number in a week and days running."""
    warn, fail = figures.CRASH_COUNT
    if count >= fail or running >= figures.CRASH_RUNNING:
        return "fail"
    return "warn" if count >= warn else "pass"


def _running(days: list[int]) -> int:
    """The longest row of days one after another."""
    best = now = 1 if days else 0
    for before, after in pairwise(days):
        now = now + 1 if after == before + 1 else 1
        best = max(best, now)
    return best


def _hint(ctx: Context, binary: str, culprit: str) -> str:
    if culprit and culprit not in ("interpreter", "system", "jump to garbage") and "python" in binary.lower():
        return f"upgrade {culprit}, and run it with PYTHONFAULTHANDLER=1 to see the Python line"
    if "python" in binary.lower():
        return "run it with PYTHONFAULTHANDLER=1 (midwatch sets it for its services) to see the Python line"
    return f"coredumpctl info {binary}" if ctx.linux else f"open the newest report of {binary}"


def _mac(ctx: Context) -> tuple[list[Crash], list[str]]:
    found, problems = reports.files(ctx)
    crashes = [
        Crash(one.when, one.report.app, one.report.culprit, one.report.parent, one.path)
        for one in found
        if one.kind == "crash" and one.report is not None
    ]
    return crashes, [words for words in problems if "DiagnosticReports:" in words][:3]


def _linux(ctx: Context) -> tuple[list[Crash], list[str]]:
    try:
        return _coredumps(ctx), []
    except Missing as missing:
        first = missing
    try:
        found = _kernel(ctx)
        return found, ["the kernel's log, beyond 1 MiB"] if ctx.cut else []
    except Missing as second:
        raise Missing(f"{first.why}; {second.why}", "install systemd-coredump, or run as root") from None


def _coredumps(ctx: Context) -> list[Crash]:
    """F-08."""
    try:
        ran = ctx.sources.run(("coredumpctl", "list", "--json=short", "--no-pager", "--since=-7d"))
    except OSError:
        raise Missing("coredumpctl is not here", "install systemd-coredump") from None
    if "No coredumps found" in ran.err + ran.out:
        return []
    try:
        rows = [row for row in json.loads(ran.out) if isinstance(row, dict)]
        return [
            Crash(row["time"] / 1e6, exe.rpartition("/")[2], _signal(row.get("sig")), "", exe)
            for row in rows
            for exe in (str(row.get("exe", "")),)
        ]  # fmt: skip
    except (ValueError, TypeError, KeyError):
        words = "gave no answer in time" if ran.late else "did not answer with a list"
        raise Missing(f"coredumpctl {words}", "coredumpctl list") from None


def _signal(number: object) -> str:
    try:
        return signal.Signals(int(str(number))).name
    except ValueError:
        return ""


def _kernel(ctx: Context) -> list[Crash]:
    """F-06: real faults only; a sent SIGSEGV leaves no line."""
    out = ctx.said("journalctl", "-k", "-o", "short-unix", "--no-pager", "--since=-7d")
    if " kernel: " not in out:
        raise Missing("the journal holds no kernel messages", "run as root, or install systemd-coredump")
    return [
        Crash(float(at), binary, ips.package(image) if image else "", "", f"kernel log: {binary}[{pid}]")
        for at, binary, pid, image in _FAULT.findall(out)
    ]


CHECK = Check(
    id="DOC-10",
    category="crashes",
    title="native crashes",
    about=(
        "Crashes of the last 7 days by program, whose code it was in and parent: up to 2 are noted, 3-6 warn, "
        "7 or more, or three days running, fail. From a Mac's reports with Retired/, systemd-coredump, or the "
        "kernel's log."
    ),
    run=_run,
)
