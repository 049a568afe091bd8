"""What the journal and the daemon know about one service or run, put together for `why`.

Picks lines; adds nothing but the next command to type. Pure: takes lines and rows, returns values.
Tests: tests/front/test_why.py.
"""

from __future__ import annotations

from typing import Any

from midwatch.front.cli.history import Line, wall

CAUSES = {
    "requested": "somebody asked for it",
    "drain": "it left by itself, with the exit code it declares for that",
    "clean": "it ended by itself with exit code 0",
    "port-conflict": "somebody else has its port",
    "permanent": "it said by its exit code that trying again cannot help",
    "oom": "the kernel killed it because memory ran out",
    "memory-guard": "it held more memory than its line and midwatch stopped it",
    "fd-guard": "it had too many files open and midwatch stopped it",
    "unhealthy": "it did not answer its probe and midwatch stopped it",
    "segfault": "it touched memory it does not own and the kernel ended it",
    "abort": "it aborted itself",
    "killed": "somebody killed it; it was not midwatch",
    "crash": "it failed",
    "spawn-failed": "it could not be started",
    "lost": "it ended while nobody could see how",
}
STATES = {
    "stopped": "is stopped and nobody wants it to run",
    "pending": "has not started: it waits for what it needs",
    "starting": "is starting and not ready yet",
    "up": "is up",
    "stopping": "is being stopped; its grace runs",
    "killing": "is being ended; what is left of it is killed",
    "backoff": "is not running; it waits for its next try",
    "degraded": "is not running; it crashed too often and is tried rarely now",
    "waiting": "is not running; somebody else holds its port",
    "scheduled": "is not running; it waits for its next time",
    "held": "is not running; trying again cannot help until something changes",
    "gave_up": "is not running; midwatch gave up on it",
    "done": "is done; it ended as it was meant to",
}
UNWATCHED = "is unwatched: its process lives on, but neither keeper nor engine does"
_ENDS = frozenset({"run.exited", "run.spawn_failed"})


def runs_of(lines: list[Line]) -> list[Line]:
    """The ends in these lines, oldest first."""
    return [line for line in lines if line.get("event") in _ENDS]


def pick(ends: list[Line], run: str | None, pid: int | None) -> Line | None:
    """The end of a given run or pid, else the newest that nobody asked for, else the newest."""
    if run is not None:
        return next((line for line in reversed(ends) if line.get("run_id") == run), None)
    if pid is not None:
        return next((line for line in reversed(ends) if line.get("pid") == pid), None)
    unasked = [line for line in ends if line.get("cause") != "requested"]
    return unasked[-1] if unasked else ends[-1] if ends else None


def newest_end(ends: list[Line]) -> Line | None:
    """The last end of a service, whatever its cause."""
    return ends[-1] if ends else None


def decision_after(lines: list[Line], end: Line) -> str:
    """The last decision that was taken between this end and the next start of the service."""
    said = str(end.get("decision") or "")
    at = next((i for i, line in enumerate(lines) if line is end), len(lines))
    for line in lines[at + 1 :]:
        if line.get("service") != end.get("service"):
            continue
        if line.get("event") == "run.spawning":
            break
        said = str(line.get("decision") or said)
    return said


def killed_by(lines: list[Line], end: Line) -> list[Line]:
    """What stopped or killed this run, as the journal has it: stop, probes, guards."""
    wanted = ("stop.", "health.", "probe.", "guard.", "budget.", "output.dropped", "run.leftovers", "run.orphaned")
    run = end.get("run_id")
    at = next((number for number, line in enumerate(lines) if line is end), len(lines))
    return [
        line for line in lines[:at] if line.get("run_id") == run and str(line.get("event")).startswith(wanted)
    ]


def orphaned(lines: list[Line], end: Line) -> Line | None:
    """How the next start of midwatch ended this run, which had outlived it; None when it did not."""
    run = end.get("run_id")
    return next((x for x in lines if x.get("event") == "run.orphaned" and x.get("run_id") == run), None)


def next_steps(service: str, end: Line | None, row: dict[str, Any] | None) -> list[str]:
    """The verdict's own advice first, then the command that goes on from here."""
    steps = [str(step) for step in (end or {}).get("do") or []]
    state = (row or {}).get("state")
    if row is None and end is not None and end.get("event") == "run.spawn_failed":
        steps.append("correct that, then start it again")
    if (
        end is not None
        and end.get("event") == "run.exited"
        and end.get("cause") not in {"requested", "clean"}
    ):
        steps.append(f"midwatch logs {service} --run {end.get('run_id')}  # its last output")
    if state == "unwatched":
        steps.append("midwatch up  # takes it back as it is")
    elif state in {"held", "gave_up", "degraded", "backoff"}:
        steps.append(f"midwatch reset {service}  # tries again now")
    elif state == "stopped":
        steps.append(f"midwatch start {service}  # starts it")
    elif state == "pending":
        steps += (
            [f"midwatch why {name.split(' ')[0]}  # why that one is not there" for name in row["needs"]]
            if row and row.get("needs")
            else []
        )
    return steps


def answer(service: str, lines: list[Line], end: Line | None, row: dict[str, Any] | None) -> dict[str, Any]:
    """The document of `why --json`."""
    found = end or {}
    return {
        "service": service,
        "run_id": found.get("run_id") or (row or {}).get("run_id"),
        "cause": found.get("cause"),
        "confidence": found.get("confidence"),
        "because": list(found.get("because") or []) or ([str(found["error"])] if found.get("error") else []),
        "against": list(found.get("against") or []),
        "do": [*next_steps(service, end, row), *_freeing(service, lines, row)],
        "evidence": {
            "exit": _exit(found) | _unseen(lines, found) if end is not None else None,
            "journal": [_short(line) for line in killed_by(lines, found)] if end is not None else [],
            "captured": captured(lines, found.get("run_id") or (row or {}).get("run_id")),
        },
        "decision": _decided(lines, end, row),
        "now": _now(row, lines, service),
    }


def captured(lines: list[Line], run: str | None) -> list[str]:
    """The folders of what was captured of this run, the newest last."""
    return [str(x["path"]) for x in lines if x.get("event") == "evidence.captured" and x.get("run_id") == run]


def _conflict(lines: list[Line], row: dict[str, Any] | None) -> Line:
    """Who holds the port of a service that waits for it, as the journal has it."""
    if (row or {}).get("state") != "waiting":
        return {}
    return next((line for line in reversed(lines) if line.get("event") == "port.conflict"), {})


def _freeing(service: str, lines: list[Line], row: dict[str, Any] | None) -> list[str]:
    """What frees the port, and then: at once instead of at the next look."""
    conflict = _conflict(lines, row)
    if not conflict:
        return []
    return [*filter(None, [str(conflict.get("do") or "")]), f"midwatch reset {service}  # looks again now"]


def _decided(lines: list[Line], end: Line | None, row: dict[str, Any] | None) -> str:
    """What was decided after the end; without one, why it is not up."""
    if end is not None:
        return decision_after(lines, end)
    calm = row is None or row.get("state") in {"up", "done", "starting"} or row.get("needs")
    return "" if calm else str((row or {}).get("decision") or "")


def _exit(end: Line) -> dict[str, Any]:
    names = (
        "pid",
        "code",
        "signal",
        "status",
        "reported_signal",
        "duration_ms",
        "crash_count",
        "errno",
        "phase",
    )
    return {"at": end.get("ts"), "wall": wall(end), **{name: end[name] for name in names if name in end}}


def _unseen(lines: list[Line], end: Line) -> dict[str, Any]:
    """For an end that nobody saw: how it was ended, if the next start did it."""
    ender = orphaned(lines, end) if end.get("cause") == "lost" else None
    return {} if ender is None else {"orphaned": {key: ender.get(key) for key in ("ended", "left", "verified_by")}}


def _short(line: Line) -> dict[str, Any]:
    skip = {"input", "awake", "service", "run_id", "snapshot"}
    return {key: value for key, value in line.items() if key not in skip}


def _now(row: dict[str, Any] | None, lines: list[Line], service: str) -> dict[str, Any] | None:
    """Why it is, or is not, running at this moment."""
    if row is None:
        return None
    names = ("state", "want", "pid", "run_id", "uptime_s", "health", "decision", "retry_at", "next_at", "needs")
    held = [
        line
        for line in lines
        if line.get("service") == service
        and line.get("event") in {"service.held", "service.recheck", "run.spawn_failed"}
    ]
    problem = ""
    if row.get("state") == "held" and held:
        last = held[-1]
        problem = str(last.get("problem") or last.get("error") or last.get("reason") or "")
    if conflict := _conflict(lines, row):
        problem = f"port {conflict.get('port')} is held by {conflict.get('owner')}"
    probes = [
        line for line in lines if line.get("event") == "probe.failed" and line.get("run_id") == row.get("run_id")
    ]
    probe = str(probes[-1].get("detail") or "") if probes and row.get("state") == "starting" else ""
    return {**{name: row.get(name) for name in names}, "problem": problem, "probe": probe}
