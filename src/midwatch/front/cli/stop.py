"""`midwatch stop`: stop services and prove that nothing of them is left.

Hands a job to the daemon and reports how it ended; see jobs.py. Must not decide anything.
Tests: tests/front/test_jobs.py.
"""

from __future__ import annotations

from midwatch.front.cli.declare import ALL, JSON, NAMES, NO_WAIT, TIMEOUT, Opt, Verb
from midwatch.front.cli.jobs import command


def _run(
    names: list[str], everything: bool, json: bool, no_wait: bool, timeout: str | None, now: bool
) -> int:
    return command("stop", names, everything=everything, json=json, no_wait=no_wait, timeout=timeout, now=now)


VERB = Verb(
    name="stop",
    help="Stop services and prove that nothing of them is left.",
    detail=(
        "The stop signal goes to the whole tree, then the grace runs, then everything left is killed and "
        "verified. The line says how it was verified. With --now the grace is skipped. A stopped service "
        "stays stopped until 'midwatch start'."
    ),
    examples=("midwatch stop web", "midwatch stop --all --now"),
    run=_run,
    opts=(ALL, Opt("now", ("--now",), "Skip the rest of the grace: kill at once."), JSON, NO_WAIT, TIMEOUT),
    arg=NAMES,
    codes="Exit codes: 0 done, 1 failed or not finished in time, 2 unknown name.",
)
