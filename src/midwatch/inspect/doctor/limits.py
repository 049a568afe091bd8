"""DOC-19: limits that are met by surprise: descriptors, processes, terminals, and crashes that leave no core.

Of this machine for a process that starts from here, and of declared servers as the daemon knows them. Raising a limit
is headroom, never a cure for a leak. Tests: tests/inspect/doctor/test_limits.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from midwatch.inspect.doctor.check import Check, Context, Missing
from midwatch.inspect.doctor.parts import limit
from midwatch.model.look import Checked, Offender
from midwatch.policy import defaults_inspect as figures


def _run(ctx: Context) -> Iterable[Checked]:
    found = [*_servers(ctx), *(_linux(ctx) if ctx.linux else _mac(ctx))]
    if not found:
        raise Missing("no limit can be read here", "ulimit -a")
    yield from found


def _servers(ctx: Context) -> Iterable[Checked]:
    """Declared servers with launchd's 256, or nearly at their limit."""
    for service in ctx.services:
        if service.fds_limit is not None and service.fds_limit <= figures.FILES_SERVER:
            yield CHECK.say(
                "fail", f"{service.id} may open only {service.fds_limit} files; hit, it looks like an outage",
                offenders=[Offender("service", service.id, service.pid)],
                evidence={"soft": service.fds_limit, "open": service.fds_open},
                hint="NumberOfFiles 4096 in its plist, or LimitNOFILE=4096 in its unit",
            )  # fmt: skip


def _linux(ctx: Context) -> Iterable[Checked]:
    try:
        own = ctx.text("/proc/self/limits")
    except OSError as error:
        yield CHECK.say("skip", f"/proc/self/limits: {error.strerror}", hint="ulimit -a")
        own = ""
    if own:
        yield _files(_soft(own, "Max open files"), "ulimit -n 4096, or LimitNOFILE= in the unit")
        yield from _processes(ctx, _soft(own, "Max processes"))
    yield from _tasks(ctx)
    yield from _kernel(ctx)
    if own:
        yield from _cores(ctx, _soft(own, "Max core file size"))


def _soft(text: str, name: str) -> int | None:
    """The soft limit of that name; None: unlimited."""
    found = re.search(rf"^{re.escape(name)}\s+(\d+|unlimited)", text, re.MULTILINE)
    return int(found[1]) if found and found[1].isdigit() else None


def _files(soft: int | None, how: str) -> Checked:
    if soft is not None and soft < figures.FILES_SOFT:
        words = f"a program started from here may open {soft} files"
        return CHECK.say("warn", words, evidence={"soft": soft}, hint=how)
    shown = "any number of" if soft is None else str(soft)
    return CHECK.say("pass", f"a program started from here may open {shown} files", evidence={"soft": soft})


def _processes(ctx: Context, soft: int | None) -> Iterable[Checked]:
    """RLIMIT_NPROC counts threads of the user; root is not held by it."""
    if soft is None or ctx.sources.uid == 0:
        return
    mine = [proc for proc in ctx.sources.table().procs.values() if proc.uid == ctx.sources.uid]
    used = sum(proc.threads or 1 for proc in mine)
    yield from _room(
        "threads of this user", used, soft, "raise LimitNPROC or nproc in /etc/security/limits.conf"
    )


def _tasks(ctx: Context) -> Iterable[Checked]:
    """The tightest pids.max of our own group and those above it."""
    rooms = []
    for folder, _ in limit.groups(ctx.sources, "pids"):
        most = limit.number(ctx.sources, f"{folder}/pids.max")
        used = limit.number(ctx.sources, f"{folder}/pids.current")
        if most and used is not None:
            rooms.append((used / most, used, most, folder))
    if rooms:
        _, used, most, folder = max(rooms)
        yield from _room(
            f"processes of {folder}", used, most, "raise TasksMax= of that unit (systemctl set-property)"
        )


def _kernel(ctx: Context) -> Iterable[Checked]:
    procs = ctx.sources.table().procs.values()
    for name, what in (
        ("kernel.threads-max", "threads of this machine"),
        ("kernel.pid_max", "process numbers"),
    ):
        try:
            most = int(ctx.sources.sysctl(name))
        except (OSError, ValueError):
            continue
        yield from _room(what, sum(proc.threads or 1 for proc in procs), most, f"sudo sysctl -w {name}={most * 2}")


def _room(what: str, used: int, most: int, hint: str) -> Iterable[Checked]:
    share = used / most if most else 0.0
    if share < figures.LIMIT_SHARE[0]:
        return
    words, evidence = f"{used:,} of {most:,} {what} ({share:.0%})", {"used": used, "most": most}
    yield CHECK.say(
        "fail" if share >= figures.LIMIT_SHARE[1] else "warn", words, evidence=evidence, hint=hint
    )


def _cores(ctx: Context, soft: int | None) -> Iterable[Checked]:
    try:
        pattern = ctx.sources.sysctl("kernel.core_pattern").strip()
    except OSError:
        return
    if pattern.startswith("|") or soft != 0:
        return
    words = f"a crash leaves no core (core size limit 0, core_pattern {pattern!r}); midwatch needs none"
    yield CHECK.say(
        "pass",
        words,
        evidence={"core_pattern": pattern},
        hint="ulimit -c unlimited, or install systemd-coredump",
    )


def _mac(ctx: Context) -> Iterable[Checked]:
    try:
        found = re.search(r"maxfiles\s+(\d+|unlimited)", ctx.said("launchctl", "limit", "maxfiles"))
    except Missing as missing:
        yield CHECK.say("skip", missing.why, hint=missing.how)
    else:
        soft = int(found[1]) if found and found[1].isdigit() else None
        yield _files(soft, "NumberOfFiles 4096 under SoftResourceLimits in the job's plist")
    table = ctx.sources.table().procs.values()
    for name, used, what in (
        ("kern.maxprocperuid", sum(proc.uid == ctx.sources.uid for proc in table), "processes of this user"),
        ("kern.maxproc", len(table), "processes of this machine"),
        (
            "kern.tty.ptmx_max",
            len({proc.tty for proc in table if proc.tty.startswith("tty")}),
            "terminals in use",
        ),
    ):
        try:
            most = int(ctx.sources.sysctl(name))
        except (OSError, ValueError):
            continue
        yield from _room(what, used, most, f"end what holds them, or sudo sysctl -w {name}={most * 2}")


CHECK = Check(
    id="DOC-19",
    category="limits",
    title="limits",
    about=(
        "Open files under 1,024 warns (a declared server with 256 fails); processes, threads, tasks of the "
        "unit, terminals: over 80 % of their limit warns, over 95 % fails. Says when a crash would leave no "
        "core."
    ),
    run=_run,
)
