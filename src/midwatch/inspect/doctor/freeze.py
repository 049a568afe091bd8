"""DOC-9: did this machine freeze or reset lately, and what the records of that moment say about why.

A Mac without a panic report is no Mac without a record: a jetsam event shortly before a reset says that memory was
short. Only a panic in a driver is a driver's fault. On Linux the end of the last boot's journal tells a clean shutdown
from a stop in the middle. Must not read the present. Tests: tests/inspect/doctor/test_freeze.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.inspect.doctor.parts import ips, naming, reports
from midwatch.model.look import Checked, Offender, Status
from midwatch.model.units import format_seconds
from midwatch.policy import defaults_inspect as figures

_CLEAN = re.compile(
    r"Reached target .*(Power.?Off|Reboot|Shutdown|Halt)|systemd-shutdown|Journal stopped|Shutting down\."
)
_SHORT = re.compile(
    r"Out of memory: Killed process|invoked oom-killer|blocked for more than \d+ seconds|hung_task"
)
_ADVICE = {
    "watchdog": "memory_budget = '12G' in midwatch.toml: memory lines act before a machine stands still",
    "userspace watchdog": "look at what held the machine then: midwatch look, and the jetsam report beside it",
    "guest": "update the app of the container VM, and give the VM less memory",
    "memory": "set memory limits: 'memory_budget' in midwatch.toml, --memory for containers",
    "driver": "update the driver or kernel extension that the panic names",
}


def _run(ctx: Context) -> Iterable[Checked]:
    yield _linux(ctx) if ctx.linux else _mac(ctx)


def _mac(ctx: Context) -> Checked:
    found, problems = reports.files(ctx)
    ends = [one for one in found if one.kind in ("reset", "stall", "panic") and one.when]
    evidence: dict[str, Any] = {"unreadable": problems[:5]}
    now = ctx.sources.now()
    if not ends or now - ends[0].when > figures.FREEZE_WINDOW[1]:
        return CHECK.say("pass", "no freeze, reset or panic in the last 30 days", evidence=evidence)
    last = ends[0]
    near = [one for one in found if abs(one.when - last.when) <= figures.FREEZE_NEAR]
    panics = [one for one in near if one.kind == "panic"]
    jetsam = [one for one in near if one.kind == "jetsam" and one.when <= last.when + 60]
    ago = format_seconds(max(0.0, now - last.when))
    status: Status = "fail" if now - last.when < figures.FREEZE_WINDOW[0] else "warn"
    evidence |= {"at": last.when, "files": [one.path for one in near]}
    named = [Offender("file", one.path) for one in near[:5]]
    if panics:
        return _panic(status, ago, panics[0], jetsam, named, evidence)
    if jetsam:
        largest = jetsam[0].report.words if jetsam[0].report else ""
        evidence |= {"class": "hang", "largest": largest, "before_s": round(last.when - jetsam[0].when)}
        before = format_seconds(abs(last.when - jetsam[0].when))
        words = f"hang, memory pressure likely: reset {ago} ago, a jetsam event {before} before it"
        words += f" (largest process: {largest})" if largest else ""
        return CHECK.say(status, words, offenders=named, evidence=evidence, hint=_ADVICE["memory"])
    evidence["class"] = "hang"
    words = (
        f"hang or power loss {ago} ago: a {last.kind} report and no panic, nothing says that memory was short"
    )
    return CHECK.say(status, words, offenders=named, evidence=evidence, hint=f"open {last.path}")


def _panic(
    status: Status,
    ago: str,
    panic: reports.File,
    jetsam: list[reports.File],
    named: list[Offender],
    evidence: dict[str, Any],
) -> Checked:
    text = panic.report.words if panic.report else ""
    kind = ips.panic_class(text) if text else "unknown"
    evidence |= {"class": kind, "panic": text[:300]}
    said = text.partition("): ")[2].partition("\n")[0][:120] or "its text cannot be read"
    memory = "; a jetsam event beside it: memory pressure likely" if jetsam and kind != "driver" else ""
    words = f"panic {ago} ago, class {kind}: {said}{memory}"
    return CHECK.say(
        status, words, offenders=named, evidence=evidence, hint=_ADVICE.get(kind, f"open {panic.path}")
    )


def _linux(ctx: Context) -> Checked:
    dumps = _pstore(ctx)
    evidence: dict[str, Any] = {"pstore": dumps}
    boots = _boots(ctx)
    if not boots and not dumps:
        raise Missing(
            "the journal knows no boot, not even this one", "sudo mkdir -p /var/log/journal, so that it is kept"
        )
    if len(boots) < 2:
        if dumps:
            return CHECK.say("warn", f"the firmware kept {naming.count(len(dumps), 'record')} of a kernel crash",
                             evidence=evidence, hint="sudo ls -l /sys/fs/pstore /var/lib/systemd/pstore")  # fmt: skip
        return CHECK.say(
            "pass",
            "the journal has no boot before this one, and the firmware kept no crash",
            evidence=evidence,
        )
    ended = float(boots[-2].get("last_entry", 0)) / 1e6
    began = float(boots[-1].get("first_entry", 0)) / 1e6
    age = ctx.sources.now() - ended
    if age > figures.FREEZE_WINDOW[1]:
        return CHECK.say("pass", f"the last boot but one ended {format_seconds(age)} ago", evidence=evidence)
    tail = ctx.said("journalctl", "-b", "-1", "-n", "200", "-o", "short-unix", "--no-pager").splitlines()
    evidence |= {"at": ended, "gap_s": round(began - ended)}
    if any(_CLEAN.search(line) for line in tail[-50:]) and not dumps:
        return CHECK.say(
            "pass", f"the last boot ended with a clean shutdown {format_seconds(age)} ago", evidence=evidence
        )
    short = [line for line in tail if _SHORT.search(line)]
    evidence |= {
        "class": "panic" if dumps else "hang",
        "last_lines": [line[:200] for line in (short or tail)[-3:]],
    }
    status: Status = "fail" if age < figures.FREEZE_WINDOW[0] else "warn"
    what = "crashed in the kernel" if dumps else "stopped in the middle of its work"
    why = (
        ", memory pressure likely: " + short[-1][-120:]
        if short
        else "; nothing at its end says why (power loss?)"
    )
    hint = _ADVICE["memory"] if short else "journalctl -b -1 -e"
    return CHECK.say(
        status, f"the machine {what} {format_seconds(age)} ago{why}", evidence=evidence, hint=hint
    )


def _pstore(ctx: Context) -> list[str]:
    found = []
    for folder in ("/sys/fs/pstore", "/var/lib/systemd/pstore"):
        try:
            found += [f"{folder}/{name}" for name in ctx.sources.names(folder, 100)]
        except OSError:
            continue
    return found


def _boots(ctx: Context) -> list[dict[str, Any]]:
    out = ctx.said("journalctl", "--list-boots", "-o", "json", "--no-pager")
    try:
        found = json.loads(out or "[]")
    except ValueError:
        raise Missing("this journalctl does not list boots as JSON", "journalctl --list-boots") from None
    rows = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    times = ("first_entry", "last_entry")
    return [one for one in rows if all(isinstance(one.get(key), int | float) for key in times)]


CHECK = Check(
    id="DOC-9",
    category="crashes",
    title="freezes and resets",
    about=(
        "The newest reset, shutdown stall or panic of the last 30 days with what was recorded within half an "
        "hour of it: a jetsam event means memory pressure, a panic is classified (watchdog, guest, memory, "
        "driver). Linux: how the last boot's journal ends, and what the firmware kept. Within 7 days fails, "
        "within 30 warns."
    ),
    run=_run,
)
