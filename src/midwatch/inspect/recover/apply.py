"""Carry out a plan: step by step, measuring before each, until nothing warns any more; refuse whoever changed.

A step is done for the targets that the plan named, checked again right before (pid and start, a container's start, a
service's state); never for somebody who took their place. What was done is written down with the way back. Must not
choose targets. Tests: tests/inspect/test_recover_apply.py.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from midwatch.inspect.recover.plan import Plan, Pressure, Step
from midwatch.policy.defaults_inspect import RECOVER_RECORDS
from midwatch.record.files import make_folder, replace
from midwatch.record.redact import redact_value

FOLDER = "recover"
State = Literal["done", "failed", "refused", "not needed", "declined", "advice", "only if named"]


class Done(msgspec.Struct, frozen=True):
    """What came of one step. `undo`: commands that take it back."""

    step: str
    state: State
    words: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    freed: int = 0


class Outcome(msgspec.Struct, frozen=True):
    """REC-5: before, after and what was done between."""

    before: Pressure
    after: Pressure
    steps: tuple[Done, ...]
    record: str = ""


class Hands(Protocol):
    """Whatever touches something: one method for each step that acts; each checks its targets again."""

    def do(self, step: Step) -> Done:
        """Carry it out. Never raises."""


def run(
    plan: Plan,
    hands: Hands,
    measure: Callable[[], Pressure],
    ask: Callable[[Step], bool],
    *,
    only: frozenset[str] = frozenset(),
) -> Outcome:
    """Each step in its order. `only`: these and no others, whatever the pressure is."""
    before = now = measure()
    done: list[Done] = []
    for step in plan.steps:
        if only and step.id not in only:
            continue
        if not step.acts:
            done.append(Done(step.id, "advice", (step.command,)))
        elif step.asks and step.id not in only:
            done.append(Done(step.id, "only if named", (f"midwatch recover --apply --only {step.id}",)))
        elif not only and now.level not in ("warn", "fail"):
            done.append(Done(step.id, "not needed", ("nothing warns any more",)))
        elif not ask(step):
            done.append(Done(step.id, "declined"))
        else:
            done.append(hands.do(step))
            if step.id != "snapshot":
                now = measure()
    return Outcome(before, now, tuple(done))


def write(home: Path, plan: Plan, outcome: Outcome, now: float) -> Path:
    """The record of it, 0600, without secrets; the oldest ones are removed. Raises OSError."""
    folder = home / FOLDER
    make_folder(folder)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    path = next(
        free for n in range(1000) if not (free := folder / f"{stamp}{f'-{n}' if n else ''}.json").exists()
    )
    document: dict[str, Any] = {"schema_version": 1, "at": now, "plan": plan, "outcome": outcome}
    replace(path, json.dumps(redact_value(msgspec.to_builtins(document)), indent=1).encode())
    tidy(folder, ".json")
    return path


def tidy(folder: Path, kind: str) -> None:
    """The newest files of a kind stay."""
    for name in sorted(name for name in os.listdir(folder) if name.endswith(kind))[:-RECOVER_RECORDS]:
        try:
            os.unlink(folder / name)
        except OSError:
            continue
