"""`midwatch unit`: the file with which an outer manager runs Midwatch or one of its services.

Collects the facts (configuration, account, paths), hands them to host/units, and prints, writes or compares
the text. The same facts give the same bytes, so nothing of the caller's shell is among them but MIDWATCH_HOME.
Must not know a file format. Tests: tests/front/test_unit.py.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from midwatch.front.cli import project
from midwatch.front.cli.declare import FILE, JSON, Arg, Failure, Opt, Usage, Verb
from midwatch.front.cli.render import say_json

KINDS = ("systemd", "launchd", "supervisord", "cron")
_SUFFIX = {"systemd": ".service", "launchd": ".plist", "supervisord": ".conf", "cron": ".sh"}
MOST_BYTES = 1 << 20


def _run(
    words: list[str], user: bool, file: str | None, out: str | None, check: str | None, exec_: bool, direct: bool,
    run_as: str | None, path: str | None, http: str | None, manager: str | None, json: bool,
) -> int:  # fmt: skip
    kind, name = _what(words)
    if sum((exec_, direct)) > 1:
        raise Usage("--exec and --direct exclude each other; nothing was done")
    if name is None and (exec_ or direct or http):
        raise Usage("--exec, --direct and --http are about one service: name it; nothing was done")
    if (manager or http) and kind != "cron":
        raise Usage("--manager and --http belong to 'midwatch unit cron'; nothing was done")
    if out and check:
        raise Usage("-o and --check exclude each other; nothing was done")
    maker: ModuleType = import_module(f"midwatch.host.units.{kind}")
    judge = import_module("midwatch.host.units.systemd_check") if kind == "systemd" else maker
    if check is not None and file is None and project.find() is None:
        return _checked(check, [], judge.findings(_read(check)), json)  # somebody's unit: no configuration to it
    from midwatch.front.cli.unit_facts import collect

    shape: Any = "exec" if exec_ else "direct" if direct else "run" if name else "daemon"
    facts, warnings = collect(
        kind, name, shape, file=file, user=user, run_as=run_as, path=path, http=http, manager=manager
    )
    for warning in warnings:
        print(f"midwatch unit: warning: {warning}", file=sys.stderr)
    text = maker.make(facts)
    if check is not None:
        from midwatch.host.units.common import drift, stamp

        found = _read(check)
        changes = drift(found, text) if stamp(found) else ["it bears no stamp: midwatch has not made it"]
        return _checked(check, changes, judge.findings(found, facts.stop), json)
    return _given(kind, maker, facts, text, out, json)


def _what(words: list[str]) -> tuple[str, str | None]:
    if not words or words[0] not in KINDS:
        said = f"there is no kind {words[0]!r}; " if words else "which kind? "
        raise Usage(f"{said}one of {', '.join(KINDS)}; nothing was done")
    if len(words) > 2:
        raise Usage(f"one service at a time: {words[2]!r} is too many; nothing was done")
    return words[0], words[1] if len(words) > 1 else None


def _given(kind: str, maker: ModuleType, facts: Any, text: str, out: str | None, json: bool) -> int:
    """Print it or write it, and say what to do with it: to write it is the first thing."""
    path = None if out is None else _write(Path(out), kind, facts, text)
    commands: list[str] = maker.install_commands(facts, path)[path is not None :]
    if json:
        shown = {"kind": kind, "name": facts.name or None, "shape": facts.shape, "path": path, "text": text}
        say_json({**shown, "commands": commands, "notes": list(facts.skipped)})
        return 0
    if path is None:
        sys.stdout.write(text)
    else:
        print(f"written: {path}")
    sys.stdout.flush()
    for command in commands:
        print(f"  crontab: {command}" if " * * " in command else f"  $ {command}", file=sys.stderr)
    return 0


def _write(path: Path, kind: str, facts: Any, text: str) -> str:
    """Put it there at once and whole. What is not ours, or was edited, is left alone."""
    from midwatch.host.units.common import untouched

    if path.is_dir():
        label = import_module("midwatch.host.units.launchd").label
        path = path / ((label(facts) if kind == "launchd" else facts.unit) + _SUFFIX[kind])
    if path.exists() and not untouched(_read(str(path))):
        raise Failure(
            f"{path} is not as midwatch has made it; nothing was written; look at it with --check, move it away"
        )
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text)
        new.chmod(0o755 if kind == "cron" else 0o644)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return str(path.absolute())


def _read(path: str) -> str:
    with open(path, "rb") as stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Failure(f"{path} is larger than 1 MiB; it was not read; this is no such file")
    return data.decode("utf-8", "surrogateescape")


def _checked(path: str, changes: list[str], findings: list[str], json: bool) -> int:
    code = 1 if changes or findings else 0
    if json:
        say_json({"file": path, "ok": code == 0, "drift": changes, "findings": findings})
        return code
    for line in changes:
        print(line)
    for line in findings:
        print(f"finding: {line}")
    if not code:
        print(f"{path}: as it would be made today, nothing found")
    return code


VERB = Verb(
    name="unit",
    help="Make the file with which systemd, launchd, supervisord or cron runs it.",
    detail=(
        "With NAME: one service of the configuration, which Midwatch supervises in the foreground ('run'). "
        "Without: the daemon with all of them ('up'), whose services survive it. Every timeout and limit in the "
        "file is computed from the configuration. The text goes to stdout, what to type next to stderr. The file "
        "bears a stamp: --check tells whether it is still what would be made today, and what is wrong with it, "
        "or with anybody's file."
    ),
    examples=(
        "midwatch unit systemd -o /etc/systemd/system/midwatch.service",
        "midwatch unit systemd web --user",
        "midwatch unit systemd --check /etc/systemd/system/midwatch.service",
        "midwatch unit launchd --user -o ~/Library/LaunchAgents",
        "midwatch unit cron web --http http://127.0.0.1:8787/health",
    ),
    run=_run,
    opts=(
        FILE,
        Opt("out", ("-o", "--output"), "Write it there (a file or a folder).", "text", "OUT", complete="file"),
        Opt("check", ("--check",), "Compare this file with what would be made.", "text", "PATH", complete="file"),
        Opt("user", ("--user",), "For the manager of your own session instead of the system's."),
        Opt("run_as", ("--as",), "The account that the system's manager runs it as.", "text", "USER"),
        Opt("exec_", ("--exec",), "Midwatch checks, sets limits and replaces itself: 'run --exec'."),
        Opt("direct", ("--direct",), "Without Midwatch; what is then not done is listed."),
        Opt("path", ("--path",), "PATH in the file; default: the system's folders.", "text", "PATH"),
        Opt("manager", ("--manager",), "cron: whom the watchdog asks and tells.", "text", "NAME", None,
            ("midwatch", "systemd", "launchd", "supervisord")),
        Opt("http", ("--http",), "cron: restart when this URL does not answer.", "text", "URL"),
        JSON,
    ),
    arg=Arg("words", "KIND [NAME]", "systemd, launchd, supervisord or cron; then one service.", many=True),
    codes="Exit codes: 0 made, or still right; 1 drift or a finding; 2 usage; 78 the configuration has problems.",
)  # fmt: skip
