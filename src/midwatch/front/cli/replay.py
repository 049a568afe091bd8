"""`midwatch replay JOURNAL`: put the recorded events through the rules again.

Shows each decision that differs, and with --config what would have changed under another configuration (backtest.py).
Where the journal lacks a fact the line says "not recorded". Starts nothing and changes nothing. Must not decide:
policy/replay.py does. Tests: tests/front/test_replay.py.
"""

from __future__ import annotations

import json as jsonlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from midwatch.front.cli import backtest, history
from midwatch.front.cli.declare import JSON, Arg, Failure, Opt, Verb
from midwatch.front.cli.render import clock, say_json, width


def _run(journal: str, config: str | None, everything: bool, json: bool) -> int:
    from midwatch.policy.replay import NOT_RECORDED, replay

    rules = _rules(config)
    try:
        found = replay(None, lines_of(Path(journal)), rules)
    except (ValueError, KeyError) as error:
        raise Failure(f"{journal} was written by another version ({error}); nothing was replayed") from None
    missing = [one for one in found if backtest.unknown(one)]
    different = [one for one in found if not one.same and not backtest.unknown(one)]
    services = backtest.by_service(one for one in found if rules is None or one.service in rules)
    counts = {"inputs": len(found), "different": len(different), "not_recorded": len(missing)}
    if json:
        by = backtest.document(services, as_json)
        say_json({"journal": journal, **counts, "services": by, "decisions": [as_json(one) for one in found]})
    else:
        for one in found if everything else [] if rules is not None else [*different, *missing]:
            for line in told(one):
                print(line)
        for line in backtest.screen(services, width()) if rules is not None else []:
            print(line)
        _strangers(rules, found)
        print(
            f"{len(found)} recorded events: {len(found) - len(different) - len(missing)} decided the same, "
            f"{len(different)} differently, {len(missing)} {NOT_RECORDED}"
        )
    return 1 if different and config is None else 0


def _strangers(rules: dict[str, Any] | None, found: list[Any]) -> None:
    """Services of the journal that the file does not have were decided by their own rules."""
    others = sorted({one.service for one in found} - set(rules or {}))
    if rules is not None and others:
        print(f"not in that file, so decided by their own rules: {', '.join(others[:8])}")


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
        return [f"{head}  same: {backtest.arithmetic(one.recorded)}"]
    then, now = backtest.arithmetic(one.recorded), backtest.arithmetic(one.replayed)
    return [head, f"    recorded: {then}", f"    now:      {now}"]


VERB = Verb(
    name="replay",
    help="Put a journal through the rules again and show what differs.",
    detail=(
        "Without --config every decision has to come out as recorded. With --config the recorded world "
        "(starts, exits, "
        "probes, what guards measured) meets the rules of another file: by service the first decision that would have "
        "been another, and how many of each kind. Facts that the journal lacks are 'not recorded'. Nothing is started."
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
