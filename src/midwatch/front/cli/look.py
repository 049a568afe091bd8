"""`midwatch look`, and `midwatch` alone: what a stranger should know about this machine, and the command that fixes it.

Asks the daemon in a thread while the machine is read, prints the screen or the document, and ends with 0 calm, 1
attention, 2 danger, fit for a prompt. Changes nothing; it keeps a few numbers for the next look in the instance's
folder. Must not measure anything itself. Tests: tests/front/test_look.py.
"""

from __future__ import annotations

import time
from typing import Any

from midwatch.engine.client import ClientError
from midwatch.engine.layout import Layout
from midwatch.front.cli.declare import JSON, Verb
from midwatch.front.cli.looknext import advice
from midwatch.front.cli.lookscreen import screen
from midwatch.front.cli.render import coloured, say_json, width
from midwatch.inspect.look.document import document
from midwatch.inspect.look.picture import Given, look
from midwatch.inspect.sources.live import Live


def _run(json: bool) -> int:
    home = Layout.default()
    bare = Given(packs=str(home.home / "packs"), keep=str(home.home), paths=(str(home.home),))
    found = document(look(Live(), lambda: given(bare), bare))
    found["next"] = advice(found)
    if json:
        say_json(found)
    else:
        for line in screen(found, width(), time.time(), coloured()):
            print(line)
    return int(found["exit_code"])


def given(bare: Given) -> Given:
    """What the daemons and the records know of ours."""
    from midwatch.front.cli import instances
    from midwatch.front.cli.owning import gather

    problem = ""
    try:
        picture = instances.look()
    except ClientError as error:
        problem = f"our own daemon: {error}"
        picture = instances.look(record_only=True)
    rows: tuple[dict[str, Any], ...] = tuple(one.row for one in picture.services if one.row is not None)
    return Given(
        ours=gather(picture),
        rows=rows,
        journals=tuple(str(layout.journal) for layout in picture.layouts()),
        packs=bare.packs,
        keep=bare.keep,
        paths=bare.paths,
        problem=problem,
    )


VERB = Verb(
    name="look",
    help="Show what this machine is busy with, what is left over and what runs out.",
    detail=(
        "Read-only and useful without root; `midwatch` alone is the same. Memory is held memory (anonymous + shared + "
        "swapped; ≤ marks an upper bound, ~ a rough sum), summed over a tree of processes. How fast things grow is "
        "known from the second look on. What could not be seen is named under NOT SEEN."
    ),
    examples=("midwatch", "midwatch look --json", "midwatch look || midwatch sweep"),
    run=_run,
    opts=(JSON,),
    codes="Exit codes: 0 calm, 1 something deserves attention, 2 danger (or a wrong command line).",
)
