"""The theory, and the table: open this file first. Everything that changes a service's phase is a row in here.

**A service** is one `ServiceState` and nothing else: no clock, no task, no handle. It changes only in `step`, which
looks up the one row for (phase, event) and calls its handler. A change always writes at least one line (`Note`); the
journal keeps the event with that line, so feeding the events back gives the same states (replay.py). Only a timer may
be moved without a line.

**The two wants.** `want` is the operator's last word; only `Ask` changes it. A guard or a budget chooses a phase. So
"up, but held" and "down, but still killing" are ordinary. The newest intent wins: it replaces the job of the former
one, which is settled as superseded; no job is forgotten and none is settled twice.

**One run at a time.** `moves.spawn` is the only place that emits `Spawn`, reached only when no process of the former
run is left: an exit that left nothing behind, `TreeGone(left=0)`, or a spawn that failed. An event that names another
run than the current one is about the past and is ignored before the table is asked.

**The stop ladder.** signal -> grace (`Tick`) -> `Kill` -> `TreeGone`. Every stop goes through `Kill`, also when the
main process left by itself, because only `Kill` verifies. A second stop, or one with `now`, skips the rest of the
grace. `TreeGone` with processes left does not pretend: the job fails, the phase stays `killing`, it is tried again. The
main process's exit and the tree's end may come in either order; both have to come.

**The ends of trying.** `backoff` is inside the budget, `degraded` beyond it and for ever, `waiting` while somebody else
holds the port, `held` waits for a change, `scheduled` for its time, `gave_up` for a person, `done` for nobody.
`wake_at` belongs to the phase; a `Tick` before it is ignored.

Must not hold code that decides: handlers/ does, found by name. Tests: tests/policy/test_table.py.
"""

from __future__ import annotations

from typing import NamedTuple, get_args

from midwatch.model.state import Phase

PHASES: tuple[Phase, ...] = get_args(Phase)

# An event's row key: its tag, and for `Ask` and `Probed` what it asks or probes.
KEYS = (
    "ask.start", "ask.stop", "ask.restart", "ask.reset", "permit", "spawned", "spawn_failed", "probed.ready",
    "probed.health", "probed.deep", "exited", "tree_gone", "prechecked", "rules", "resumed", "tick",
    "port_busy", "wedged", "tripped", "eased", "due", "changed", "woke",
)  # fmt: skip

IGNORED = "IGNORED"


class Row(NamedTuple):
    """In these phases, these events are handled by `handler` (or IGNORED); it stays or leads to one of `leads_to`."""

    phases: frozenset[str]
    keys: frozenset[str]
    handler: str
    leads_to: frozenset[str]
    why: str


def _row(phases: str, keys: str, handler: str, leads_to: str = "", why: str = "") -> Row:
    return Row(frozenset(phases.split()), frozenset(keys.split()), handler, frozenset(leads_to.split()), why)


_RUNLESS = "stopped pending backoff degraded waiting scheduled held gave_up done"
_WAITING = "backoff degraded waiting held gave_up"
_PAUSED = "stopped pending scheduled done"
_LIVING = "starting up"
_ENDING = "stopping killing"
_AFTER = "starting backoff degraded waiting scheduled held gave_up done pending"

TABLE: tuple[Row, ...] = (
    # people
    _row("stopped backoff degraded waiting held gave_up done", "ask.start ask.restart", "ask.start_again", "pending"),
    _row("scheduled", "ask.start ask.restart", "ask.run_now", "starting", "not at its time, but now"),
    _row("pending starting", "ask.start", "ask.join", why="it is coming up already"),
    _row("pending", "ask.restart", "ask.join", why="it waits for what it needs"),
    _row("up", "ask.start", "ask.nothing_to_do"),
    _row("stopped", "ask.stop", "ask.nothing_to_do"),
    _row(_ENDING, "ask.start", "ask.start_after", why="the tree has to be gone first"),
    _row(_WAITING + " pending scheduled done", "ask.stop", "ask.stop_idle", "stopped", "nothing runs"),
    _row(_LIVING, "ask.stop ask.restart", "ask.stop", "stopping killing"),
    _row(_ENDING, "ask.stop", "ask.stop_again", "killing", "the second stop ends the grace"),
    _row(_ENDING, "ask.restart", "ask.restart_after"),
    _row("stopped pending starting up stopping killing scheduled done", "ask.reset", "ask.reset"),
    _row(_WAITING, "ask.reset", "ask.reset", "starting scheduled"),
    # the fleet
    _row("pending", "permit", "run.go", "starting scheduled", "one with a schedule is armed"),
    _row("stopped starting up stopping killing scheduled done " + _WAITING, "permit", IGNORED, why="late"),
    # the run
    _row("starting", "spawned", "run.spawned", "up"),
    _row("stopping", "spawned", "run.spawned", "killing"),
    _row("up killing " + _RUNLESS, "spawned", IGNORED, why="told twice"),
    _row("starting", "spawn_failed", "run.spawn_failed", _AFTER),
    _row("stopping", "spawn_failed", "run.spawn_failed", "stopped starting pending"),
    _row("up killing " + _RUNLESS, "spawn_failed", IGNORED, why="it did start, or it is over"),
    _row("starting", "port_busy", "run.port_busy", "waiting"),
    _row("stopping", "port_busy", "run.port_busy", "stopped starting pending"),
    _row("up killing " + _RUNLESS, "port_busy", IGNORED, why="it did start, or it is over"),
    _row("starting", "probed.ready", "health.ready", "up"),
    _row("up stopping killing " + _RUNLESS, "probed.ready", IGNORED, why="ready already, or leaving"),
    _row("up", "probed.health", "health.health", "stopping"),
    _row("up", "probed.deep", "health.deep", "stopping"),
    _row("up", "wedged", "health.wedged", "stopping"),
    _row("starting stopping killing " + _RUNLESS, "probed.health probed.deep wedged", IGNORED, why="only while up"),
    _row(_LIVING, "exited", "run.exited", _AFTER + " killing"),
    _row("stopping", "exited", "run.exited_in_stop", "killing"),
    _row("killing", "exited", "run.exited_in_kill", "stopped " + _AFTER),
    _row(_RUNLESS, "exited", IGNORED, why="recorded already"),
    _row("killing", "tree_gone", "run.tree_gone", "stopped " + _AFTER),
    _row("starting up stopping " + _RUNLESS, "tree_gone", IGNORED, why="an answer to an older kill"),
    # the guards
    _row(_LIVING, "tripped", "guard.tripped", "stopping killing", "a line was crossed"),
    _row(_ENDING, "tripped", "guard.hurried", "killing", "the grace has to be shorter now"),
    _row(_LIVING, "eased", "guard.eased"),
    _row(_RUNLESS, "tripped eased", IGNORED, why="nothing runs"),
    _row(_ENDING, "eased", IGNORED, why="it is going to end anyway"),
    # the rest
    _row("held", "prechecked", "change.prechecked", "starting scheduled"),
    _row("starting up stopping killing backoff degraded waiting gave_up " + _PAUSED, "prechecked", IGNORED),
    _row(_LIVING, "rules", "change.rules", "up stopping"),
    _row(_WAITING, "rules", "change.rules", "starting scheduled"),
    _row("scheduled", "rules", "change.rules", "starting", "its schedule was removed"),
    _row("stopped pending done stopping killing", "rules", "change.rules"),
    _row("starting up killing held", "resumed", "change.resumed"),
    _row("stopping", "resumed", "change.resumed", "killing"),
    _row("backoff degraded waiting gave_up " + _PAUSED, "resumed", IGNORED, why="nothing ran; timers go on"),
    _row("starting", "tick", "health.not_ready_in_time", "stopping"),
    _row("up", "tick", "health.healed", "stopping", "or its deadline"),
    _row("stopping", "tick", "run.grace_over", "killing"),
    _row("killing", "tick", "run.again", "stopped " + _AFTER),
    _row("backoff degraded", "tick", "run.go", "starting scheduled"),
    _row("waiting", "tick", "run.go", "starting", "the port is looked at first"),
    _row("held", "tick", "change.recheck"),
    # from outside
    _row("scheduled", "due", "outside.due", "starting"),
    _row("pending starting up stopping killing " + _WAITING, "due", "outside.due", why="single flight"),
    _row("stopped done", "due", IGNORED, why="nobody wants it"),
    _row(_LIVING, "changed", "outside.changed", "stopping"),
    _row(_WAITING + " done", "changed", "outside.changed", "starting"),
    _row("stopped pending scheduled stopping killing", "changed", IGNORED, why="the next run reads them anyway"),
    _row("starting up stopping killing " + _RUNLESS, "woke", "outside.woke"),
    _row("stopped pending scheduled gave_up done", "tick", IGNORED, why="no timer"),
)


def cells() -> dict[tuple[str, str], Row]:
    """(phase, event key) -> its row. Raises when a pair is hit twice or not at all."""
    found: dict[tuple[str, str], Row] = {}
    for row in TABLE:
        for phase in row.phases:
            for key in row.keys:
                if found.setdefault((phase, key), row) is not row:
                    raise ValueError(f"two rows for {phase} x {key}: {found[phase, key].handler} and {row.handler}")
    missing = [(p, k) for p in PHASES for k in KEYS if (p, k) not in found]
    if missing or len(found) != len(PHASES) * len(KEYS):
        raise ValueError(f"the table has holes or unknown names: {missing}")
    return found
