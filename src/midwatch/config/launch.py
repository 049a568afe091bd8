"""The spawn facts of a service: command, folder, environment, limits.

Decides what of the caller's environment reaches the service and in which order its sources count
(environment.py has the names). What would hold the service as things are now is a warning, not an error.
Must not know the rules of its life.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from midwatch.config import dotenv, environment
from midwatch.config.kind import passable
from midwatch.config.problems import Problem, Report, dotted, quoted
from midwatch.config.tables import Path, Values
from midwatch.model.service import Launch


class Around(msgspec.Struct):
    """What a service is read in: the file's folder, the project, and the caller's environment.

    `inherit`: the caller's whole environment goes on to the service (`midwatch run`). `outer`: seconds after
    which an outer manager kills us during a stop, if known.
    """

    folder: str
    project: str
    environ: Mapping[str, str]
    inherit: bool = False
    outer: float | None = None


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
    if not passable(cwd):
        report.error(values.path("cwd"), f"{quoted(cwd)} is not UTF-8 text", "rename the folder")
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
        memory_hard=None if values["memory.hard"] == "auto" else values["memory.hard"],
        contain=values["contain"],
        stderr=values["output.stderr"],
        pty=values["pty"],
        trace=values["trace"],
        port=values["port"],
        pass_manager=_passed(report, values),
        ambient=ambient,
    )


def _passed(report: Report, values: Values) -> tuple[str, ...]:
    """The outer manager's variables that go through, each a name of one (SVC-10)."""
    for name in values["pass_manager"] or ():
        if name.startswith(environment.SOCKETS):
            report.error(values.path("pass_manager"), f"{quoted(name)} is about sockets, which stay with midwatch",
                         "`listen` opens sockets for a service")  # fmt: skip
        elif not environment.of_outer(name):
            report.error(values.path("pass_manager"), f"{quoted(name)} is not a variable of an outer manager",
                         "`env_pass` passes on any other one")  # fmt: skip
    for name in values["env_pass"] or ():
        if environment.of_outer(name):
            report.error(values.path("env_pass"), f"{quoted(name)} is meant for midwatch itself",
                         "`pass_manager` lets it through")  # fmt: skip
    return tuple(sorted(set(values["pass_manager"] or ())))


def _env(
    report: Report, values: Values, around: Around, files: tuple[str, ...]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The environment, and the names in it that only mirror the caller's shell."""
    from_files = env_files(report, values.path("env_files"), files)
    other_user = values["user"] is not None
    own = values["env"] or {}
    caller = {name: value for name, value in around.environ.items() if passable(name + value)}
    for name in sorted(around.environ.keys() - caller.keys()):
        if around.inherit or name in environment.BASE or name in (values["env_pass"] or ()):
            report.warn(values.base, f"the variable {quoted(name)} is not UTF-8 text and is left out")
    if around.inherit:
        env = from_files | environment.scrubbed(caller, other_user)
        environment.apply(env, own)
        return env, ()
    base = environment.base(caller, other_user)
    chosen = from_files | environment.granted(caller, values["env_pass"] or ())
    env = base | chosen
    environment.apply(env, own)
    return env, tuple(name for name in base if name not in chosen and name not in own)


def env_files(report: Report, path: Path, files: tuple[str, ...]) -> dict[str, str]:
    """The variables of all env files, later ones winning. A problem in one names that file and its line."""
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
