"""`midwatch up`: put a project's services into force, starting the daemon if there is none.

Reads and checks the file before anything happens. Without -d the new daemon takes this process's place
(the keeper is executed in it); with -d the answer comes only after it holds its lock and its first spawns
have happened. Must not start a process itself: engine/launch.py does. Tests: tests/front/test_up.py.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from midwatch.engine.layout import Layout
from midwatch.front.cli import applying, instances, jobs, managed, project
from midwatch.front.cli.declare import FILE, JSON, NO_WAIT, TIMEOUT, Opt, Verb
from midwatch.front.cli.render import say_json

SPAWN_WAIT = 15.0  # seconds that `up -d` waits for the first spawns; they take milliseconds
LOOK_AGAIN = 0.02  # seconds, doubling up to LOOK_SELDOM: each look measures every service
LOOK_SELDOM = 0.3
STOP = "midwatch down --all"
PATIENCE = 60.0  # seconds for the services of a running daemon, unless --timeout says otherwise


def _run(
    file: str | None, detach: bool, force: bool, json: bool, no_wait: bool, timeout: str | None
) -> int:  # fmt: skip
    patience = 0.0 if no_wait else jobs.seconds(timeout, default=PATIENCE)
    path = project.given(file)
    found = managed.look()
    loaded = applying.load(path, "up", found.patience)
    layout = Layout.default()
    client = jobs.daemon_or_none(layout)
    if client is not None:
        with client:
            return applying.put(
                client, loaded, "up", dry_run=False, json=json, no_wait=no_wait, patience=patience
            )
    if detach:
        if not force:
            managed.refuse_detach(found)
        return _detached(layout, loaded, json, patience)
    _attached(layout, loaded, managed.hint(found))
    return 0


def _attached(layout: Layout, loaded: Any, outer: Any) -> None:
    from midwatch.engine import launch

    names = ", ".join(spec.name for spec in loaded.specs[:8]) + (" ..." if len(loaded.specs) > 8 else "")
    print(f"midwatch: project {loaded.project}: {names}; Ctrl-C stops them", file=sys.stderr)
    launch.foreground(
        layout,
        loaded.specs,
        mode="attached",
        project=loaded.project,
        source=str(loaded.path),
        by=jobs.by("up"),
        settings=loaded.settings,
        outer=outer,
    )


def _detached(layout: Layout, loaded: Any, json: bool, patience: float) -> int:
    from midwatch.engine import launch

    daemon = launch.detached(
        layout, loaded.specs, project=loaded.project, source=str(loaded.path), by=jobs.by("up"),
        settings=loaded.settings,
    )  # fmt: skip
    wanted = {spec.name for spec in loaded.specs if spec.autostart}
    rows = _spawned(layout, loaded.project, wanted, min(SPAWN_WAIT, patience or SPAWN_WAIT))
    late = sorted(wanted - {row["name"] for row in rows if not _unborn(row)})
    if json:
        shown = {
            f"{row['project']}/{row['name']}": {"state": row["state"], "pid": row["pid"]} for row in rows
        }
        say_json({"project": loaded.project, "ok": not late, "daemon": daemon, "services": shown,
                  "log": str(layout.daemon_log), "stop": STOP})  # fmt: skip
    else:
        print(
            f"midwatch {daemon.get('version')} runs as pid {daemon.get('pid')} under keeper "
            f"{daemon.get('keeper_pid')}"
        )
        for row in rows:
            print(
                f"{row['project']}/{row['name']}  {row['state']}"
                + (f"  pid {row['pid']}" if row["pid"] else "")
            )
        print(f"its own log: {layout.daemon_log}; '{STOP}' ends it")
    if late:
        print(f"midwatch up: not started yet: {', '.join(late)}; see 'midwatch ps'", file=sys.stderr)
    return 1 if late else 0


def _spawned(layout: Layout, owner: str, wanted: set[str], patience: float) -> list[dict[str, Any]]:
    """The project's rows once each that is wanted was spawned, failed to, or is known to wait for something (H11)."""
    deadline = time.monotonic() + patience
    pause = LOOK_AGAIN
    while True:
        answer = instances.status(layout) or {}
        rows = [row for row in answer.get("services", []) if row["project"] == owner]
        born = {row["name"] for row in rows if not _unborn(row)}
        if wanted <= born or time.monotonic() >= deadline:
            return rows
        time.sleep(pause)
        pause = min(2 * pause, LOOK_SELDOM)


def _unborn(row: dict[str, Any]) -> bool:
    return (row["state"] == "starting" and row["pid"] is None) or (
        row["state"] == "pending" and not row.get("needs")
    )


VERB = Verb(
    name="up",
    help="Start the services of a midwatch.toml, or apply its difference.",
    detail=(
        "Reads FILE, or the nearest midwatch.toml. When a daemon runs, it gets the difference: new services "
        "start, changed ones restart, missing ones stop, stopped ones start. Otherwise the daemon starts here and "
        "stays in the foreground; with -d "
        "it goes to the background, and the line (or JSON) comes after its first services were spawned."
    ),
    examples=("midwatch up", "midwatch up -d", "midwatch up -f shop/midwatch.toml -d --json"),
    run=_run,
    opts=(
        FILE,
        Opt("detach", ("-d", "--detach"), "Run the daemon in the background."),
        Opt("force", ("--force",), "With -d: go to the background even under systemd, launchd or supervisord."),
        JSON,
        NO_WAIT,
        TIMEOUT,
    ),
    codes=(
        "Exit codes: 0 in force, 1 a service failed, 4 already running, "
        "78 the file or the state folder has problems, or -d under another manager."
    ),
)
