"""`midwatch recover`: the smallest reset that helps. A plan first; --apply asks for each step.

Must not judge what is a target and never acts without being told. Tests: tests/front/test_recover.py,
tests/system/test_recover.py.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from midwatch.engine.client import ClientError
from midwatch.engine.layout import Layout
from midwatch.front.cli import instances
from midwatch.front.cli.declare import JSON, Failure, Opt, Usage, Verb
from midwatch.front.cli.owning import gather
from midwatch.front.cli.recover_screen import outcome_lines, plan_lines
from midwatch.front.cli.render import plain, say_json, size, width
from midwatch.inspect.leftovers.find import find
from midwatch.inspect.ours import Ours
from midwatch.inspect.recover.apply import Outcome, run, write
from midwatch.inspect.recover.hands import Live
from midwatch.inspect.recover.measure import measure
from midwatch.inspect.recover.order import ORDER, Facts, Service, plan
from midwatch.inspect.recover.plan import Plan, Pressure, Step
from midwatch.inspect.sources import Sources, Table
from midwatch.inspect.sources.live import Live as Machine
from midwatch.inspect.sources.recorded import Recorded
from midwatch.inspect.sweep.ending import hands
from midwatch.model.look import Leftover
from midwatch.record.redact import redact_value


def _run(apply: bool, yes: bool, only: list[str], recorded: str | None, json: bool) -> int:
    wrong = [name for name in only if name not in ORDER]
    if wrong:
        raise Usage(f"--only {wrong[0]!r}: must be one of {', '.join(ORDER)}; nothing was done")
    if yes and not (apply and only):
        raise Usage(
            "--yes needs --apply and --only STEP: a whole plan is never done unasked; nothing was done"
        )
    facts = _facts(recorded)
    found = plan(facts)
    if not apply:
        _say_plan(found, json)
        return 0 if found.pressure.level in ("pass", "unknown") else 1
    if facts.sources.recorded:
        raise Usage("a recording cannot be recovered; nothing was done")
    if not yes and not sys.stdin.isatty():
        raise Usage("--apply asks for each step and needs a terminal, or --yes --only STEP; nothing was done")
    done = _apply(facts, found, frozenset(only), yes, json)
    if json:
        say_json({"plan": _data(found), "outcome": _data(done)})
    else:
        print("\n".join(outcome_lines(done, width())))
    return 1 if any(one.state in ("failed", "refused") for one in done.steps) else 0


def _facts(recorded: str | None) -> Facts:
    home = Layout.default().home
    if recorded is not None:
        try:
            return Facts(Recorded(recorded), Ours())
        except (OSError, ValueError) as error:
            raise Usage(f"{recorded} is no recorded machine: {error}; nothing was looked at") from None
    try:
        picture = instances.look()
    except ClientError:
        picture = instances.look(record_only=True)
    return Facts(sources(), gather(picture), tuple(_services(picture)), str(home / "recover"))


def sources() -> Sources:
    """This machine."""
    return Machine()


def _services(picture: instances.Picture) -> list[Service]:
    found = []
    for known in picture.services:
        row = known.row
        if row is None:
            continue
        accepted = instances.accepted(known.layout.specs)
        spec = next((one for one in accepted if f"{one.get('project')}/{one.get('name')}" == known.id), {})
        held = (row.get("memory") or {}).get("held_bytes")
        found.append(
            Service(
                known.id,
                str(row["state"]),
                held,
                str(row.get("decision") or ""),
                _databases(spec),
                known.layout,
            )
        )
    return found


def _databases(spec: dict[str, Any]) -> tuple[str, ...]:
    import os

    folder = str((spec.get("launch") or {}).get("cwd") or "/")
    return tuple(os.path.join(folder, one) for one in (spec.get("rules") or {}).get("sqlite") or ())


def _apply(facts: Facts, found: Plan, only: frozenset[str], yes: bool, json: bool) -> Outcome:
    try:
        signals = hands()
    except NotImplementedError as error:
        raise Failure(str(error)) from None
    home = Layout.default().home

    def look() -> tuple[list[Leftover], Table]:
        now = sources()
        table = now.table()
        return find(now, table, facts.ours), table

    def again() -> Pressure:
        return measure(sources())

    def ask(step: Step) -> bool:
        if yes:
            return True
        print(f"\n{step.title}: {plain(step.command)}")
        print(
            f"  {len(step.aims)} targets, {size(step.gain)} expected; risk {step.risk}; back: {step.reversible}"
        )
        return input("  do it? [y/N] ").strip().lower() in ("y", "yes")

    done = run(
        found, Live(facts, home, look, signals, lambda names: _halt(facts, names)), again, ask, only=only
    )
    try:
        path = write(home, found, done, facts.sources.now())
    except OSError as error:
        if not json:
            print(f"midwatch recover: the record could not be written: {error}", file=sys.stderr)
        return done
    return msgspec.structs.replace(done, record=str(path))


def _halt(facts: Facts, names: list[str]) -> list[tuple[str, str]]:
    """Stop services of ours through their daemon; (name, "" or why not)."""
    told = []
    by_id = {one.id: one for one in facts.services}
    for name in names:
        try:
            with instances.connect(by_id[name].layout) as client:
                row = next(
                    (
                        one
                        for one in client.call("ps")["services"]
                        if f"{one['project']}/{one['name']}" == name
                    ),
                    None,
                )
                if row is None or row["state"] not in ("backoff", "degraded", "starting", "pending", "up"):
                    told.append((name, "its state changed since the plan: not touched"))
                    continue
                job = client.call("stop", services=[name], now=False, by="midwatch recover")["job"]
                answer = client.call("job", patience=60.0, id=job, wait=60)
                told.append(
                    (name, "" if answer["state"] == "done" else str(answer.get("message", answer["state"])))
                )
        except ClientError as error:
            told.append((name, str(error)))
    return told


def _say_plan(found: Plan, json: bool) -> None:
    if json:
        say_json({"plan": _data(found), "acted": False})
    else:
        print("\n".join(plan_lines(found, width())))


def _data(value: Any) -> Any:
    return redact_value(msgspec.to_builtins(value))


VERB = Verb(
    name="recover",
    help="Give memory back: the smallest reset that helps, as a plan.",
    detail=(
        "Without --apply nothing is done: an ordered plan with the command, the exact targets, the expected gain, the "
        "risk and the way back of each step. The shortest prefix that ends the pressure is marked, the rest is "
        "optional. --apply asks for each step, measures after each and stops when nothing warns any more; whoever "
        "changed since the plan is refused. Copies of servers below living parents and write-ahead logs only with "
        "--only. Never restarts the machine, closes a session or touches what 'midwatch sweep' protects."
    ),
    examples=(
        "midwatch recover",
        "midwatch recover --apply",
        "midwatch recover --apply --yes --only leftovers",
    ),
    run=_run,
    opts=(
        Opt("apply", ("--apply",), "Carry the plan out, asking for each step."),
        Opt("yes", ("--yes",), "With --apply and --only: do not ask."),
        Opt(
            "only", ("--only",), "Only this step (may be repeated): " + ", ".join(ORDER) + ".", "many", "STEP"
        ),
        Opt("recorded", ("--recorded",), "Plan for a recorded machine.", "text", "FOLDER", complete="file"),
        JSON,
    ),
    codes="Exit codes: 0 memory is not short, or what was asked for is done; 1 memory is short (a plan), or a step "
    "failed or was refused; 2 usage.",
)
