"""What the journal and the daemon know about one service or run, put together for `why`.

Picks lines; adds nothing but the next command to type. What is ruled out is in ruled.py. Pure: takes lines and rows,
returns values. Tests: tests/front/test_why.py.
"""

from __future__ import annotations

from typing import Any

from midwatch.front.cli import ruled
from midwatch.front.cli.history import Line, wall
from midwatch.front.cli.render import duration

CAUSES = {
    "requested": "somebody asked for it",
    "drain": "it left by itself, with the exit code it declares for that",
    "clean": "it ended by itself with exit code 0",
    "port-conflict": "somebody else has its port",
    "permanent": "it said by its exit code that trying again cannot help",
    "oom": "the kernel killed it because memory ran out",
    "memory-guard": "it was at its memory line and midwatch stopped it",
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
_BEGUN = frozenset({"run.spawning", "run.spawned", "run.spawn_failed"})
_PIDS = frozenset({"run.spawned", "run.adopted", "run.exited", "run.daemonised", "run.orphaned"})
_LED = ("stop.", "health.", "probe.", "guard.", "budget.", "output.dropped", "run.leftovers", "run.orphaned")
_PLACE = ("host.", "budget.over", "disk.", "clock.", "engine.restarted", "daemon.upgrading")
MOST_OF_PLACE = 6  # newest lines about the machine and midwatch itself that are shown with a run
_SURE = ((1.0, "certain"), (0.9, "almost certain"), (0.8, "likely"), (0.6, "probable"), (0.0, "uncertain"))


class Around:
    """What stands around an end, besides its service's own lines: midwatch's own lines, evidence, measurements."""

    def __init__(
        self, daemon: list[Line] | None = None, bundles: list[dict[str, Any]] | None = None,
        samples: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.daemon = daemon or []
        self.bundles = bundles or []
        self.samples = samples


def sure(confidence: float) -> str:
    """A confidence in a word."""
    return next(word for least, word in _SURE if round(confidence, 2) >= least)


def meaning(end: Line, led: list[Line]) -> str:
    """The cause in words: who did it, as far as the record tells them apart."""
    cause, found = str(end.get("cause")), ruled.facts(end)
    if cause == "oom" and found.get("oom_by"):
        return f"{found['oom_by']} killed it because memory ran short"
    text = str(found.get("kernel_oom") or "")
    if cause == "oom" and f"/{end.get('run_id')}," in text:
        return "the kernel killed it at the memory line that midwatch had set for it"
    if cause == "oom" and "out of memory: the whole machine" in text:
        return "the kernel killed it because the whole machine ran out of memory"
    tripped = [line for line in led if line.get("event") == "guard.tripped" and ruled.acts(line)]
    levels = {str(line.get("level")) for line in tripped}
    hosts = any(line.get("guard") == "host" and line.get("level") == "hard" for line in tripped)
    late = any(line.get("event") == "guard.drain" and line.get("outcome") == "late" for line in led)
    if cause == "memory-guard" and hosts:
        return "the machine, or all services together, needed its memory back and midwatch stopped it"
    if cause == "memory-guard" and "hard" in levels:
        polite = all(line.get("action") == "stop" for line in tripped if line["level"] == "hard")
        done = "stopped" if polite else "killed"
        return f"its memory was at its hard line, or about to cross it, and midwatch {done} it"
    if cause in ("memory-guard", "fd-guard") and late:
        return "midwatch asked it to finish and leave, it did not in time, and midwatch stopped it"
    if cause == "memory-guard" and levels == {"soft"} and end.get("signal"):
        return "midwatch asked it to finish and leave, and the signal that asked ended it"
    if cause in ("memory-guard", "drain") and "soft" in levels:
        return "it held more memory than its soft line, midwatch asked it to finish and leave, and it left"
    return CAUSES.get(cause, cause)


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
    at = next((number for number, line in enumerate(lines) if line is end), len(lines))
    return so_far(lines[:at], end.get("run_id"))


def so_far(lines: list[Line], run: str | None) -> list[Line]:
    """The same of a run that lives."""
    return [line for line in lines if line.get("run_id") == run and str(line.get("event")).startswith(_LED)]


def hard_line(lines: list[Line], run: str, row: dict[str, Any] | None) -> int | None:
    """The line the run was killed at, or would have been: from the guard's own words, else the present one unless the
    rules have changed since the run began. None: not known, or none."""
    tripped = [x for x in lines if x.get("run_id") == run and x.get("event") == "guard.tripped"]
    told = [x["line_bytes"] for x in tripped if x.get("level") == "hard" and x.get("line_bytes")]
    if told:
        return int(told[-1])
    began = next((n for n, x in enumerate(lines) if x.get("run_id") == run and x.get("event") in _BEGUN), None)
    if began is None or any(x.get("event") == "service.rules" for x in lines[began:]):
        return None
    found = ((row or {}).get("memory") or {}).get("hard_bytes")
    return int(found) if found else None


def runs_with(lines: list[Line], pid: int) -> dict[str, Line]:
    """Every run whose main process had this number, oldest first, with the first line that says so.

    Other lines may hold the pid of a stranger (`port.conflict`).
    """
    found: dict[str, Line] = {}
    for line in lines:
        if line.get("event") in _PIDS and pid in (line.get("pid"), line.get("launcher_pid")) and line.get("run_id"):
            found.setdefault(str(line["run_id"]), line)
    return found


def followed(lines: list[Line], end: Line) -> list[str]:
    """What came of the decision: the next run of the service, and how it fared."""
    at = next((number for number, line in enumerate(lines) if line is end), len(lines))
    later = [line for line in lines[at + 1 :] if line.get("service") == end.get("service")]
    spawn = next((line for line in later if line.get("event") in ("run.spawned", "run.spawn_failed")), None)
    died, began = wall(end), wall(spawn) if spawn else None
    if spawn is None or died is None or began is None:
        return []
    when = f"{duration(max(0.0, began - died))} later"
    if spawn["event"] == "run.spawn_failed":
        return [f"the next start ({spawn.get('run_id')}) failed {when}: {spawn.get('errno')}"]
    words = f"{spawn.get('run_id')} was started {when} (pid {spawn.get('pid')})"
    next_end = next((x for x in later if x.get("event") == "run.exited" and x.get("run_id") == spawn["run_id"]), None)
    if next_end is not None and next_end.get("duration_ms") is not None:
        words += f"; it ended after {duration(next_end['duration_ms'] / 1000)}: {next_end.get('cause')}"
    return [words]


def came(ends: list[Line], run: str | None) -> list[str]:
    """Why a living run exists: the end before it."""
    before = [end for end in ends if end.get("run_id") != run]
    if not before:
        return []
    end = before[-1]
    words = f"it came after {end.get('run_id')}, which ended: {end.get('cause')}"
    return [f"{words} ({end['decision']})" if end.get("decision") else words]


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


def answer(
    service: str, lines: list[Line], end: Line | None, row: dict[str, Any] | None, around: Around | None = None
) -> dict[str, Any]:
    """The document of `why --json`. Without an end it is about the run that lives."""
    around = around or Around()
    found = end or {}
    run = found.get("run_id") or (row or {}).get("run_id")
    led = killed_by(lines, found) if end is not None else so_far(lines, run)
    out, still = ruled.ruled_out(_case(lines, end, led, around)) if end is not None else ([], [])
    return {
        "service": service,
        "run_id": run,
        "cause": found.get("cause"),
        "meaning": meaning(found, led) if end is not None else "",
        "confidence": found.get("confidence"),
        "because": list(found.get("because") or []) or ([str(found["error"])] if found.get("error") else []),
        "against": list(found.get("against") or []),
        "ruled_out": out,
        "not_ruled_out": still,
        "do": [*next_steps(service, end, row), *_freeing(service, lines, row)],
        "evidence": {
            "exit": _exit(found) | _unseen(lines, found) if end is not None else None,
            "journal": [_short(line) for line in _with_place(led, lines, found, around)],
            "captured": captured(lines, run),
            "bundles": around.bundles,
            "samples": around.samples,
        },
        "decision": _decided(lines, end, row),
        "followed": followed(lines, end) if end is not None else [],
        "came": came(runs_of(lines), run) if end is None and run is not None else [],
        "now": _now(row, lines, service),
    }


def _with_place(led: list[Line], lines: list[Line], end: Line, around: Around) -> list[Line]:
    """What led to it, with what happened to the machine and to midwatch itself during that run."""
    run = end.get("run_id")
    began = next((str(x.get("ts")) for x in lines if x.get("run_id") == run and x.get("event") in _BEGUN), None)
    if not end or began is None:
        return led
    until = str(end.get("ts", ""))
    within = [x for x in around.daemon if began <= str(x.get("ts", "")) <= until]
    place = [x for x in within if str(x.get("event")).startswith(_PLACE)]
    return sorted([*led, *place[-MOST_OF_PLACE:]], key=lambda line: str(line.get("ts", "")))


def _case(lines: list[Line], end: Line, led: list[Line], around: Around) -> ruled.Case:
    """The end with what midwatch wrote about itself before it: since the run began, and its last start."""
    at, run = str(end.get("ts", "")), end.get("run_id")
    began = next((x for x in lines if x.get("run_id") == run and x.get("event") in _BEGUN), None)
    earlier = [x for x in around.daemon if str(x.get("ts", "")) <= at]
    since = str((began or {}).get("ts", ""))
    starts = [n for n, x in enumerate(earlier) if x.get("event") == "daemon.started"]
    told = [
        x for n, x in enumerate(earlier)
        if str(x.get("ts", "")) >= since or (starts and n >= starts[-1] and x.get("event") != "clock.gap")
    ]  # fmt: skip
    return ruled.Case(end, led, told, around.samples, began is not None)


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
    names = ("state", "want", "pid", "run_id", "uptime_s", "health", "decision", "retry_at", "next_at", "zone", "needs")
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
