"""`midwatch replay JOURNAL`: put the recorded events through the rules again.

Shows each decision, and with --config what another configuration would have decided instead. Where the
journal lacks a fact the line says "not recorded". Starts nothing and changes nothing. Must not decide:
policy/replay.py does. Tests: tests/front/test_replay.py.
"""

from __future__ import annotations

import json as jsonlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from midwatch.front.cli import history
from midwatch.front.cli.declare import JSON, Arg, Failure, Opt, Verb
from midwatch.front.cli.render import clock, say_json


def _run(journal: str, config: str | None, everything: bool, json: bool) -> int:
    from midwatch.policy.replay import NOT_RECORDED, replay

    try:
        found = replay(None, lines_of(Path(journal)), _rules(config))
    except (ValueError, KeyError) as error:
        raise Failure(f"{journal} was written by another version ({error}); nothing was replayed") from None
    missing = [one for one in found if one.remark == NOT_RECORDED]
    different = [one for one in found if not one.same and one.remark != NOT_RECORDED]
    counts = {"inputs": len(found), "different": len(different), "not_recorded": len(missing)}
    if json:
        say_json({"journal": journal, **counts, "decisions": [as_json(one) for one in found]})
    else:
        for one in found if everything else [*different, *missing] if not config else different:
            for line in told(one):
                print(line)
        print(
            f"{len(found)} recorded events: {len(found) - len(different) - len(missing)} decided the same, "
            f"{len(different)} differently, {len(missing)} {NOT_RECORDED}"
        )
    return 1 if different and config is None else 0


def _rules(config: str | None) -> dict[str, Any] | None:
    if config is None:
        return None
    from midwatch.config import load

    return {spec.id: spec.rules for spec in load(Path(config).absolute(), environ=os.environ).specs}


def lines_of(path: Path) -> Iterable[dict[str, Any]]:
    """The lines of a journal file, or of a whole journal folder, with their snapshots. Raises Failure."""
    if path.is_dir():
        from midwatch.record.journal import read

        return read(path, headers=True)
    if not path.is_file():
        raise Failure(
            f"{path} is not a journal; nothing was replayed; name a .jsonl file or the journal folder"
        )
    return _of_file(path)


def _of_file(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for raw in file:
            try:
                line = jsonlib.loads(raw)
            except ValueError:
                continue  # torn or damaged: what is missing shows as "not recorded"
            if isinstance(line, dict) and "event" in line:
                yield line


def as_json(one: Any) -> dict[str, Any]:
    """One compared decision for `--json`."""
    return {
        "ts": one.ts,
        "service": one.service,
        "input": one.cause,
        "same": one.same,
        "remark": one.remark,
        "recorded": [{"event": event, **fields} for event, fields in one.recorded],
        "replayed": [{"event": event, **fields} for event, fields in one.replayed],
    }


def told(one: Any) -> list[str]:
    """One compared decision for a person."""
    when = history.wall({"ts": one.ts})
    head = f"{clock(when) if when is not None else '?'}  {one.service}  {one.cause}"
    if one.remark:
        return [f"{head}  {one.remark}"]
    if one.same:
        return [f"{head}  same: {_words(one.recorded)}"]
    return [head, f"    recorded: {_words(one.recorded)}", f"    now:      {_words(one.replayed)}"]


def _words(decisions: Iterable[tuple[str, Any]]) -> str:
    said = []
    for event, fields in decisions:
        why = fields.get("decision") or fields.get("reason") or fields.get("cause") or ""
        said.append(f"{event} ({why})" if why else event)
    return "; ".join(said) or "nothing"


VERB = Verb(
    name="replay",
    help="Put a journal through the rules again and show what differs.",
    detail=(
        "Without --config every decision has to come out as recorded. With --config the recorded world "
        "(starts, exits, "
        "probes) meets the rules of another file: what would it have decided? Facts that the journal lacks "
        "are "
        "'not recorded'. Nothing is started."
    ),
    examples=(
        "midwatch replay ~/.local/state/midwatch/journal",
        "midwatch replay 2026-W47.jsonl --config new/midwatch.toml",
    ),
    run=_run,
    opts=(
        Opt("config", ("--config",), "Try the rules of this file instead.", "text", "FILE", complete="file"),
        Opt("everything", ("-a", "--all"), "Show the decisions that are the same, too."),
        JSON,
    ),
    arg=Arg("journal", "JOURNAL", "a journal file or folder.", required=True, complete="file"),
    codes="Exit codes: 0 the same (or --config), 1 something was decided differently, 78 a wrong FILE.",
)
