"""DOC-20: containers whose health check fails. No engine restarts them for it outside swarm: somebody has to watch.

Tests: tests/inspect/doctor/containers/test_unhealthy.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from midwatch.inspect.doctor.check import Check, Context
from midwatch.inspect.doctor.containers import common
from midwatch.model.look import Checked


def _run(ctx: Context) -> Iterable[Checked]:
    everyone = list(common.rows(common.seen(ctx)))
    checked = [row for row in everyone if row.container.health]
    ill = [row for row in checked if row.container.health == "unhealthy"]
    if ill:
        first = ill[0]
        yield CHECK.say(
            "warn",
            f"{common.names(ill)}: unhealthy, and {first.picture.engine.kind} does not restart for that",
            offenders=[
                common.offender(row, f"{row.container.failing} health checks failed in a row, restart policy "
                                f"{row.container.restart or 'none'}")
                for row in ill
            ],
            hint=f"{first.picture.engine.kind} restart {first.container.name}",
            fix=(first.picture.engine.kind, "restart", first.container.name) if len(ill) == 1 else None,
        )  # fmt: skip
        return
    alone = [row for row in checked if row.container.restart]
    if alone:
        words = f"{common.names(alone)}: healthy; the restart policy would not act if they became unhealthy"
        yield CHECK.say(
            "pass", words, evidence={"watch": "a health check of midwatch, or a container that watches"}
        )
        return
    yield CHECK.say(
        "pass", f"{len(checked)} of {len(everyone)} running containers have a health check, none fails"
    )


CHECK = Check(
    id="DOC-20",
    category="containers",
    title="unhealthy containers",
    about=(
        "A container whose health check fails warns: engines show it and do nothing outside swarm, whatever the "
        "restart policy. A health check together with a restart policy is noted."
    ),
    run=_run,
)
