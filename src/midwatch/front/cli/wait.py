"""`midwatch wait`: block until services are ready, stopped, exited or done.

The daemon holds the answer back; this end bounds each question and gives up at once when what is waited
for cannot come any more. Must not poll in a tight loop. Tests: tests/front/test_jobs.py.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from midwatch.front.cli import instances
from midwatch.front.cli.declare import ALL, JSON, NAMES, TIMEOUT, Opt, Verb
from midwatch.front.cli.jobs import choose, need_daemon, seconds
from midwatch.front.cli.render import plain, say_json

UNTIL = ("ready", "stopped", "exited", "done")
SLICE = 5.0  # seconds of one question; between two of them hopeless states are noticed
_HOPELESS = {"ready": {"held", "gave_up", "done", "stopped"}, "done": {"held", "gave_up"}}


def _run(names: list[str], everything: bool, until: str, timeout: str | None, json: bool) -> int:
    deadline = time.monotonic() + seconds(timeout)
    picture = instances.look()
    if not picture.running():
        need_daemon(picture.home, "wait for")
    wanted = choose("wait", names, everything, picture)
    answers: dict[str, dict[str, Any]] = {}
    met = True
    for layout in dict.fromkeys(picture.find(name).layout for name in wanted):
        here = [name for name in wanted if picture.find(name).layout is layout]
        answer = _one(layout, here, until, deadline)
        answers.update(answer.get("services", {}))
        met = met and bool(answer.get("met"))
    lost = [name for name, row in answers.items() if row.get("state") in {"held", "gave_up"}]
    if json:
        say_json({"met": met, "until": until, "services": answers})
    else:
        for name, row in sorted(answers.items()):
            said = f": {row['decision']}" if row.get("decision") and not met else ""
            print(plain(f"{name}  {row.get('state')}{said}"), file=sys.stdout if met else sys.stderr)
    if met:
        return 0
    if time.monotonic() >= deadline and not lost:
        late = [f"{name} is {row.get('state')}" for name, row in sorted(answers.items()) if not _came(row, until)]
        print(f"midwatch wait: not {until} in time: {', '.join(late or wanted)}", file=sys.stderr)
    return 3 if until == "ready" and lost else 1


def _came(row: dict[str, Any], until: str) -> bool:
    """Did this one get there, as far as its row tells?"""
    state = row.get("state")
    return bool(row.get("ready")) if until == "ready" else state == until


def _one(layout: Any, names: list[str], until: str, deadline: float) -> dict[str, Any]:
    with need_daemon(layout, "wait for") as client:
        while True:
            left = max(0.0, deadline - time.monotonic())
            piece = min(SLICE, left)
            answer = client.call("wait", patience=piece, services=names, until=until, wait=piece)
            states = {row.get("state") for row in answer.get("services", {}).values()}
            if answer.get("met") or left <= 0 or states & _HOPELESS.get(until, set()):
                return answer


VERB = Verb(
    name="wait",
    help="Wait until services are ready, stopped, exited or done.",
    detail=(
        "'ready': up, and ready where it has a ready probe. 'stopped': nothing of it runs. 'exited': the "
        "run that "
        "is current now has ended. 'done': a one-shot has finished. Ends early when it cannot come true any "
        "more."
    ),
    examples=("midwatch wait web", "midwatch wait --until done --timeout 10m migrate"),
    run=_run,
    opts=(
        ALL,
        Opt("until", ("--until",), "What to wait for.", "text", "STATE", default="ready", choices=UNTIL),
        TIMEOUT,
        JSON,
    ),
    arg=NAMES,
    codes="Exit codes: 0 it came true, 1 not in time, 2 unknown name, 3 gave up or held.",
)
