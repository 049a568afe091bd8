"""DOC-24: processes that are about to run out of open files, and what most of theirs are.

Of every process whose descriptors may be counted. A higher limit is headroom, never the cure (FDW-10).
Tests: tests/inspect/doctor/test_files.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.inspect.doctor.parts import descriptors, naming
from midwatch.model.look import Checked
from midwatch.policy import defaults


def _run(ctx: Context) -> Iterable[Checked]:
    table, now = ctx.sources.table(), ctx.sources.now()
    scan = descriptors.counted(ctx)
    if not scan.by_pid:
        raise Missing("of no process the open files can be counted", "midwatch leaks PID")
    wanted = {pid for one in ctx.services if one.id == ctx.name for pid in (*one.pids, one.pid or 0)}
    bad = 0
    for pid, seen in scan.by_pid.items():
        if not seen.limit or pid not in table.procs or (ctx.name and pid not in wanted):
            continue
        share, left = seen.count / seen.limit, seen.limit - seen.count
        warn, act = defaults.FD_ROOM
        if share <= warn:
            continue
        bad += 1
        proc = table.procs[pid]
        most = f"; most are {seen.top[0][1]} x {seen.top[0][0]}" if seen.top else ""
        yield CHECK.say(
            "fail" if share > act or left < defaults.FD_LEFT else "warn",
            f"{naming.short(proc, 40)} (pid {pid}) has {seen.count} of {seen.limit} files open ({share:.0%}){most}",
            offenders=[naming.offender(proc, now)],
            evidence={"open": seen.count, "limit": seen.limit, "top": list(seen.top)},
            hint=f"midwatch leaks {pid}",
        )  # fmt: skip
    if not bad:
        words = f"{len(scan.by_pid)} processes counted, none near its limit"
        words += f"; {scan.unread} may not be read" if scan.unread else ""
        yield CHECK.say("pass", words + ("; it took too long: not all were counted" if scan.cut else ""))


CHECK = Check(
    id="DOC-24",
    category="limits",
    title="open files",
    about=(
        "Processes with over 70 % of their open files used warn, over 85 % or fewer than 64 left fail, with "
        "what most of them are."
    ),
    run=_run,
    services=True,
)
