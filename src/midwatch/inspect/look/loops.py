"""Jobs that are started again and again: by launchd, by systemd, and by ourselves.

The managers count starts since boot; with an earlier look the rate is known, without one a job is told when it was
started often and does not stay up now. Reads `launchctl` and `systemctl`, which answer without privileges. Must not
say what is wrong with the job (doctor does). Tests: tests/inspect/test_loops.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from midwatch.inspect.sources import Ran, Sources, Table
from midwatch.policy import defaults_inspect as figures

_LABELS = 64  # jobs that are asked for one by one
_SHOW = ("Id", "ActiveState", "SubState", "Result", "NRestarts", "ExecMainStatus", "MainPID")
_OURS = {"backoff": "waits before its next try", "degraded": "was given its last quick try",
         "gave_up": "is not tried any more", "held": "cannot start"}  # fmt: skip

Rate = Callable[[str, float], float | None]


class Loop(msgspec.Struct, frozen=True):
    """One job. `runs` since boot or since it was loaded; `rate`: starts a second since the last look."""

    manager: str
    name: str
    runs: int
    state: str
    words: str
    rate: float | None = None


class Jobs(msgspec.Struct):
    """What was found: loops, the counts to keep for the next look, and what could not be asked."""

    loops: list[Loop] = []
    counts: dict[str, float] = {}
    missing: list[str] = []


def find(sources: Sources, table: Table, rate: Rate, until: float) -> Jobs:
    """Of the machine's manager. `rate(key, value)`: see looks.rate."""
    jobs = Jobs()
    if sources.platform == "darwin":
        _launchd(sources, table, rate, until, jobs)
    else:
        _systemd(sources, table, rate, jobs)
    jobs.loops.sort(key=lambda one: (-(one.rate or 0.0), -one.runs, one.name))
    return jobs


def ours(rows: Iterable[Mapping[str, Any]]) -> list[Loop]:
    """Services of ours that are not simply up, from the daemon's ps rows."""
    found = []
    for row in rows:
        runs = sum(int(count) for count in (row.get("restarts") or {}).values())
        name = f"{row.get('project')}/{row.get('name')}"
        state = str(row.get("state"))
        if state in _OURS:
            words = f"{_OURS[state]}; {row.get('decision') or row.get('last_cause') or ''}".rstrip("; ")
            found.append(Loop("midwatch", name, runs, state, words))
        elif runs >= figures.LOOP_RUNS and (row.get("uptime_s") or 0.0) < figures.LOOP_FRESH:
            found.append(
                Loop("midwatch", name, runs, state, f"restarted {runs} times, the last one just now")
            )
    return found


def _looping(jobs: Jobs, key: str, runs: int, fresh: bool, rate: Rate) -> tuple[bool, float | None]:
    """(is it a loop, starts a second)."""
    jobs.counts[key] = float(runs)
    known = rate(key, float(runs))
    if known is not None:
        return known * 3600.0 >= figures.LOOP_RATE, known
    return runs >= figures.LOOP_RUNS and fresh, None


def _fresh(table: Table, pid: int) -> bool:
    """Does it not run, or only since a moment?"""
    proc = table.procs.get(pid)
    return proc is None or table.at - proc.started < figures.LOOP_FRESH


# -- launchd (F-13)


def _launchd(sources: Sources, table: Table, rate: Rate, until: float, jobs: Jobs) -> None:
    listed = _ask(sources, ("launchctl", "list"), jobs)
    rows = [line.split("\t") for line in listed.splitlines()[1:]]
    labels = [
        row[2] for row in rows if len(row) == 3 and not row[2].startswith(("com.apple.", "application."))
    ]
    for number, label in enumerate(labels):
        if number >= _LABELS or (time.monotonic() > until and not sources.recorded):
            jobs.missing.append(
                f"{len(labels) - number} of {len(labels)} launchd jobs: there was no time for all"
            )
            break
        try:
            text = sources.run(("launchctl", "print", f"gui/{sources.uid}/{label}"), 1.0).out
        except OSError:
            continue
        facts = dict(re.findall(r"^\s*([a-z ]+?) = (.+)$", text, re.MULTILINE))
        if not facts.get("runs", "").isdigit():
            continue
        runs, pid = int(facts["runs"]), int(facts["pid"]) if facts.get("pid", "").isdigit() else 0
        loop, speed = _looping(jobs, f"runs:launchd:{label}", runs, _fresh(table, pid), rate)
        if loop:
            jobs.loops.append(Loop("launchd", label, runs, facts.get("state", ""), _why(facts), speed))


def _why(facts: Mapping[str, str]) -> str:
    code = facts.get("last exit code", "").split(":")[0].strip()
    if code == "0":
        return "exits 0 each time and is started again"
    if code == "78":
        return "exits 78 (configuration, or another copy runs) and is started again"
    return (
        f"exits {code} and is started again" if code and code[0].isdigit() else "is started again and again"
    )


# -- systemd (F-15)


def _systemd(sources: Sources, table: Table, rate: Rate, jobs: Jobs) -> None:
    try:
        sources.names("/run/systemd/system", 1)
    except OSError:
        return  # another first process: there is nobody to ask
    for scope in ((), ("--user",)):
        if scope and sources.uid == 0:
            continue
        argv = ("systemctl", *scope, "show", "*.service", f"--property={','.join(_SHOW)}", "--no-pager")
        for block in _ask(sources, argv, jobs).split("\n\n"):
            facts = dict(line.partition("=")[::2] for line in block.splitlines())
            _unit(facts, " ".join(("systemd", *(word.strip("-") for word in scope))), table, rate, jobs)


def _unit(facts: Mapping[str, str], manager: str, table: Table, rate: Rate, jobs: Jobs) -> None:
    name, runs = facts.get("Id", ""), facts.get("NRestarts", "")
    if not name or not runs.isdigit():
        return
    count = int(runs)
    pid = int(facts["MainPID"]) if facts.get("MainPID", "").isdigit() else 0
    again = facts.get("SubState", "").startswith("auto-restart")
    gave_up = facts.get("Result") == "start-limit-hit"
    if not (count or again or gave_up):
        return
    loop, speed = _looping(jobs, f"runs:{manager}:{name}", count, _fresh(table, pid), rate)
    if not (loop or gave_up or (again and count > 1)):
        return
    code = facts.get("ExecMainStatus", "")
    words = f"restart counter at {count}; it ended with {code or '?'} ({facts.get('Result', '?')})"
    if gave_up:
        words = f"systemd gave up on it (start limit); it ended with {code or '?'}"
    jobs.loops.append(Loop(manager, name, count, facts.get("SubState", ""), words, speed))


def _ask(sources: Sources, argv: tuple[str, ...], jobs: Jobs) -> str:
    """What it printed; "" with words in `missing`."""
    try:
        ran: Ran = sources.run(argv, 1.0)
    except OSError:
        jobs.missing.append(f"{argv[0]}: not installed here")
        return ""
    if ran.late:
        jobs.missing.append(f"{' '.join(argv[:2])}: no answer within a second")
        return ""
    if ran.code:
        first = (ran.err or ran.out).strip().splitlines()[:1] or ["no words"]
        jobs.missing.append(f"{' '.join(argv[:2])}: ended with {ran.code}: {first[0][:120]}")
        return ""
    return ran.out
