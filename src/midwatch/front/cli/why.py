"""`midwatch why`: the verdict on a death, and why a service is not running now.

Reads the journal, so it works without a daemon; a running one adds the present state. Must not judge:
cause, confidence and reasons are the policy's, written when it happened. Tests: tests/front/test_why.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from midwatch.engine.layout import Layout
from midwatch.front.cli import history, instances, project, ps, story
from midwatch.front.cli.declare import ALL, JSON, Arg, Failure, Verb
from midwatch.front.cli.render import clock, coloured, duration, paint, plain, say_json, width, wrap

LINES = 5000  # journal lines of one service that are looked at
TAIL = 5  # lines of its last output that are shown


def _run(what: str | None, everything: bool, json: bool) -> int:
    picture = instances.look(record_only=True)
    service, run, pid = _meant(what, picture, everything)
    known = picture.find(service)
    lines = history.newest([known.layout], LINES, {service})
    ends = story.runs_of(lines)
    end = story.pick(ends, run, pid) if run is not None or pid is not None else story.newest_end(ends)
    row = known.row or _unwatched(known)
    if end is None and (run is not None or (pid is not None and (row or {}).get("pid") != pid)):
        raise Failure(
            f"the record of {service} has no end of {what}; 'midwatch events -s {service}' shows what it has"
        )
    document = story.answer(service, lines, end, row)
    if end is not None:
        document["evidence"]["output"] = last_output(known.layout, service, str(end.get("run_id")))
    if json:
        say_json(document)
        return 0
    for line in screen(document, width(), time.time()):
        print(line)
    return 0


def _unwatched(known: instances.Known) -> dict[str, Any] | None:
    """The row of a process that lives on although nobody watches it."""
    if known.row is not None or known.past or instances.locked(known.layout):
        return None
    row = ps.recorded_row(known)
    return row if row["pid"] is not None else None


def _meant(
    what: str | None, picture: instances.Picture, everything: bool
) -> tuple[str, str | None, int | None]:
    """The service, and the run or pid when one was named."""
    here = project.current()
    if what is None:
        return _latest(picture, None if everything else here)
    if what.isdigit():
        return _by_pid(int(what), picture), None, int(what)
    if what.count(".") == 2 and what.rpartition(".")[2].isdigit():
        service = what.rpartition(".")[0].replace(".", "/", 1)
        return history.named([service], picture, here)[0], what, None
    found = history.named([what], picture, here)
    return found[0], None, None


def _latest(picture: instances.Picture, owner: str | None) -> tuple[str, str | None, int | None]:
    mine = f"{owner}/" if owner else ""
    lines = history.newest(picture.layouts(), LINES)
    ends = [line for line in story.runs_of(lines) if str(line.get("service")).startswith(mine)]
    end = story.pick(ends, None, None)
    if end is not None:
        return history.named([str(end["service"])], picture, None)[0], str(end.get("run_id")), None
    ids = [known.id for known in picture.services if known.id.startswith(mine)]
    waiting = [name for name in ids if (picture.find(name).row or {}).get("state") != "up"]
    if waiting:
        return waiting[0], None, None
    if not ids:
        raise Failure(
            "nothing is known yet: no service has run; 'midwatch run -- CMD' or 'midwatch up' starts one"
        )
    raise Failure("nothing has died, as far as the record goes; 'midwatch ps' shows what runs", 0)


def _by_pid(pid: int, picture: instances.Picture) -> str:
    for known in picture.services:
        if (known.row or _unwatched(known) or {}).get("pid") == pid:
            return known.id
    for line in reversed(history.newest(picture.layouts(), None)):
        if line.get("pid") == pid and line.get("service"):
            return history.named([str(line["service"])], picture, None)[0]
    raise Failure(
        f"process {pid} was never a run of midwatch, as far as the record goes; 'midwatch ps -a' lists the "
        "runs"
    )


def last_output(layout: Layout, service: str, run: str) -> list[str]:
    """The last lines that a run printed, redacted: what is shown elsewhere than in `logs` gets pasted."""
    from midwatch.record.logs import tail
    from midwatch.record.redact import redact

    try:
        raw = tail(layout.service_logs(service), TAIL, run=run)
    except (OSError, LookupError):
        return []
    return [redact(line) for line in raw.decode(errors="replace").splitlines()[-TAIL:]]


def screen(document: dict[str, Any], room: int, now: float) -> list[str]:
    """The answer for a tired person."""
    bold = coloured()
    lines = [paint(piece, "bold", bold) for line in _headline(document, now) for piece in wrap(line, room)]
    decision = document["decision"]
    for reason in document["because"]:  # said once
        decision = decision.removeprefix(f"{reason}: ").removeprefix(reason)
    if document.get("now") and document["now"].get("state") == "waiting":
        decision = ""  # who holds the port and when it is tried again are told below
    for label, items in (
        ("because", document["because"]),
        ("against", document["against"]),
        ("before", [_event(line) for line in document["evidence"]["journal"]]),
        ("decided", [decision] if decision else []),
        ("now", list(_present(document.get("now"), document["because"], now))),
        ("printed", document["evidence"].get("output") or []),
        ("evidence", document["evidence"].get("captured") or []),
        ("do", document["do"]),
    ):
        lines += _block(label, items, room)
    return lines


def _headline(document: dict[str, Any], now: float) -> Iterator[str]:
    service, present = document["service"], document.get("now") or {}
    state = present.get("state")
    if state:
        words = story.UNWATCHED if state == "unwatched" else story.STATES.get(state, f"is {state}")
        yield f"{service} {words}."
    end = document["evidence"]["exit"]
    if end is None:
        if not state:
            yield f"{service}: no run of it has ended, as far as the record goes."
        return
    meaning = story.CAUSES.get(document["cause"], document["cause"])
    if "errno" in end:
        yield f"Start {document['run_id']} failed {_when(end, now)}: {end['errno']}."
        return
    lived = duration(end["duration_ms"] / 1000) if end.get("duration_ms") is not None else "?"
    sure = f", confidence {document['confidence']:.2f}" if document["confidence"] is not None else ""
    who = f"Run {document['run_id']}" + (f" (pid {end['pid']})" if end.get("pid") else "")
    if end.get("signal") is None and end.get("code") is None:
        yield f"{who} {_unseen(end, now)}."
    else:
        how = f"signal {end['signal']}" if end.get("signal") is not None else f"code {end.get('code')}"
        yield f"{who} ended {_when(end, now)} after {lived}, {how}."
    if end.get("orphaned"):
        meaning = "the next start ended what was left of it"
    yield f"Cause: {document['cause']} ({meaning}){sure}."


def _unseen(end: dict[str, Any], now: float) -> str:
    """An end of which no status is known."""
    ender = end.get("orphaned")
    if not ender:
        return f"was found ended {_when(end, now)}"
    left = f", {ender['left']} left" if ender.get("left") else ""
    verified = f", verified by {ender['verified_by']}" if ender.get("verified_by") else ""
    return f"outlived midwatch and was ended by its next start {_when(end, now)}{verified}{left}"


def _when(end: dict[str, Any], now: float) -> str:
    at = end.get("wall")
    return "?" if at is None else f"{clock(at, now)} ({duration(now - at)} ago)"


def _present(present: dict[str, Any] | None, because: list[str], now: float) -> Iterator[str]:
    if not present:
        return
    if present.get("problem") and present["problem"] not in because:
        yield f"what stands in the way: {present['problem']}"
    if present.get("needs"):
        yield f"waits: {'; '.join(present['needs'])}"
    if present.get("state") == "starting" and present.get("health") == "failing":
        yield "it runs, but it was not ready in time"
    elif present.get("health") == "failing":
        yield "it runs, but its health probe fails"
    if present.get("probe"):
        yield f"its ready probe last said: {present['probe']}"
    retry = present.get("retry_at")
    if retry is not None:
        yield f"next try {clock(retry, now)} (in {duration(max(0.0, retry - now))})"
    coming = present.get("next_at")
    if present.get("state") == "scheduled" and coming is not None:
        yield f"next time {clock(coming, now)} (in {duration(max(0.0, coming - now))})"
    if present.get("state") == "unwatched":
        yield f"pid {present.get('pid')} ({present.get('run_id')}); the next start takes it back, by its identity"
    if present.get("state") == "up":
        yield f"pid {present.get('pid')}, up {duration(present.get('uptime_s'))}"


def _event(line: dict[str, Any]) -> str:
    return history.words(line).replace("  midwatch  ", "  ", 1)


def _block(label: str, items: list[str], room: int) -> list[str]:
    lines: list[str] = []
    for number, item in enumerate(items):
        head = f" {label if number == 0 else '':8} "
        pieces = _pieces(plain(str(item)), max(20, room - len(head)))
        lines.append(head + pieces[0])
        lines += [" " * len(head) + piece for piece in pieces[1:]]
    return lines


def _pieces(item: str, room: int) -> list[str]:
    """A command is one line, so that it can be pasted: its comment goes first, then it is wider than the screen."""
    if item.startswith("midwatch "):
        return [item if len(item) <= room else item.partition("  # ")[0]]
    return wrap(item, room)


VERB = Verb(
    name="why",
    help="Say why something died, or why it is not running.",
    detail=(
        "The answer is a cause with its confidence, what speaks for and against it, what was decided, what it printed "
        "last, and what to do; for a service that is not up, also what it waits for."
    ),
    examples=("midwatch why", "midwatch why web", "midwatch why shop.web.4 --json"),
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
