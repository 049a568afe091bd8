"""`midwatch replay JOURNAL`: put recorded events through the rules again.

Shows each decision, and with --config what another configuration would have decided instead. Where the
journal lacks a fact the line says "not recorded". Starts nothing and changes nothing. Must not decide:
policy/replay.py does. Tests: tests/front/test_replay.py.
"""

from __future__ import annotations

from midwatch.front.cli.declare import FILE, JSON, Arg, Failure, Verb


def _run(journal: str, file: str | None, json: bool) -> int:
    raise Failure("replay is not there yet")


VERB = Verb(
    name="replay",
    help="Replay a journal: would the rules decide the same, or better ones?",
    detail="",
    examples=("midwatch replay journal/2026-W47.jsonl",),
    run=_run,
    opts=(FILE, JSON),
    arg=Arg("journal", "JOURNAL", "A journal file or folder.", required=True, complete="file"),
)
