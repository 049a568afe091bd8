"""DOC-18: services that are started again too often, by their own manager's counters, and how they ended last.

Restarts an hour since the boot are a lower bound; a service that is waiting for its next start right now is judged by
its own rhythm. Must not restart anything. Tests: tests/inspect/doctor/test_services.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from midwatch.inspect.doctor.check import Check, Context, Watched
from midwatch.inspect.doctor.parts import launcher, managers, naming
from midwatch.inspect.doctor.parts.managers import Service
from midwatch.model.look import Checked, Offender, Status
from midwatch.policy import defaults_inspect as figures

_BAD: dict[str, Status] = {
    "gave_up": "fail",
    "held": "fail",
    "degraded": "fail",
    "backoff": "warn",
    "waiting": "warn",
}
_ENDS = {"start-limit-hit", "oom-kill", "watchdog", "core-dump"}


def _run(ctx: Context) -> Iterable[Checked]:
    mine = [one for one in ctx.services if not ctx.name or one.id == ctx.name]
    bad = 0
    for watched in mine:
        if (found := _ours(watched)) is not None:
            bad += 1
            yield found
    services, missing = ([], []) if ctx.name else managers.services(ctx)
    hours = _up(ctx)
    for service in services:
        for found in _others(ctx, service, hours):
            bad += 1
            yield found
    for words in missing:
        yield CHECK.say("skip", words, hint=managers.ask(ctx))
    if not bad and (mine or services or not missing):
        many = naming.count(len(mine) + len(services), "service")
        yield CHECK.say("pass", f"{many} looked at, none restarts too often")


def _ours(watched: Watched) -> Checked | None:
    status = _BAD.get(str(watched.row.get("state", "")))
    if status is None:
        return None
    decision = str(watched.row.get("decision") or "")
    words = f"{watched.id} is {watched.row['state']}" + (f": {decision}" if decision else "")
    return CHECK.say(
        status, words, offenders=[Offender("service", watched.id, watched.pid)],
        evidence={"restarts": watched.row.get("restarts", {})}, hint=f"midwatch why {watched.id}",
    )  # fmt: skip


def _others(ctx: Context, service: Service, hours: float) -> Iterable[Checked]:
    ended = managers.loop_words(service)
    rate = max(service.starts / max(hours, 1.0), _rhythm(service))
    named = [Offender("unit", service.name, service.pid or None, detail=service.path)]
    evidence = {"starts": service.starts, "per_hour": round(rate, 1), "last": ended}
    warn, fail = figures.RESTARTS_HOUR
    if rate > warn and service.starts:
        words = f"{service.name} was started again {service.starts} times, {rate:.0f} an hour"
        words += f"; it ended last with {ended}" if ended else ""
        status: Status = "fail" if rate > fail else "warn"
        verb = "stop" if service.manager == "systemd" else "bootout"
        yield CHECK.say(
            status,
            words,
            offenders=named,
            evidence=evidence,
            hint=f"{service.control(verb)}, then read its log",
        )
    elif service.said.get("Result") in _ENDS:
        words = f"{service.name} is {service.said.get('ActiveState', 'down')} after {service.said['Result']}"
        yield CHECK.say("warn", words + (f" ({ended})" if ended else ""), offenders=named, evidence=evidence,
                        hint=service.control("status"))  # fmt: skip
    if service.pid and service.text and (other := launcher.holder(ctx, service)) is not None:
        port, pid = other
        proc = ctx.sources.table().procs[pid]
        who = f"{naming.short(proc, 40)} (pid {pid})"
        words = f"port {port} of {service.name} is held by {who}, not by its process {service.pid}"
        yield CHECK.say("fail", words, offenders=[*named, naming.offender(proc, ctx.sources.now())],
                        evidence={"port": port, "holder": pid}, hint=f"kill {pid}, then {service.restart}")  # fmt: skip


def _rhythm(service: Service) -> float:
    """Starts an hour of one that waits for its next start now: systemd's auto-restart, launchd's throttle."""
    said = service.said
    if said.get("SubState") == "auto-restart" and service.starts >= figures.LOOP_STARTS:
        began, ended = (
            _number(said, "ExecMainStartTimestampMonotonic"),
            _number(said, "ExecMainExitTimestampMonotonic"),
        )
        lived = max(0.0, ended - began) / 1e6
        return 3600.0 / max(lived + span(said.get("RestartUSec", "")), 0.1)
    waits = said.get("state") not in (None, "running") and bool(service.job.get("KeepAlive"))
    if waits and service.starts >= figures.LOOP_STARTS:
        return 3600.0 / max(float(service.job.get("ThrottleInterval", 10) or 10), 10.0)
    return 0.0


def span(text: str) -> float:
    """Seconds of systemd's "5s", "100ms", "1min 30s"."""
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
    return sum(
        float(number) * units.get(unit, 0.0)
        for number, unit in re.findall(r"([\d.]+)(us|ms|min|s|h|d)", text)
    )


def _number(said: dict[str, str], key: str) -> float:
    value = said.get(key, "")
    return float(value) if value.isdigit() else 0.0


def _up(ctx: Context) -> float:
    """Hours since the boot; one when it cannot be told, which makes every count look fast."""
    try:
        if ctx.linux:
            return float(ctx.text("/proc/uptime").split()[0]) / 3600.0
        found = re.search(r"sec = (\d+)", ctx.sources.sysctl("kern.boottime"))
        return (ctx.sources.now() - int(found[1])) / 3600.0 if found else 24.0
    except (OSError, ValueError, IndexError):
        return 24.0


CHECK = Check(
    id="DOC-18",
    category="services",
    title="restarts of services",
    about=(
        "Services of midwatch, systemd and launchd: over 5 restarts an hour warns, over 20 fails, by the "
        "manager's counter since the boot or the rhythm of one that is waiting to be started again; ended by "
        "start limit, OOM or watchdog warns; a port that another process than the unit's holds fails. Of "
        "ours: gave up, held and degraded fail."
    ),
    run=_run,
    services=True,
)
