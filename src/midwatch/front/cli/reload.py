"""`midwatch reload`: put the changed configuration into force; only the difference restarts.

A file with an error changes nothing. Must not decide what a difference is: the daemon compares. Tests:
tests/front/test_up.py.
"""

from __future__ import annotations

from midwatch.engine.layout import Layout
from midwatch.front.cli import applying, jobs, project
from midwatch.front.cli.declare import FILE, JSON, NO_WAIT, TIMEOUT, Opt, Verb


def _run(file: str | None, dry_run: bool, json: bool, no_wait: bool, timeout: str | None) -> int:
    patience = 0.0 if no_wait else jobs.seconds(timeout)
    loaded = applying.load(project.given(file), "reload")
    with jobs.need_daemon(Layout.default(), "reload") as client:
        return applying.put(
            client, loaded, "reload", dry_run=dry_run, json=json, no_wait=no_wait, patience=patience,
            start=False,
        )  # fmt: skip


VERB = Verb(
    name="reload",
    help="Apply a changed midwatch.toml; only what differs restarts.",
    detail=(
        "A service restarts when what it is spawned from changed (command, cwd, environment, user, limits "
        "...); other "
        "changes apply while it runs. Services that left the file are stopped; one that was stopped by hand "
        "stays stopped ('midwatch up' starts it). With --dry-run it only says "
        "what it "
        "would do. A file with an error changes nothing."
    ),
    examples=("midwatch reload --dry-run", "midwatch reload -f shop/midwatch.toml"),
    run=_run,
    opts=(FILE, Opt("dry_run", ("--dry-run",), "Only say what would happen."), JSON, NO_WAIT, TIMEOUT),
    codes="Exit codes: 0 in force, 1 a service failed or not finished in time, 78 the file has problems.",
)
