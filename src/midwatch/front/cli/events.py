"""`midwatch events`: the journal, newest last.

Works while no daemon runs. Must not interpret: a line shows what was written. Tests:
tests/front/test_events.py.
"""

from __future__ import annotations

import json as jsonlib
import sys

from midwatch.front.cli import history, instances, project
from midwatch.front.cli.declare import JSON, SCHEMA_VERSION, Opt, Usage, Verb

POLL = 0.25  # seconds between two looks at a quiet journal
NEWEST = 50


def _run(follow: bool, count: int, service: list[str], everything: bool, json: bool) -> int:
    if count < 0:
        raise Usage("-n must not be negative; nothing was done")
    picture = instances.look(record_only=True)
    here = project.current()
    wanted = set(history.named(service, picture, here)) if service else None
    if wanted is None and here is not None and not everything:
        wanted = {known for known in picture.ids() if known.startswith(f"{here}/")} or None
    layouts = {
        known.layout.home: known.layout for known in picture.services if wanted is None or known.id in wanted
    }
    if follow:
        chosen = next(iter(layouts.values())) if service else picture.home
        for line in history.following(chosen, wanted, count, POLL):
            _say(line, json)
            sys.stdout.flush()
        return 0
    layouts.setdefault(picture.home.home, picture.home)
    for line in history.newest(layouts.values(), count or None, wanted):
        _say(line, json)
    return 0


def _say(line: history.Line, json: bool) -> None:
    if json:
        print(jsonlib.dumps({**history.public(line), "schema_version": SCHEMA_VERSION}, ensure_ascii=False))
    else:
        print(history.words(line))


VERB = Verb(
    name="events",
    help="Show the journal: what happened and what was decided.",
    detail=(
        "The newest lines of the current project (outside of one, and with --all, of everything). With "
        "--json one "
        "object a line: ts, event, service, run_id and the event's own fields. Works without a daemon."
    ),
    examples=("midwatch events", "midwatch events -f --service web", "midwatch events -n 0 --json"),
    run=_run,
    opts=(
        Opt("follow", ("-f", "--follow"), "Go on with new lines as they are written."),
        Opt("count", ("-n", "--lines"), "How many lines; 0 is all there are.", "int", "N", default=NEWEST),
        Opt(
            "service",
            ("-s", "--service"),
            "Only this service; may be repeated.",
            "many",
            "NAME",
            complete="service",
        ),
        Opt("everything", ("-a", "--all"), "Every project, and what concerns no service."),
        JSON,
    ),
)
