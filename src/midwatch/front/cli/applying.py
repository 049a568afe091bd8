"""Handing a configuration to a daemon that runs: shared by `up` and `reload`.

Reads and checks the file here, in the caller's environment, and sends the finished services. Refuses a
file whose project name is already run from another file: two folders of the same name must not stop each
other's services. Must not compare services. Tests: tests/front/test_up.py.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from midwatch.engine.client import Client
from midwatch.front.cli import jobs
from midwatch.front.cli.declare import Failure
from midwatch.front.cli.render import plain, say_json

_KINDS = ("added", "started", "restarted", "changed", "removed", "unchanged")
_GROUPS = (
    ("started", "started"),
    ("added", "added, to be started by hand"),
    ("restarted", "restarted"),
    ("changed", "changed while it runs"),
    ("at_rest", "changed, still stopped"),
    ("removed", "stopped, no longer in the file"),
)


def load(path: Path, verb: str, outer: float | None = None) -> Any:
    """The checked configuration; warnings go to stderr. `outer`: the seconds that a manager of ours gives a stop.

    Raises config.ConfigError.
    """
    from midwatch import config

    loaded = config.load(path, environ=os.environ, outer=outer)
    for warning in loaded.warnings:
        print(f"midwatch {verb}: warning: {warning}", file=sys.stderr)
    return loaded


def put(
    client: Client, loaded: Any, verb: str, *, dry_run: bool, json: bool, no_wait: bool, patience: float,
    start: bool = True,
) -> int:  # fmt: skip
    """Send it, wait for the job, say what changed. `start`: also what is at rest and known already."""
    import msgspec

    resting = _same_file(client, loaded)
    answer = client.call(
        "apply",
        project=loaded.project,
        source=str(loaded.path),
        specs=msgspec.to_builtins(loaded.specs),
        settings=msgspec.to_builtins(loaded.settings),
        dry_run=dry_run,
        prune=True,
        start=start,
        by=jobs.by(verb),
    )
    changes = {kind: list(answer.get(kind) or []) for kind in _KINDS}
    if dry_run:
        result: dict[str, Any] = {"id": None, "state": "done", "services": {}}
    else:
        result = jobs.wait_for(client, answer.get("job"), patience)
    code = jobs.verdict(result, no_wait)
    if json:
        say_json(
            {
                "project": loaded.project,
                "dry_run": dry_run,
                "ok": code == 0,
                "job": result["id"],
                **changes,
                "services": result["services"],
                "daemon": client.call("ping"),
            }
        )
        return code
    autostart = {spec.id for spec in loaded.specs if spec.autostart}
    for line in told(changes, dry_run, autostart, resting):
        print(line)
    for name, outcome in sorted(result["services"].items()):
        if not outcome.get("ok"):
            print(plain(f"midwatch {verb}: {name}: {outcome.get('message')}"), file=sys.stderr)
    if result["state"] == "running" and not no_wait:
        print(
            f"midwatch {verb}: not finished in time; job {result['id']} goes on; see 'midwatch ps'",
            file=sys.stderr,
        )
    return code


def told(changes: dict[str, list[str]], dry_run: bool, autostart: set[str], resting: set[str]) -> list[str]:
    """One line for each kind of change; a service is in one of them, and whatever starts is "started"."""
    would = "would be " if dry_run else ""
    started = [*(name for name in changes["added"] if name in autostart), *changes["started"]]
    shown = {kind: [name for name in names if name not in started] for kind, names in changes.items()}
    shown["started"] = started
    shown["at_rest"] = [name for kind in ("restarted", "changed") for name in shown[kind] if name in resting]
    for kind in ("restarted", "changed"):
        shown[kind] = [name for name in shown[kind] if name not in resting]
    lines = [f"{would}{words}: {', '.join(shown[group])}" for group, words in _GROUPS if shown[group]]
    if shown["unchanged"]:
        lines.append(f"unchanged: {len(shown['unchanged'])}")
    return lines or ["nothing to do"]


def _same_file(client: Client, loaded: Any) -> set[str]:
    """The services that are stopped now. Raises Failure when the project is another file's."""
    rows = client.call("ps").get("services", [])
    for row in rows:
        source = str(row.get("source") or "").rpartition(":")[0]
        if row.get("project") == loaded.project and source and source != str(loaded.path):
            raise Failure(
                f"project {loaded.project!r} is already run from {source}; nothing was done; give "
                f"{loaded.path} "
                f"another name with [midwatch] project = ..., or 'midwatch down --project {loaded.project}' "
                "first",
                78,
            )
    return {f"{row['project']}/{row['name']}" for row in rows if row.get("state") in {"stopped", "done"}}
