"""`midwatch reset`: forget spent budgets and try again now.

Hands a job to the daemon and reports how it ended; see jobs.py. Must not decide anything.
Tests: tests/front/test_jobs.py.
"""

from __future__ import annotations

from midwatch.front.cli.declare import ALL, JSON, NAMES, NO_WAIT, TIMEOUT, Verb
from midwatch.front.cli.jobs import command


def _run(names: list[str], everything: bool, json: bool, no_wait: bool, timeout: str | None) -> int:
    return command("reset", names, everything=everything, json=json, no_wait=no_wait, timeout=timeout)


VERB = Verb(
    name="reset",
    help="Forget spent budgets and try again now.",
    detail=(
        "Clears the crash count and every window of the services. One that is held, degraded, backing off"
        " or has given up starts at once, if it is wanted."
    ),
    examples=("midwatch reset web",),
    run=_run,
    opts=(ALL, JSON, NO_WAIT, TIMEOUT),
    arg=NAMES,
    codes="Exit codes: 0 done, 1 failed or not finished in time, 2 unknown name.",
)
