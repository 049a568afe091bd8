"""`midwatch run -- CMD`: supervise one command in the foreground, without a configuration.

Every option is a key of the configuration by another name; config/ reads and checks them. This process
then becomes the keeper (engine/launch.py). The words after `--`, or from the first word that is no option,
belong to CMD untouched. Must not start a process itself. Tests: tests/front/test_run.py.
"""

from __future__ import annotations

import os
from typing import Any, Literal

from midwatch.engine.layout import Layout
from midwatch.front.cli import instances, jobs, managed
from midwatch.front.cli.declare import Arg, Failure, Opt, Usage, Verb

MOST_NAMESAKES = 100  # runs of the same command at once that get a number of their own
_LIMITS = (
    ("memory", "SIZE", "What it and everything it starts may hold, e.g. 512M; over it it is ended and started again."),
    ("nice", "N", "Scheduling priority, -20 to 19; higher is kinder to others."),
    ("oom_score_adj", "N", "How early the kernel picks it when memory runs out, -1000 to 1000."),
    ("umask", "MODE", "Permissions that new files do not get, e.g. 027."),
    ("user", "USER", "Run it as this user (needs root)."),
    ("cwd", "DIR", "Run it in this folder."),
    ("contain", "HOW", "A cgroup of its own: auto, cgroup (required) or none."),
    ("crash", "N", "Crashes in a row before it counts as degraded."),
    ("crash_hard", "N", "Give up after so many crashes in a row; 0 is never. Default: 10."),
    ("stable_after", "TIME", "A run longer than this starts the count anew."),
    ("drain_code", "CODE", "The exit code that says: I left on purpose, start me again."),
    ("signal", "NAME", "What asks it to stop. Default: TERM."),
    ("grace", "TIME", "How long it has to leave before it is killed. Default: 10s."),
    ("ready_http", "URL", "Ready once this URL answers."),
    ("ready_tcp", "HOST:PORT", "Ready once this address accepts a connection."),
    ("ready_log", "REGEX", "Ready once a line of output matches."),
    ("ready_within", "TIME", "How long a start may take to become ready."),
    ("health_http", "URL", "Healthy while this URL answers."),
    ("health_tcp", "HOST:PORT", "Healthy while this address accepts a connection."),
    ("health_every", "TIME", "Pause between two health checks."),
    ("health_failures", "N", "Failures in a row that mean unhealthy."),
    ("port", "PORT", "The port it serves."),
    ("stderr", "HOW", "merge: one file with stdout, in exact order; own: a file of its own."),
)


def _run(
    command: list[str],
    name: str | None,
    keep: bool,
    env: list[str],
    env_file: list[str],
    rlimit: list[str],
    permanent: list[str],
    pty: bool,
    json: bool,
    in_place: bool = False,
    file: str | None = None,
    **options: Any,
) -> int:
    from midwatch import config
    from midwatch.engine import launch

    if not command:
        raise Usage("which command? nothing was started; for example: midwatch run -- python server.py")
    given = {**options, "env_file": env_file or None, "rlimits": _pairs(rlimit) or None, "pty": pty or None}
    if permanent:
        given["permanent"] = [int(code) if code.isdigit() else code for code in permanent]
    if in_place:
        managed.check_options({"name": name, "keep": keep, "permanent": permanent, "json": json, **given})
    stdin: Literal["null", "inherit"] = "inherit" if not os.isatty(0) or os.isatty(2) else "null"
    if file is not None:
        layout, spec = _of_file(file, command, {"name": name, "keep": keep, "env": env, **given})
    else:
        spec = config.for_command(
            command, name=name, keep=keep, env=env, stdin=stdin, environ=os.environ, **given
        )
        layout, spec = (Layout.default(), spec) if in_place else _instance(spec, named=name is not None)
    if in_place:
        managed.become(spec)
    launch.foreground(
        layout, [spec], mode="foreground", project=spec.project, source="command line", by=jobs.by("run"),
        json=json, outer=managed.look() if json else managed.hint(managed.look()),
    )
    return 1  # not reached: this process has become the keeper


def _of_file(file: str, words: list[str], given: dict[str, Any]) -> tuple[Layout, Any]:
    """One service of a configuration, under its own id: only one run of it at a time."""
    from midwatch.front.cli.single import from_file

    others = ["--" + name.replace("_", "-").replace("rlimits", "rlimit") for name, value in given.items() if value]
    spec = from_file(file, words, others)
    return Layout.default().foreground(f"{spec.project}.{spec.name}"), spec


def _instance(spec: Any, named: bool) -> tuple[Layout, Any]:
    """The folder of this run; a second one of the same command gets a number, a named one does not."""
    import msgspec

    home = Layout.default()
    for number in range(1, MOST_NAMESAKES + 1):
        name = spec.name if number == 1 else f"{spec.name[:60]}_{number}"
        layout = home.foreground(name)
        if named or not instances.locked(layout):
            return layout, msgspec.structs.replace(spec, name=name)
    raise Failure(
        f"{MOST_NAMESAKES} runs of {spec.name} are there already; nothing was started; name this one with "
        "--name"
    )


def _pairs(words: list[str]) -> dict[str, str]:
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Usage(f"--rlimit {word!r}: write NAME=VALUE, for example nofile=4096; nothing was started")
        pairs[name] = value
    return pairs


_OPTS = (
    Opt("name", ("--name",), "What to call it; default: after the command.", "text", "NAME"),
    Opt("keep", ("--keep",), "Restart it after exit code 0 as well."),
    Opt("env", ("-e", "--env"), "Set a variable; may be repeated.", "many", "NAME=VALUE"),
    Opt(
        "env_file",
        ("--env-file",),
        "Read NAME=VALUE lines; may be repeated.",
        "many",
        "FILE",
        complete="file",
    ),
    Opt(
        "rlimit",
        ("--rlimit",),
        "A resource limit, e.g. nofile=4096; may be repeated.",
        "many",
        "NAME=VALUE",
    ),
    Opt(
        "permanent", ("--permanent",), "An exit code that says: trying again cannot help.", "many", "CODE"
    ),
    Opt("pty", ("--pty",), "Give it a terminal of its own."),
    Opt(
        "in_place",
        ("--exec",),
        "Check, set limits and become CMD: for a manager that does the rest. No health, no restarts, no records.",
    ),
    Opt(
        "pass_manager",
        ("--pass",),
        "A variable of the outer manager that CMD may see, e.g. INVOCATION_ID; may be repeated.",
        "many",
        "NAME",
    ),
    Opt(
        "file",
        ("-f", "--file"),
        "Supervise one service of this configuration: CMD is its name.",
        "text",
        "FILE",
        complete="file",
    ),
    Opt("json", ("--json",), "Tell what happens on stderr as one JSON object a line, as 'midwatch events --json'."),
    *(Opt(dest, ("--" + dest.replace("_", "-"),), text, "text", meta) for dest, meta, text in _LIMITS),
)
_COMMON = ("name", "keep", "env", "env_file", "cwd", "memory", "grace", "crash_hard", "ready_http", "ready_log", "json")


def _rank(opt: Opt) -> int:
    """The common options stand first in the help, the others as they are declared."""
    return _COMMON.index(opt.dest) if opt.dest in _COMMON else len(_COMMON)


VERB = Verb(
    name="run",
    help="Supervise one command in the foreground.",
    detail=(
        "Starts CMD, shows its output, and restarts it when it fails. When CMD ends with 0 that is the end, "
        "unless --keep. Ctrl-C stops CMD and everything it started. Options of midwatch come before CMD; "
        "everything from CMD on belongs to it. CMD gets the whole environment of the caller (a service of "
        "'midwatch up' gets a small part of it, and what its file grants)."
    ),
    examples=(
        "midwatch run -- python server.py --port 8787",
        "midwatch run --memory 2G --grace 5s --name web -- ./serve.sh",
        "midwatch run -f /srv/shop/midwatch.toml web",
    ),
    run=_run,
    opts=tuple(sorted(_OPTS, key=_rank)),
    arg=Arg("command", "CMD", "the command and its arguments.", many=True, rest=True),
    codes=(
        "Exit codes: 0 it ended with 0 or was stopped as asked, 2 usage, 3 gave up or held, 4 that name already "
        "runs, 78 a wrong option, a port that is taken, or an unwritable state folder. A failure of CMD is restarted, "
        "so its own code is in 'midwatch why', never the code of run. With --exec the code is CMD's own, "
        "or 78 when it cannot start."
    ),
)
