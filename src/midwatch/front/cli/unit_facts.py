"""The facts of a generated unit: from the configuration, the account, and where Midwatch lies.

Nothing of the caller's shell may get in but MIDWATCH_HOME: PATH and HOME come from the account and the
platform, so that root's cron and a person's terminal make the same bytes (UNI-7). Must not know a file format.
Tests: tests/front/test_unit.py.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from shlex import join
from signal import Signals
from typing import Any

from midwatch import __version__, config
from midwatch.engine.layout import Layout
from midwatch.front.cli import project
from midwatch.front.cli.declare import Failure, Usage
from midwatch.front.cli.single import alone, one_of
from midwatch.host.units import figures
from midwatch.host.units.common import Facts, Shape, ladder, layers_ladder, longest_start

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAC_PATH = "/opt/homebrew/bin:/opt/homebrew/sbin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_ALWAYS = "readiness, health, budgets and back-off, the verified stop, logs in 'midwatch logs'"
_CHECKS = "the checks before a start: folder, interpreter, port, env files"


def collect(
    kind: str, name: str | None, shape: Shape, *, file: str | None, user: bool, run_as: str | None,
    path: str | None, http: str | None, manager: str | None,
) -> tuple[Facts, list[str]]:  # fmt: skip
    """The facts and the configuration's warnings. Raises Usage, Failure, ConfigError."""
    source = project.given(file)
    account, entry = _account(user, run_as)
    path = path or (MAC_PATH if kind == "launchd" else SYSTEM_PATH)
    loaded = config.load(source, environ={"PATH": path, "HOME": entry.pw_dir, "LANG": "C.UTF-8"})
    home = os.environ.get("MIDWATCH_HOME")
    manager = manager or ("midwatch" if shape in ("run", "daemon") else "systemd")
    flags = {"--user": user, "--exec": shape == "exec", "--direct": shape == "direct"}
    values = {"--as": run_as, "--path": path if path not in (SYSTEM_PATH, MAC_PATH) else None, "--http": http}
    if kind == "cron":
        values["--manager"] = manager
    given = [flag for flag, on in flags.items() if on]
    given += [word for flag, value in values.items() if value for word in (flag, value)]
    specs = loaded.specs
    about: dict[str, Any] = {"stop": layers_ladder(specs), "start": figures.DAEMON_START, "services": len(specs)}
    if name is not None:
        spec = one_of(loaded, name)
        about, specs = _about(spec, shape), (spec,)
        account = account if spec.launch.user is None or shape != "direct" else spec.launch.user
    about = {"name": "", "folder": os.path.dirname(loaded.path), **about}
    again = join(["midwatch", "unit", kind, *([name] if name else []), "-f", loaded.path, *given])
    return Facts(
        project=loaded.project, file=loaded.path, shape=shape,
        midwatch=program(), version=__version__, again=again, path=path, account_home=entry.pw_dir,
        files=_files(specs), home=None if home is None else os.path.abspath(home), user_manager=user, account=account,
        uid=entry.pw_uid, health_url=http, manager=manager, state=_state(home, entry), **about,
    ), [str(warning) for warning in loaded.warnings]  # fmt: skip


def program() -> tuple[str, ...]:
    """The words that start Midwatch from anywhere: its own command if there is one."""
    for found in (Path(sys.argv[0]), Path(sys.executable).with_name("midwatch")):
        if found.name == "midwatch" and found.is_file() and os.access(found, os.X_OK):
            return (str(found.absolute()),)
    return (sys.executable, "-P", "-m", "midwatch")  # -P: not from the folder it is started in


def _account(user: bool, run_as: str | None) -> tuple[str | None, pwd.struct_passwd]:
    """Whom the system's manager has to name, and who it is."""
    if user and run_as:
        raise Usage("--user and --as exclude each other: your session's manager runs everything as you")
    try:
        entry = pwd.getpwnam(run_as) if run_as else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise Failure(f"there is no user {run_as or os.geteuid()} here; nothing was made", 78) from None
    named = run_as or (entry.pw_name if os.geteuid() != 0 else None)
    return (None if user else named), entry


def _about(spec: Any, shape: Shape) -> dict[str, Any]:
    """What one service adds. Raises Usage when it cannot stand alone."""
    if spec.rules.schedule is not None:
        raise Usage(f"{spec.id} runs by a schedule, which the daemon keeps; nothing was made; make the daemon's unit")
    needs = tuple(sorted(other.rpartition("/")[2] for other in spec.rules.needs))
    spec, launch = alone(spec), spec.launch
    from_files = _names_in(launch.env_files)
    own = {key: value for key, value in launch.env.items() if key not in launch.ambient and key not in from_files}
    within = spec.rules.ready.within if spec.rules.ready else 0.0
    facts: dict[str, Any] = {
        "name": spec.name, "needs": needs, "oneshot": spec.rules.oneshot, "memory_hard": launch.memory_hard,
        "stop": ladder(spec), "start": longest_start(spec) if shape == "run" else within,
    }  # fmt: skip
    if shape != "run":
        facts["signal"] = Signals(spec.rules.stop.signal).name
        facts["skipped"] = _skipped(spec, shape)
    if shape == "direct":
        argv = (_resolved(launch), *launch.argv[1:])
        facts |= {"argv": argv, "env": own, "env_files": launch.env_files, "umask": launch.umask, "nice": launch.nice,
                  "folder": launch.cwd}  # fmt: skip
    return facts


def _resolved(launch: Any) -> str:
    from shutil import which

    found: str | None = launch.argv[0]
    if "/" not in launch.argv[0]:
        found = which(launch.argv[0], path=launch.env.get("PATH"))
    if found is None:
        raise Failure(f"{launch.argv[0]} is not found in {launch.env.get('PATH')}; nothing was made; see --path", 78)
    return os.path.normpath(os.path.join(str(launch.cwd), found))


def _names_in(files: tuple[str, ...]) -> set[str]:
    """Variables of env files: they stay in their files, which are as private as their owner made them."""
    from midwatch.config import dotenv

    return {name for file in files for name in dotenv.parse(Path(file).read_text())}


def _skipped(spec: Any, shape: Shape) -> tuple[str, ...]:
    """UNI-6: what this shape leaves out."""
    rules, launch = spec.rules, spec.launch
    lines = [_ALWAYS] if shape == "exec" else [_CHECKS, _ALWAYS]
    for name, probe in (("ready", rules.ready), ("health", rules.health), ("deep", rules.deep)):
        if probe is not None:
            lines.append(f"the {name} probe that {spec.name} has")
    if rules.on_clean == "restart" and not rules.oneshot:
        lines.append("the restart after exit code 0: for its manager that is the end")
    if rules.file_watch is not None:
        lines.append("the restart when its files change")
    if shape == "direct":
        left = {"pty": launch.pty, "oom_score_adj": launch.oom_score_adj, "port": launch.port, "listen": launch.listen}
        lines += [f"{key}, which {spec.name} sets" for key, value in left.items() if value]
        lines += [f"rlimits.{key}" for key in launch.rlimits if key != "nofile"]
    return tuple(lines)


def _files(specs: tuple[Any, ...]) -> tuple[int, int]:
    """Open files: never less than what a service asks for."""
    soft, hard = figures.FILES_SOFT, figures.FILES_HARD
    for spec in specs:
        for value in spec.launch.rlimits.get("nofile", ()):
            soft, hard = max(soft, value or 0), max(hard, value or 0)
    return soft, hard


def _state(home: str | None, entry: pwd.struct_passwd) -> str:
    if home is None and entry.pw_uid != os.geteuid():
        return f"{entry.pw_dir}/.local/state/midwatch"
    return str(Layout.default().home)
