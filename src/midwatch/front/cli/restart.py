"""`midwatch restart`: stop services, then start them again.

Hands a job to the daemon and reports how it ended; see jobs.py. Must not decide anything.
Tests: tests/front/test_jobs.py.
"""

from __future__ import annotations

from midwatch.front.cli.declare import ALL, JSON, NAMES, NO_WAIT, TIMEOUT, Verb
from midwatch.front.cli.jobs import command


def _run(names: list[str], everything: bool, json: bool, no_wait: bool, timeout: str | None) -> int:
    return command("restart", names, everything=everything, json=json, no_wait=no_wait, timeout=timeout)


VERB = Verb(
    name="restart",
    help="Stop services, then start them again.",
    detail=(
        "The new run starts only after the last process of the old one is gone. Waits until the new run "
        "is up."
    ),
    examples=("midwatch restart web", "midwatch restart --timeout 90s web"),
    run=_run,
    opts=(ALL, JSON, NO_WAIT, TIMEOUT),
    arg=NAMES,
    codes="Exit codes: 0 done, 1 failed or not finished in time, 2 unknown name.",
)
