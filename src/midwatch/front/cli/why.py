"""`midwatch why`: the verdict on a death, and why a service is not running now.

Reads the journal, so it works without a daemon; a running one adds the present state. Must not judge:
cause, confidence and reasons are the policy's, written when it happened. Tests: tests/front/test_why.py.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from midwatch.engine.layout import Layout
from midwatch.front.cli import bundles, history, instances, project, ps, samples, story, whyscreen
from midwatch.front.cli.declare import ALL, JSON, Arg, Failure, Verb
from midwatch.front.cli.render import clock, say_json, width

LINES = 5000  # journal lines of one service that are looked at
TAIL = 5  # lines of its last output that are shown


def _run(what: str | None, everything: bool, json: bool) -> int:
    found = document(what, everything)
    if json:
        say_json(found)
        return 0
    for line in whyscreen.screen(found, width(), time.time()):
        print(line)
    return 0


def document(what: str | None, everything: bool) -> dict[str, Any]:
    """What `why --json` says about a service, run or pid, or about the newest end. Raises Failure."""
    picture = instances.look(record_only=True)
    meant = _meant(what, picture, everything)
    service = meant.service
    known = picture.find(service)
    lines, daemon = _lines(known.layout, service)
    ends = story.runs_of(lines)
    row = known.row or _unwatched(known)
    living = row is not None and row.get("pid") is not None and (
        meant.pid == row["pid"] or (meant.run is not None and meant.run == row.get("run_id"))
    )  # fmt: skip
    named = meant.run is not None or meant.pid is not None
    end = None if living else story.pick(ends, meant.run, meant.pid) if named else story.newest_end(ends)
    if end is None and named and not living:
        raise Failure(
            f"the record of {service} has no end of {what}; 'midwatch events -s {service}' shows what it has"
        )
    run = str((end or row or {}).get("run_id") or "")
    found = story.answer(service, lines, end, row, _around(known.layout, lines, run, daemon, row, end))
    found["note"] = meant.note
    if run:
        found["evidence"]["output"] = last_output(known.layout, service, run)
    return found


def _lines(layout: Layout, service: str) -> tuple[list[history.Line], list[history.Line]]:
    """The service's newest lines, and midwatch's own among them."""
    wanted: Any = {service, None}  # a line about midwatch itself has no service
    both = history.newest([layout], LINES, wanted)
    return [x for x in both if x.get("service")], [x for x in both if not x.get("service")]


def _around(
    layout: Layout, lines: list[history.Line], run: str, daemon: list[history.Line], row: dict[str, Any] | None,
    end: history.Line | None,
) -> story.Around:
    """Evidence and measurements of one run."""
    if not run:
        return story.Around(daemon)
    found = bundles.of_run(layout.home, run, story.captured(lines, run))
    service = run.rpartition(".")[0].replace(".", "/", 1)
    points = samples.recorded(layout, service, run, history.wall(end) if end is not None else None)
    for bundle in reversed(found):
        points = points or bundles.samples(bundle)
    return story.Around(daemon, found, samples.summary(points, story.hard_line(lines, run, row)))


def _unwatched(known: instances.Known) -> dict[str, Any] | None:
    """The row of a process that lives on although nobody watches it."""
    if known.row is not None or known.past or instances.locked(known.layout):
        return None
    row = ps.recorded_row(known)
    return row if row["pid"] is not None else None


class Meant(NamedTuple):
    """The service, the run or pid when one was named, and what has to be said about that."""

    service: str
    run: str | None = None
    pid: int | None = None
    note: str = ""


def _meant(what: str | None, picture: instances.Picture, everything: bool) -> Meant:
    here = project.current()
    if what is None:
        return _latest(picture, None if everything else here)
    if what.isdigit():
        return _by_pid(int(what), picture)
    if what.count(".") == 2 and what.rpartition(".")[2].isdigit():
        service = what.rpartition(".")[0].replace(".", "/", 1)
        return Meant(history.named([service], picture, here)[0], what)
    return Meant(history.named([what], picture, here)[0])


def _latest(picture: instances.Picture, owner: str | None) -> Meant:
    mine = f"{owner}/" if owner else ""
    lines = history.newest(picture.layouts(), LINES)
    ends = [line for line in story.runs_of(lines) if str(line.get("service")).startswith(mine)]
    end = story.pick(ends, None, None)
    if end is not None:
        return Meant(history.named([str(end["service"])], picture, None)[0], str(end.get("run_id")))
    ids = [known.id for known in picture.services if known.id.startswith(mine)]
    waiting = [name for name in ids if (picture.find(name).row or {}).get("state") != "up"]
    if waiting:
        return Meant(waiting[0])
    if not ids:
        raise Failure(
            "nothing is known yet: no service has run; 'midwatch run -- CMD' or 'midwatch up' starts one"
        )
    raise Failure("nothing has died, as far as the record goes; 'midwatch ps' shows what runs", 0)


def _by_pid(pid: int, picture: instances.Picture) -> Meant:
    """The run whose main process has or had this number: the living one, else the newest."""
    runs = story.runs_with(history.newest(picture.layouts(), None), pid)
    living = next((k for k in picture.services if (k.row or _unwatched(k) or {}).get("pid") == pid), None)
    if living is not None:
        others = [run for run in runs if run != (living.row or _unwatched(living) or {}).get("run_id")]
        return Meant(living.id, None, pid, _reused(pid, others, runs, "this is the one that lives"))
    if runs:
        run = list(runs)[-1]
        note = _reused(pid, list(runs)[:-1], runs, f"this is the newest, {run}")
        return Meant(history.named([str(runs[run]["service"])], picture, None)[0], run, None, note)
    raise Failure(_stranger(pid, picture))


def _reused(pid: int, others: list[str], runs: dict[str, history.Line], which: str) -> str:
    """Numbers are used again: which run is meant, and when the others had it."""
    if not others:
        return ""
    when = [history.wall(runs[run]) for run in others]
    had = [f"{run} ({clock(at)})" if at is not None else run for run, at in zip(others, when, strict=True)]
    more = f" and {len(had) - 3} more" if len(had) > 3 else ""
    return f"{pid} was used more than once: earlier by {', '.join(had[-3:])}{more}; {which}"


def _stranger(pid: int, picture: instances.Picture) -> str:
    """What can be said of a process that was no run's main process."""
    run = _marker(pid, {layout.instance for layout in picture.layouts()})
    if run:
        return (f"process {pid} lives and belongs to the tree of run {run}, but is not its main process, and only a "
                f"run's main process has a verdict; 'midwatch why {run}' tells about the run")  # fmt: skip
    for layout in picture.layouts():
        seen = bundles.with_pid(layout.home, pid)
        if seen is not None:
            when = f" ({clock(seen[1])})" if seen[1] is not None else ""
            return (f"process {pid} was in the tree of run {seen[0]} when evidence was captured{when}; how a child "
                    f"ends is not recorded, only a run's main process; 'midwatch why {seen[0]}' tells about the run")
    lives = " (a process with that number lives now, and is not ours)" if Path(f"/proc/{pid}").is_dir() else ""
    return (f"process {pid} was never a run of midwatch, as far as the record goes{lives}; only a run's main process "
            "is recorded, not its children; 'midwatch ps -a' lists the runs")  # fmt: skip


def _marker(pid: int, instances_known: set[str]) -> str:
    """The run of ours that a living process says it belongs to, by its environment."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    marks = [one for one in raw.split(b"\0") if one.startswith(b"MIDWATCH_RUN=")]
    for mark in reversed(marks[-1].decode(errors="replace").partition("=")[2].split("/") if marks else []):
        instance, _, run = mark.partition(":")
        if instance in instances_known:
            return run
    return ""


def last_output(layout: Layout, service: str, run: str) -> list[str]:
    """The last lines that a run printed, redacted: what is shown elsewhere than in `logs` gets pasted."""
    from midwatch.record.logs import tail
    from midwatch.record.redact import redact

    try:
        raw = tail(layout.service_logs(service), TAIL, run=run)
    except (OSError, LookupError):
        return []
    return [redact(line) for line in raw.decode(errors="replace").splitlines()[-TAIL:]]


VERB = Verb(
    name="why",
    help="Say why something died, or why it is not running.",
    detail=(
        "The answer is a cause with its confidence, what speaks for and against it, what it was not, what was measured "
        "and captured, what was decided and what followed, what it printed last, and what to do; for a service that "
        "is not up, also what it waits for. Only the main process of a run is recorded, not its children."
    ),
    examples=("midwatch why", "midwatch why web", "midwatch why 4410", "midwatch why shop.web.4 --json"),
    run=_run,
    opts=(ALL, JSON),
    arg=Arg(
        "what",
        "NAME",
        "a service, a run id or a pid; without one, the newest end that nobody asked for.",
        complete="service",
    ),
    codes="Exit codes: 0 answered, 1 the record does not know it, 2 unknown name.",
)
