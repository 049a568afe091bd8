"""`midwatch down`: stop a project's services and forget them; with --all everything, and the daemon.

Must not end any process itself. Tests: tests/front/test_jobs.py.
"""

from __future__ import annotations

import time
from typing import Any

from midwatch.engine.layout import Layout
from midwatch.front.cli import instances, jobs, project
from midwatch.front.cli.declare import JSON, NO_WAIT, TIMEOUT, Opt, Usage, Verb
from midwatch.front.cli.render import say_json

LEAVE_WAIT = 5.0  # seconds; it takes 0.05


def _run(
    project_name: str | None, everything: bool, now: bool, json: bool, no_wait: bool, timeout: str | None
) -> int:
    patience = jobs.seconds(timeout)
    owner = project_name or project.current()
    if everything and project_name:
        raise Usage("--all and --project exclude each other; nothing was done")
    if not everything and owner is None:
        raise Usage("which project? nothing was done; go to its folder, name it with --project, or use --all")
    client = jobs.daemon_or_none(Layout.default())
    if client is None:
        return _already(json)
    with client:
        params: dict[str, Any] = {
            "project": None if everything else owner,
            "all": everything,
            "by": jobs.by("down"),
        }
        if now:
            params["now"] = True
        result = jobs.wait_for(client, client.call("down", **params).get("job"), 0.0 if no_wait else patience)
    code = jobs.verdict(result, no_wait)
    if everything and code == 0 and not no_wait:
        _gone(Layout.default())
    if json:
        say_json({"job": result["id"], "ok": code == 0, "services": result["services"]})
    else:
        if result["state"] == "done" and not result["services"]:
            result["message"] = "nothing was running"
        jobs.tell("down", result, no_wait)
    return code


def _gone(layout: Layout) -> None:
    """The daemon leaves right after its last job: done means that its lock is free again."""
    limit = time.monotonic() + LEAVE_WAIT
    while instances.locked(layout) and time.monotonic() < limit:
        time.sleep(0.01)


def _already(json: bool) -> int:
    if json:
        say_json({"job": None, "ok": True, "services": {}})
    else:
        print("no midwatch daemon is running; nothing to stop")
    return 0


VERB = Verb(
    name="down",
    help="Stop a project and forget it; with --all everything, the daemon too.",
    detail=(
        "Services stop in the reverse order of their needs, each verified. The project is the one of the "
        "current "
        "folder, or --project NAME. Services that run in the foreground by 'midwatch run' are not touched."
    ),
    examples=("midwatch down", "midwatch down --project shop", "midwatch down --all"),
    run=_run,
    opts=(
        Opt("everything", ("-a", "--all"), "Every project, and then the daemon itself."),
        Opt("project_name", ("-p", "--project"), "The project's name.", "text", "NAME"),
        Opt("now", ("--now",), "Skip the rest of the grace: kill at once."),
        JSON,
        NO_WAIT,
        TIMEOUT,
    ),
    codes="Exit codes: 0 stopped (or nothing ran), 1 failed or not finished in time, 2 usage.",
)
