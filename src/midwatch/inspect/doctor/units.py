"""DOC-22: the files by which systemd and launchd run services, read for what will hurt: restart loops, impatience.

Only files that a person or a program put there, not what a package brought. The words about a file's text are those
of `midwatch unit --check`; here they meet what the manager has counted. Must not load, edit or restart one.
Tests: tests/inspect/doctor/test_units.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from midwatch.host.units import common, launchd, systemd_check
from midwatch.host.units.unitfile import last, parse
from midwatch.inspect.doctor.check import Check, Context
from midwatch.inspect.doctor.parts import launcher, managers, naming
from midwatch.inspect.doctor.parts.managers import Service
from midwatch.model.look import Checked, Offender
from midwatch.policy import defaults_inspect as figures

# The fix for a finding, by how its words begin; a finding that bears its own cure has none here.
_FIXES = (
    ("limit unreachable", "StartLimitIntervalSec=300 in [Unit]"),
    ("there is no start limit", "StartLimitIntervalSec=300 and StartLimitBurst=5 in [Unit]"),
    ("WatchdogSec with", "remove WatchdogSec, or Type=notify if the program pings"),
    ("Type=forking", "Type=exec, and start the program with its foreground option"),
    ("KillMode=none", "KillMode=mixed"),
    ("`up -d`", "ExecStart=... up without -d"),
    ("KeepAlive is true", "KeepAlive = {SuccessfulExit = false}, and the program in the foreground"),
    ("KeepAlive.SuccessfulExit", "KeepAlive = {SuccessfulExit = false}"),
    ("ProgramArguments[0]", "the absolute path of the program as the first word of ProgramArguments"),
    ("ThrottleInterval", "ThrottleInterval = 15"),
    ("AbandonProcessGroup", "remove AbandonProcessGroup"),
    ("Umask", "Umask = 18, which is 022"),
    ("exit code 78", "RestartPreventExitStatus=78 in [Service]"),
    ("exit code 75", "RestartForceExitStatus=75 in [Service]"),
)


def _run(ctx: Context) -> Iterable[Checked]:
    found, missing = managers.services(ctx)
    mine = [one for one in found if one.text or one.problem]
    mine = [one for one in mine if not ctx.name or _about(ctx, one)]
    bad = 0
    for service in mine:
        for result in _one(ctx, service):
            bad += 1
            yield result
    yield from _linger(ctx, mine)
    for words in missing:
        yield CHECK.say("skip", words, hint=managers.ask(ctx))
    if not mine and missing:
        return
    if not bad:
        yield CHECK.say("pass", f"{naming.count(len(mine), 'unit file')} of yours looked at, nothing found")


def _about(ctx: Context, service: Service) -> bool:
    """Is it the file of the service that is asked about, or of the daemon that runs it?"""
    short = ctx.name.rpartition("/")[2]
    return short in service.name or ctx.name in service.text or "midwatch" in service.text


def _one(ctx: Context, service: Service) -> Iterator[Checked]:
    if service.problem:
        yield _say(
            service,
            "skip",
            service.problem,
            f"plutil -lint {service.path}" if not ctx.linux else "systemd-analyze verify " + service.path,
        )
    if not service.text or service.problem.startswith("no "):
        return
    loop = _loop(ctx, service)
    if loop:
        yield loop
    ours = "midwatch" in service.text
    stop = (
        max((one.drain for one in ctx.services if one.drain), default=None)
        if ours
        else launcher.drain(service)
    )
    reader = systemd_check if service.manager == "systemd" else launchd
    for words in reader.findings(service.text, stop):
        if not ours and words.startswith(("exit code 7", "ExitTimeOut", "TimeoutStopSec")):
            continue  # those codes are our contract; patience is judged below by the program's own words
        if not (loop and words.startswith("KeepAlive is true")):
            yield _say(service, "warn", words, _fix(words, stop))
    yield from _patience(service, stop, ours)
    if service.manager == "launchd" and not launcher.limit_of_files(service):
        yield _say(service, "warn", "no SoftResourceLimits: 256 open files",
                   "NumberOfFiles 4096 under SoftResourceLimits (a leak still leaks: midwatch leaks)")  # fmt: skip
    if common.stamp(service.text) is not None and not common.untouched(service.text):
        yield _say(service, "warn", "midwatch made it and somebody has edited it since",
                   f"midwatch unit {service.manager} --check {service.path}")  # fmt: skip


def _fix(words: str, stop: float | None) -> str:
    if words.startswith(("TimeoutStopSec", "ExitTimeOut")) and stop is not None:
        return f"{words.split(maxsplit=1)[0]}={int(stop) + 15}"
    return next((fix for start, fix in _FIXES if words.startswith(start)), words.rpartition(": ")[2])


def _patience(service: Service, stop: float | None, ours: bool) -> Iterator[Checked]:
    """Drain longer than the manager's patience: it kills first (users.md 25)."""
    if ours or stop is None:
        return
    if service.manager == "systemd":
        key = "TimeoutStopSec"
        patience = systemd_check.span(last(parse(service.text), "Service", key) or "90") or 90.0
    else:
        key, patience = "ExitTimeOut", float(service.job.get("ExitTimeOut", 20) or 20)
    if patience < stop:
        yield _say(service, "warn", f"{key}={patience:g} < drain {stop:g}: the manager kills before it has drained",
                   f"{key}={int(stop) + 15}, or a shorter drain: one budget for both")  # fmt: skip


def _loop(ctx: Context, service: Service) -> Checked | None:
    """A launcher that ends at once while its server lives: KeepAlive or Restart=always starts it for ever."""
    if service.manager == "launchd":
        alive = service.job.get("KeepAlive")
        keeps = alive is True or (
            isinstance(alive, dict) and alive.get("SuccessfulExit") is not True and bool(alive)
        )
        always = alive is True
    else:
        policy = last(parse(service.text), "Service", "Restart") or "no"
        keeps, always = policy != "no", policy == "always"
    if not keeps or service.starts < figures.LOOP_STARTS:
        return None
    ended = managers.loop_words(service)
    words = launcher.last_words(ctx, service)
    other = launcher.holder(ctx, service)
    clean = ended == "exit 0"
    if not words and not other and not (clean and always):
        return None
    name = (
        "KeepAlive"
        if service.manager == "launchd"
        else f"Restart={last(parse(service.text), 'Service', 'Restart')}"
    )
    what = "launcher that exits 0" if clean else f"already-running exit ({ended or 'its log says so'})"
    said = f"{name} + {what} -> loop ({service.starts + 1} runs)"
    evidence: dict[str, object] = {"starts": service.starts, "last": ended, "log": words}
    offenders = [Offender("unit", service.name, service.pid or None, detail=service.path)]
    fix = "run the program in the foreground (its --foreground option, or midwatch run -- CMD)"
    if other:
        port, pid = other
        proc = ctx.sources.table().procs[pid]
        said += f"; port {port} is held by {naming.short(proc, 40)} (pid {pid}), which is none of it: {_shape(service)}"
        offenders.append(naming.offender(proc, ctx.sources.now(), f"holds port {port}"))
        evidence |= {"port": port, "holder": pid}
        fix = f"kill {pid}, then {fix}"
    elif words:
        said += f"; its log: {words}"
    return CHECK.say("fail", f"{service.name}: {said}", offenders=offenders, evidence=evidence, hint=fix)


def _shape(service: Service) -> str:
    """ORP-9: how that comes about under each manager."""
    if service.manager == "launchd":
        return "launchd ends the job's process group, a child in a session of its own escapes"
    return "systemd ends the whole group, so it was started outside of this unit"


def _linger(ctx: Context, mine: list[Service]) -> Iterator[Checked]:
    """User services that start by themselves end at logout unless the user lingers."""
    wanted = [one for one in mine if one.user and one.manager == "systemd" and "WantedBy=" in one.text]
    if not wanted or not ctx.linux:
        return
    name = _account(ctx)
    try:
        lingering = set(ctx.sources.names("/var/lib/systemd/linger"))
    except FileNotFoundError:
        lingering = set()
    except OSError as error:
        yield CHECK.say(
            "skip", f"whether user services survive a logout: {error.strerror}", hint="loginctl show-user"
        )
        return
    if name and name not in lingering:
        names = naming.some(one.name for one in wanted)
        yield CHECK.say(
            "warn", f"{names}: a user service ends at logout, linger is off for {name}",
            offenders=[Offender("unit", one.name, detail=one.path) for one in wanted],
            hint=f"loginctl enable-linger {name}", fix=("loginctl", "enable-linger", name),
        )  # fmt: skip


def _account(ctx: Context) -> str:
    try:
        rows = [line.split(":") for line in ctx.text("/etc/passwd").splitlines()]
    except OSError:
        return ""
    return next((row[0] for row in rows if len(row) > 2 and row[2] == str(ctx.sources.uid)), "")


def _say(service: Service, status: str, words: str, hint: str) -> Checked:
    named = Offender("unit", service.name, service.pid or None, detail=service.path)
    name = service.path.rpartition("/")[2] or service.name
    return CHECK.say("skip" if status == "skip" else "warn", f"{name}: {words}", offenders=[named], hint=hint)


CHECK = Check(
    id="DOC-22",
    category="services",
    title="unit files and plists",
    about=(
        "Your systemd units (with drop-ins) and launchd jobs: a launcher that exits while its server lives "
        "under KeepAlive or Restart fails; start limits that cannot be reached or do not exist, less patience "
        "than the drain, 256 open files, relative paths, WatchdogSec without notify, edited files of ours, "
        "and user services without linger warn."
    ),
    run=_run,
    services=True,
)
