"""The answer of `why` as a person reads it: a headline, then labelled blocks in a fixed order.

Pure: takes the document that `why --json` prints. A command stays on one line, so that it can be pasted. Must not read
anything. Tests: tests/front/test_why.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from midwatch.front.cli import bundles, history, samples, story
from midwatch.front.cli.render import clock, coloured, coming, duration, paint, plain, wrap


def screen(document: dict[str, Any], room: int, now: float) -> list[str]:
    """The answer for a tired person."""
    bold, evidence = coloured(), document["evidence"]
    lines = [paint(piece, "bold", bold) for line in _headline(document, now) for piece in wrap(line, room)]
    decision = document["decision"]
    for reason in document["because"]:  # said once
        decision = decision.removeprefix(f"{reason}: ").removeprefix(reason)
    if document.get("now") and document["now"].get("state") == "waiting":
        decision = ""  # who holds the port and when it is tried again are told below
    for label, items in (
        ("note", [document["note"]] if document.get("note") else []),
        ("because", document["because"]),
        ("against", document["against"]),
        ("not", [words.removeprefix("not ") for words in document["ruled_out"]]),
        ("unclear", document["not_ruled_out"]),
        ("before", [_event(line) for line in evidence["journal"]]),
        ("measured", samples.words(evidence.get("samples"), (evidence["exit"] or {}).get("wall"))),
        ("decided", [decision] if decision else []),
        ("then", [*document["followed"], *document["came"]]),
        ("now", list(_present(document.get("now"), document["because"], now))),
        ("printed", evidence.get("output") or []),
        ("evidence", _captured(evidence)),
        ("do", document["do"]),
    ):
        lines += _block(label, items, room)
    return lines


def _captured(evidence: dict[str, Any]) -> list[str]:
    """The bundles in words; their folders alone where nobody looked into them."""
    return [bundles.words(one) for one in evidence.get("bundles") or []] or list(evidence.get("captured") or [])


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
    meaning = document["meaning"]
    if "errno" in end:
        yield f"Start {document['run_id']} failed {_when(end, now)}: {end['errno']}."
        if document["cause"]:
            yield f"Cause: {document['cause']} ({meaning})."
        return
    lived = duration(end["duration_ms"] / 1000) if end.get("duration_ms") is not None else "?"
    confidence = document["confidence"]
    sure = "" if confidence is None else f", confidence {confidence:.2f} ({story.sure(confidence)})"
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
    next_at = present.get("next_at")
    if present.get("state") == "scheduled" and next_at is not None:
        yield f"next time {coming(next_at, present.get('zone'), now)}"
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
