"""`midwatch start`: start services.

Hands a job to the daemon and reports how it ended; see jobs.py. Must not decide anything.
Tests: tests/front/test_jobs.py.
"""

from __future__ import annotations

from midwatch.front.cli.declare import ALL, JSON, NAMES, NO_WAIT, TIMEOUT, Verb
from midwatch.front.cli.jobs import command


def _run(names: list[str], everything: bool, json: bool, no_wait: bool, timeout: str | None) -> int:
    return command("start", names, everything=everything, json=json, no_wait=no_wait, timeout=timeout)


VERB = Verb(
    name="start",
    help="Start services.",
    detail=(
        "Asks for the services and for what they need, and waits until they are up (ready, where they have a "
        "ready probe). A service that is already up is left alone; a needed oneshot that is done stays done."
    ),
    examples=("midwatch start web", "midwatch start shop/web shop/worker"),
    run=_run,
    opts=(ALL, JSON, NO_WAIT, TIMEOUT),
    arg=NAMES,
    codes="Exit codes: 0 done, 1 failed or not finished in time, 2 unknown name.",
)
