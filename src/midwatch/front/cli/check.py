"""`midwatch check`: is this configuration right, and what do its defaults mean?

Starts nothing and needs no daemon. Every problem is named with file, line and the nearest known key, by
config/. Must not know a key. Tests: tests/front/test_check.py.
"""

from __future__ import annotations

import os
import sys

from midwatch.front.cli import project
from midwatch.front.cli.declare import FILE, JSON, Arg, Usage, Verb
from midwatch.front.cli.render import say_json


def _run(path: str | None, file: str | None, json: bool) -> int:
    if path and file:
        raise Usage("give the file once, as FILE or with -f; nothing was done")
    from midwatch import config

    source = project.given(path or file)
    try:
        loaded = config.load(source, environ=os.environ)
    except config.ConfigError as error:
        if not json:
            raise
        say_json({"file": str(source), "ok": False, "problems": [_problem(one) for one in error.problems]})
        return 78
    if json:
        say_json(
            {
                "file": str(source),
                "ok": True,
                "project": loaded.project,
                "services": [spec.id for spec in loaded.specs],
                "problems": [],
                "warnings": [_problem(one) for one in loaded.warnings],
                "filled": list(loaded.filled),
            }
        )
        return 0
    for warning in loaded.warnings:
        print(f"midwatch check: warning: {warning}", file=sys.stderr)
    print(config.explain(loaded).rstrip())
    return 0


def _problem(one: object) -> dict[str, object]:
    names = ("file", "line", "column", "key", "message", "hint")
    return {name: getattr(one, name) for name in names}


VERB = Verb(
    name="check",
    help="Check a configuration and explain every default it leaves to midwatch.",
    detail=(
        "Reads FILE (else the nearest midwatch.toml) and prints what each service will do, with the "
        "defaults that were "
        "filled in. A problem is named with file, line and the nearest known key. Nothing is started."
    ),
    examples=("midwatch check", "midwatch check shop/midwatch.toml --json"),
    run=_run,
    opts=(FILE, JSON),
    arg=Arg("path", "FILE", "the configuration file.", complete="file"),
    codes="Exit codes: 0 right, 78 it has problems.",
)
