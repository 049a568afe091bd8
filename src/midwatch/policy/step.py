"""`step(state, event, now)`: one event, one row of the table, one new state and what is to be done.

Deterministic and total: every (phase, event) pair has exactly one row, an event about another run changes nothing, a
tick that comes too early changes nothing. Must not decide anything itself. Tests: tests/policy/test_step.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, get_args

from midwatch.model import event as ev
from midwatch.model.identity import Now
from midwatch.model.service import Rules
from midwatch.model.state import ServiceState, Stepped
from midwatch.policy.draft import Draft
from midwatch.policy.handlers import ask, change, guard, health, outside, run
from midwatch.policy.state import IGNORED, cells

Handler = Callable[[Draft, Any], None]

_TAGS: dict[type, str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(ev.Event)}


def key_of(event: ev.Event) -> str:
    """The event's name in the table."""
    if isinstance(event, ev.Ask):
        return f"ask.{event.verb}"
    return f"probed.{event.kind}" if isinstance(event, ev.Probed) else _TAGS[type(event)]


def _handler(name: str) -> Handler | None:
    module, _, function = name.partition(".")
    modules = {"ask": ask, "run": run, "change": change, "health": health, "outside": outside, "guard": guard}
    return None if name == IGNORED else cast("Handler", getattr(modules[module], function))


_HANDLERS = {cell: _handler(row.handler) for cell, row in cells().items()}


def initial(service: str, rules: Rules, now: Now) -> ServiceState:
    """A service nobody has asked anything of yet."""
    return ServiceState(id=service, rules=rules, since=now.awake)


def step(state: ServiceState, event: ev.Event, now: Now) -> Stepped:
    """What becomes of `state`, and what has to be done, in order."""
    if getattr(event, "run", state.run) != state.run:
        return Stepped(state)  # about a run that is over
    if type(event) is ev.Tick and (state.wake_at is None or now.awake < state.wake_at):
        return Stepped(state)  # early, or of a timer that was moved
    draft = Draft(state, now.awake)
    if handler := _HANDLERS[state.phase, key_of(event)]:
        handler(draft, event)
    return Stepped(draft.s, tuple(draft.actions))
