"""From the values of one [service.NAME] table to its `ServiceSpec`s (several with `instances`).

Decides what belongs together and what contradicts: probe targets, timers, exit codes, environment, paths. What a service
needs is settled later, when all services are known (graph.py). Must not read the file of the configuration itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from midwatch.config import dotenv, environment
from midwatch.config.keys import SERVICE
from midwatch.config.kinds import NAME, described
from midwatch.config.problems import Problem, Report, dotted, quoted
from midwatch.config.tables import Path, Values, read
from midwatch.model import units
from midwatch.model.service import Backoff, Budgets, Launch, Logs, Probe, Rules, ServiceSpec, Stop, Window

TARGETS = {
    "ready": ("http", "tcp", "command", "log", "file", "notify"),
    "health": ("http", "tcp", "command", "file"),
}


class Around(msgspec.Struct):
    """What a service is read in: the file's folder, the project, and the caller's environment.

    `inherit`: the caller's whole environment goes on to the service (`midwatch run`).
    """

    folder: str
    project: str
    environ: Mapping[str, str]
    inherit: bool = False


class Draft(msgspec.Struct):
    """A service before its needs are settled: one spec for each instance."""

    name: str
    base: Path
    specs: list[ServiceSpec]
    values: Values


def draft(report: Report, name: str, table: Any, around: Around) -> Draft | None:
    """Read one service; None when there is nothing to build on."""
    base = ("service", name)
    if not isinstance(table, dict):
        report.error(
            base, f"expected a table, found {described(table)}", f"write [service.{name}] and its keys below"
        )
        return None
    values = read(report, base, table, SERVICE)
    names = _names(report, name, values)
    launch = make_launch(report, values, around)
    rules = make_rules(report, values, around.folder)
    logs = Logs(values["output.file"], values["output.files"], values["output.compress"])
    source = f"{report.file}:{report.place(base)[0]}"
    specs = []
    for number, each in enumerate(names, 1):
        own = launch
        if values["instances"] is not None:
            own = msgspec.structs.replace(launch, env={**launch.env, "MIDWATCH_INSTANCE": str(number)})
        specs.append(ServiceSpec(around.project, each, own, rules, logs, source, values["autostart"]))
    return Draft(name, base, specs, values)


def _names(report: Report, name: str, values: Values) -> list[str]:
    count = values["instances"]
    names = [name] if count is None else [f"{name}-{number}" for number in range(1, count + 1)]
    if not NAME.fullmatch(name):
        report.error(
            values.base, f"{quoted(name)} is not a name for a service", "letters, digits, _ and -, at most 64"
        )
    elif not NAME.fullmatch(names[-1]):
        report.error(
            values.path("instances"),
            f"{quoted(names[-1])} is longer than 64 characters",
            "use a shorter name",
        )
    if len(names) > 1 and values["port"] is not None:
        hint = "give each its own by $MIDWATCH_INSTANCE, or be sure that they share it (SO_REUSEPORT)"
        report.warn(values.path("port"), f"{len(names)} instances serve the same port {values['port']}", hint)
    return names


# -- launch --------------------------------------------------------------------------------------------------------


def make_launch(report: Report, values: Values, around: Around) -> Launch:
    """The spawn facts of a service."""
    cwd = os.path.normpath(os.path.join(around.folder, values["cwd"] or ""))
    files = tuple(os.path.normpath(os.path.join(around.folder, name)) for name in values["env_files"] or ())
    argv = values["command"] or ("",)
    env, ambient = _env(report, values, around, files)
    file = environment.resolved(argv[0], env.get("PATH", ""), cwd)
    if environment.is_python(argv[0], file):
        removed = values["env"] or {}
        env |= {
            name: value
            for name, value in environment.PYTHON.items()
            if name not in env and name not in removed
        }
    _doubts(report, values, argv[0], file, cwd)
    if values["pty"] and values["output.stderr"] == "own":
        report.error(values.path("output.stderr"), "a terminal has one stream only", "remove pty or stderr")
    return Launch(
        argv=argv,
        cwd=cwd,
        env=dict(sorted(env.items())),
        env_files=files,
        user=values["user"],
        umask=values["umask"],
        nice=values["nice"],
        oom_score_adj=values["oom_score_adj"],
        rlimits=values["rlimits"] or {},
        memory_hard=values["memory.hard"],
        contain=values["contain"],
        stderr=values["output.stderr"],
        pty=values["pty"],
        port=values["port"],
        ambient=ambient,
    )


def _env(
    report: Report, values: Values, around: Around, files: tuple[str, ...]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The environment, and the names in it that only mirror the caller's shell."""
    from_files = env_files(report, values.path("env_files"), files)
    other_user = values["user"] is not None
    own = values["env"] or {}
    if around.inherit:
        env = from_files | environment.scrubbed(around.environ, other_user)
        environment.apply(env, own)
        return env, ()
    base = environment.base(around.environ, other_user)
    chosen = from_files | environment.granted(around.environ, values["env_pass"] or ())
    env = base | chosen
    environment.apply(env, own)
    return env, tuple(name for name in base if name not in chosen and name not in own)


def env_files(report: Report, path: Path, files: tuple[str, ...]) -> dict[str, str]:
    """The variables of all env files, later ones winning. A bad one is a problem in that file, at its line."""
    found: dict[str, str] = {}
    for at, file in enumerate(files):
        where = (*path, at) if (*path, at) in report.places else path
        try:
            with open(file, "rb") as stream:
                data = stream.read(dotenv.MOST_BYTES + 1)
            if len(data) > dotenv.MOST_BYTES:
                report.error(
                    where, f"{quoted(file)} is larger than 1 MiB", "an env file holds NAME=VALUE lines"
                )
                continue
            found |= dotenv.parse(data.decode())
        except OSError as error:
            report.error(
                where,
                f"cannot read {quoted(file)}: {error.strerror}",
                "it is looked for relative to the file",
            )
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            report.problems.append(
                Problem(file, line, dotted(path), "is not UTF-8 text", "an env file holds NAME=VALUE lines")
            )
        except dotenv.EnvFileError as error:
            report.problems.append(
                Problem(file, error.line, dotted(path), str(error), "one NAME=VALUE a line")
            )
    return found


def _doubts(report: Report, values: Values, program: str, file: str | None, cwd: str) -> None:
    """What would hold the service at its start as things are now."""
    if not os.path.isdir(cwd):
        report.warn(
            values.path("cwd"), f"{quoted(cwd)} is not a folder now", "the service is held until it is"
        )
    elif file is None and "command" not in values.failed:
        report.warn(
            values.path("command"), f"{quoted(program)} is not found now", "the service is held until it is"
        )
    user = values["user"]
    if user is not None and not user.isdigit() and not _known_user(user):
        report.warn(
            values.path("user"), f"there is no user {quoted(user)} now", "the service is held until there is"
        )


def _known_user(name: str) -> bool:
    import pwd

    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


# -- rules ---------------------------------------------------------------------------------------------------------


def make_rules(report: Report, values: Values, folder: str) -> Rules:
    """The rules of a service, except its needs."""
    names = ("crash", "stable_after", "crash_hard", "crash_slow")
    windows = [
        name + tail for name in ("clean", "drain", "unhealthy", "memory", "killed") for tail in ("", "_slow")
    ]
    budgets = Budgets(**{name: values[f"restart.{name}"] for name in (*names, *windows)})
    backoff = Backoff(**{name: values[f"backoff.{name}"] for name in Backoff.__struct_fields__})
    stop = Stop(values["stop.signal"], values["stop.grace"], values["stop.verify"])
    _check_windows(report, values)
    _check_ladders(report, values)
    _check_codes(report, values)
    return Rules(
        budgets=budgets,
        backoff=backoff,
        stop=stop,
        oneshot=values["oneshot"],
        on_clean=values["restart.on_clean"],
        drain_code=values["restart.drain_code"],
        permanent_codes=values["restart.permanent"],
        ready=_probe(report, values, "ready", folder),
        health=_probe(report, values, "health", folder),
    )


def _probe(report: Report, values: Values, group: str, folder: str) -> Probe | None:
    if not values.has(group):
        return None
    targets = [
        name
        for name in TARGETS[group]
        if f"{group}.{name}" in values.given and values[f"{group}.{name}"] is not False
    ]
    if not targets:
        report.error((*values.base, group), "asks nothing", f"give one of {', '.join(TARGETS[group])}")
    for extra in targets[1:]:
        report.error(
            values.path(f"{group}.{extra}"),
            f"a second target beside {group}.{targets[0]}",
            "a probe has exactly one",
        )
    if values[f"{group}.json_status"] is not None and "http" not in targets:
        report.error(values.path(f"{group}.json_status"), "needs an http target", f"give {group}.http")
    if values[f"{group}.any_owner"] and not {"http", "tcp"} & set(targets):
        report.error(
            values.path(f"{group}.any_owner"), "needs an http or tcp target", "only a listener has an owner"
        )
    timers = ("within", "every", "timeout") if group == "ready" else ("every", "timeout", "failures")
    fields: dict[str, Any] = {
        name: values[f"{group}.{name}"] for name in (*TARGETS[group], "json_status", "any_owner", *timers)
    }
    if fields["file"] is not None:
        fields["file"] = os.path.normpath(os.path.join(folder, fields["file"]))
    return Probe(**fields)


def _check_windows(report: Report, values: Values) -> None:
    """A slow window that is no longer than the fast one can never see what the fast one misses."""
    for name in ("clean", "drain", "unhealthy", "memory", "killed"):
        fast: Window | None = values[f"restart.{name}"]
        slow: Window | None = values[f"restart.{name}_slow"]
        if fast and slow and slow.seconds <= fast.seconds:
            written = f"restart.{name}_slow" if f"restart.{name}_slow" in values.given else f"restart.{name}"
            hint = f"make {name}_slow the longer window"
            report.warn(values.path(written), f"{name}_slow looks back no further than {name}", hint)


def _check_ladders(report: Report, values: Values) -> None:
    """Timers that have to be in order: the inner one has to end before the outer one does."""
    pairs = [("backoff.first", "backoff.most"), ("backoff.degraded_first", "backoff.degraded_most")]
    if values.has("ready"):
        pairs += [("ready.timeout", "ready.within"), ("ready.every", "ready.within")]
    for inner, outer in pairs:
        if values[inner] > values[outer]:
            written = inner if inner in values.given else outer
            shown = f"{inner} ({units.exact_seconds(values[inner])}) is longer than {outer} ({units.exact_seconds(values[outer])})"
            report.error(values.path(written), shown, f"make {outer} the longer one")


def _check_codes(report: Report, values: Values) -> None:
    """An exit code has one meaning."""
    drain, permanent = values["restart.drain_code"], values["restart.permanent"]
    if drain is not None and drain in permanent:
        report.error(
            values.path("restart.drain_code"), f"{drain} is also a permanent code", "a code has one meaning"
        )
    if values["oneshot"] and values["restart.on_clean"] == "restart" and "restart.on_clean" in values.given:
        report.error(
            values.path("restart.on_clean"), "a oneshot is done when it exits with 0", "remove one of the two"
        )
