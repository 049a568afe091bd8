"""The service that `midwatch run -- CMD` supervises: the same keys as in a file, given as options.

Project "run"; the caller's whole environment goes on to the command (it stands in for it), without what an
outer manager meant for us alone (SVC-10); exit 0 ends it unless `keep`; it gives up after `crash_hard`
crashes in a row, because somebody stands in front of it. Must not know how options are spelled on the
command line beyond their names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from midwatch.config.keys import SERVICE, find
from midwatch.config.launch import Around, make_launch
from midwatch.config.problems import ConfigError, Problem, Report
from midwatch.config.rules import make_rules
from midwatch.config.tables import read
from midwatch.model.service import Logs, ServiceSpec
from midwatch.policy import defaults

PROJECT = "run"
WHERE = "command line"
_SHORT = {
    "memory": "memory.hard",
    "grace": "stop.grace",
    "signal": "stop.signal",
    "env_file": "env_files",
    "rlimit": "rlimits",
    "port": "port",
    "stderr": "output.stderr",
    "pass": "pass_manager",
    **{
        name: f"restart.{name}" for name in ("crash", "crash_hard", "stable_after", "drain_code", "permanent")
    },
}
_NOT_HERE = ("command", "env", "env_pass", "instances", "needs", "autostart", "oneshot", "restart.on_clean")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_INTERPRETERS = re.compile(r"(python|pypy|node|ruby|perl|php|bash|sh|deno|bun)[0-9.]*")

# Option name -> key: every key of a service that makes sense for one command, short names first.
OPTIONS = {key.path.replace(".", "_"): key.path for key in SERVICE if key.path not in _NOT_HERE} | _SHORT


def for_command(
    argv: Sequence[str],
    *,
    name: str | None = None,
    keep: bool = False,
    env: Sequence[str] | Mapping[str, str | None] = (),
    stdin: Literal["null", "inherit"] = "null",
    environ: Mapping[str, str] | None = None,
    **options: object,
) -> ServiceSpec:
    """The spec of one command. Raises `ConfigError`, its keys being options.

    `options` are named as in `OPTIONS` and None means not given, e.g. nice="10", memory="512M", grace="5s",
    ready_http="http://...", crash_hard=0 (never give up).
    """
    report = Report(WHERE)
    table = _table(options)
    table["command"] = list(argv)
    table["env"] = _assignments(report, env)
    table.setdefault("restart", {}).setdefault("crash_hard", defaults.RUN_CRASH_HARD)
    table["restart"]["on_clean"] = "restart" if keep else "stop"
    values = read(report, (), table, SERVICE)
    here = _here(report)
    around = Around(here, PROJECT, os.environ if environ is None else environ, inherit=True)
    launch = make_launch(report, values, around)
    rules = make_rules(report, values, around)
    if report.problems:
        raise ConfigError([_as_option(problem) for problem in report.problems])
    logs = Logs(values["output.file"], values["output.files"], values["output.compress"])
    launch = msgspec.structs.replace(launch, stdin=stdin)
    return ServiceSpec(PROJECT, _name(argv, name), launch, rules, logs, WHERE)


def _table(options: Mapping[str, object]) -> dict[str, Any]:
    """The options as the table that a file would have."""
    table: dict[str, Any] = {}
    for option, value in options.items():
        if option not in OPTIONS:
            raise TypeError(f"for_command() got an unexpected keyword argument {option!r}")
        if not _given(OPTIONS[option], value):
            continue
        *groups, last = OPTIONS[option].split(".")
        inner = table
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = "off" if last == "crash_hard" and str(value) == "0" else _number(OPTIONS[option], value)
    return table


def _number(path: str, value: object) -> object:
    """A command line has texts only: whole numbers become numbers where a key takes one ("3.5" stays wrong)."""
    if path == "rlimits" and isinstance(value, Mapping):
        return {name: _limit(item) for name, item in value.items()}
    schema = find(path).kind.schema
    takes = any(part.get("type") == "integer" for part in (schema, *schema.get("anyOf", ())))
    return int(value) if takes and isinstance(value, str) and _WHOLE.fullmatch(value.strip()) else value


def _limit(value: object) -> object:
    """NUMBER, SIZE, unlimited, or SOFT:HARD of these."""
    if isinstance(value, str) and ":" in value:
        return [_limit(part) for part in value.split(":")]
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value.strip()) else value


def _given(path: str, value: object) -> bool:
    """None, an empty list and a flag that was not set are how a command line says "not given"."""
    empty = isinstance(value, list | tuple) and not value
    return not (value is None or empty or (value is False and find(path).default is False))


def _assignments(report: Report, env: Sequence[str] | Mapping[str, str | None]) -> dict[str, Any]:
    if isinstance(env, Mapping):
        return {name: False if value is None else value for name, value in env.items()}
    found: dict[str, Any] = {}
    for item in env:
        name, equals, value = item.partition("=")
        if not equals or not name:
            report.error(("env",), f"expected NAME=VALUE, found {item[:60]!r}", "for example --env PORT=8080")
        found[name or "_"] = value
    return found


def _here(report: Report) -> str:
    try:
        return os.getcwd()
    except OSError as error:
        report.error(
            ("cwd",), f"the current folder cannot be found: {error.strerror}", "change to one that exists"
        )
        return "/"


def _name(argv: Sequence[str], name: str | None) -> str:
    """The given name, or what the command is called: the script of an interpreter, else the program."""
    if name is not None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            message = f"{name[:60]!r} is not a name for a service"
            raise ConfigError([Problem(WHERE, 0, "--name", message, "letters, digits, _ and -, at most 64")])
        return name
    program = os.path.basename(argv[0])
    script = (
        argv[1]
        if len(argv) > 1 and not argv[1].startswith("-") and _INTERPRETERS.fullmatch(program)
        else program
    )
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", os.path.splitext(os.path.basename(script))[0]).strip("-")
    return plain[:64] or "command"


def _as_option(problem: Problem) -> Problem:
    """Name the option instead of the key, as the caller may have spelled it."""
    key, bracket, rest = problem.key.partition("[")
    key, dot, entry = key.partition(".") if key.startswith(("env.", "rlimits.")) else (key, "", "")
    short = next((option for option, path in _SHORT.items() if path == key), key.replace(".", "_"))
    shown = "COMMAND" if key == "command" else "--" + short.replace("_", "-")
    return msgspec.structs.replace(problem, key=shown + (" " if dot else "") + entry + bracket + rest)
