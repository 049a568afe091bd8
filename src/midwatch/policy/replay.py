"""The back-test: recorded inputs through `step` again, and each decision beside the recorded one.

Lines are journal lines as dicts, read by record/. An input stands on the first line it caused; the lines of the same
service up to the next input are what was decided then. With other rules the world (spawns, exits, probes, what guards
measured) is taken from the record, only the decisions are new: what a run would have done after a stop or a line that
only one side has is nowhere to be read. What cannot be known says "not recorded". Tests: tests/policy/test_replay.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from midwatch.model import event as ev
from midwatch.model.action import Note
from midwatch.model.identity import Now
from midwatch.model.service import Rules
from midwatch.model.state import ServiceState
from midwatch.model.units import format_bytes
from midwatch.policy.defaults import LINE_AHEAD
from midwatch.policy.events import EVENTS
from midwatch.policy.step import step

Line = Mapping[str, Any]
Decisions = tuple[tuple[str, Any], ...]  # (event, fields) in order
NOT_RECORDED = "not recorded"
_ENVELOPE = frozenset({"ts", "event", "service", "input", "awake"})
_WORDS = frozenset({"because", "against", "do", "decision", "error", "detail"})


class Compared(msgspec.Struct, frozen=True):
    """One input: what was decided, what is decided now, whether that is the same, and why it cannot be said."""

    ts: str
    awake: float
    service: str
    cause: str
    recorded: Decisions
    replayed: Decisions
    same: bool
    remark: str = ""


def replay(
    snapshot: Mapping[str, Any] | None, lines: Iterable[Line], rules: Mapping[str, Rules] | None = None
) -> list[Compared]:
    """Every recorded input after `snapshot` ({"now", "states"}), stepped again. `rules`: other rules by service id."""
    states = _states(snapshot, rules or {})
    stopped: set[str] = set()  # runs that we ended, or asked to leave, in the record
    adrift: set[str] = set()  # services whose recorded run would be another one now
    found: list[Compared] = []
    for group in _groups(lines):
        head = group[0]
        if head["event"] in ("journal.opened", "journal.gap"):
            states = _states(head.get("snapshot"), rules or {}) if not rules or not states else states
            continue
        name = str(head.get("service") or "")
        event = msgspec.convert(head["input"], ev.Event)  # type: ignore[var-annotated, arg-type, unused-ignore]
        recorded = _decisions(group)
        stopped |= {str(fields.get("run_id")) for kind, fields in recorded if _ends(kind, fields)}
        tag, at, awake = str(head["input"]["e"]), str(head.get("ts", "")), float(head["awake"])
        state = states.get(name)
        if state is None:
            found.append(Compared(at, awake, name, tag, recorded, (), False, NOT_RECORDED))
            continue
        if name in (rules or {}):
            if remark := _elsewhere(event, state, stopped, name in adrift):
                adrift.add(name)
                found.append(Compared(at, awake, name, tag, recorded, (), False, f"{NOT_RECORDED}: {remark}"))
                continue
            if isinstance(event, ev.Spawned | ev.SpawnFailed | ev.Ask):
                adrift.discard(name)
            event, state = _other_rules(event, state, awake)
        done = step(state, event, Now(awake, 0.0, ""))
        states[name] = done.state
        notes = tuple((a.event, _plain(a.fields)) for a in done.actions if isinstance(a, Note))
        found.append(Compared(at, awake, name, tag, recorded, notes, _same(recorded, notes)))
    return found


def _states(snapshot: Mapping[str, Any] | None, rules: Mapping[str, Rules]) -> dict[str, ServiceState]:
    states = [msgspec.convert(raw, ServiceState) for raw in (snapshot or {}).get("states", ())]
    return {s.id: replace(s, rules=rules.get(s.id, s.rules)) for s in states}


def _groups(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Each input line with the lines of its service that follow it; snapshots and gaps stand alone, in their place."""
    open_groups: dict[str, list[Line]] = {}
    for line in lines:
        name = str(line.get("service") or "")
        if line["event"] in ("journal.opened", "journal.gap"):
            yield from open_groups.values()
            open_groups = {}
            yield [line]
        elif "input" in line:
            if name in open_groups:
                yield open_groups.pop(name)
            open_groups[name] = [line]
        elif name in open_groups:
            open_groups[name].append(line)
    yield from open_groups.values()


def _decisions(group: list[Line]) -> Decisions:
    ours = (line for line in group if line["event"] in EVENTS and EVENTS[line["event"]].source == "policy")
    return tuple((str(line["event"]), {k: v for k, v in line.items() if k not in _ENVELOPE}) for line in ours)


def _plain(fields: dict[str, Any]) -> Any:
    """As the journal has it: a tuple is a list there."""
    return msgspec.json.decode(msgspec.json.encode(fields))


def _same(recorded: Decisions, replayed: Decisions) -> bool:
    """Equal in everything that was decided; the words may have been redacted in the record."""
    if [event for event, _ in recorded] != [event for event, _ in replayed]:
        return False
    both = [(old, new) for (_, old), (_, new) in zip(recorded, replayed, strict=True)]
    return all(old.get(key) == value for old, new in both for key, value in new.items() if key not in _WORDS)


def _ends(kind: str, fields: Mapping[str, Any]) -> bool:
    return kind in ("stop.begin", "stop.kill") or (kind == "guard.tripped" and fields.get("action") == "drain")


def _elsewhere(event: ev.Event, state: ServiceState, stopped: set[str], adrift: bool) -> str:
    """Why the record does not know what the other rules would have met; empty: it does."""
    if isinstance(event, ev.Tripped) and event.guard == "memory" and event.level != "warn":
        line = getattr(state.rules.memory, event.level, None)
        if line is None:
            return f"there is no {event.level} line then; what it would have held later"
        speed = LINE_AHEAD if event.level == "hard" else 0.0  # a fast one was acted on before its hard line
        if isinstance(line, int) and event.value < line * (1 - speed):
            held = f"{format_bytes(event.value)} held is under the {event.level} line of {format_bytes(line)}"
            return f"{held}; what it would have held later"
    if isinstance(event, ev.Tick) and adrift:
        return "what follows from that"
    if not isinstance(event, ev.Exited | ev.TreeGone) or event.run != state.run:
        return ""
    if event.run in stopped and state.phase in ("starting", "up") and state.drain_by is None:
        return "it was asked to leave, and would not have been; how long it would have lived"
    if event.run not in stopped and state.phase == "stopping":
        return "it would have been stopped before; how it would have ended"
    return ""


def _other_rules(event: ev.Event, state: ServiceState, awake: float) -> tuple[ev.Event, ServiceState]:
    """The recorded world under other rules: a run that the record has and the replay has not is put in its place."""
    if isinstance(event, ev.NewRules):
        return replace(event, rules=state.rules), state
    run = getattr(event, "run", None)
    if isinstance(event, ev.Spawned | ev.SpawnFailed | ev.PortBusy) and (state.phase != "starting" or state.run != run):
        number = int(event.run.rpartition(".")[2])
        return event, replace(state, phase="starting", run=run, run_no=number, pid=None, wake_at=None, want="up")
    if isinstance(event, ev.Exited) and (state.phase not in ("up", "stopping", "killing") or state.run != run):
        return event, replace(state, phase="up", run=run, pid=0, spawned_at=awake - event.facts.duration, want="up")
    return event, state
