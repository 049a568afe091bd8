"""How the results of `doctor` look: by category, worst first, each finding with one fix; and as a document.

Fits 80 columns and a phone; a command is never broken. What passes is one line a category unless all is asked for.
Must not judge. Tests: tests/front/test_doctor.py.
"""

from __future__ import annotations

import sys
from itertools import groupby
from typing import Any

import msgspec

from midwatch.front.cli.render import cut, paint, plain, wrap
from midwatch.inspect.doctor import registry
from midwatch.inspect.freeze import Freeze
from midwatch.model.look import Checked
from midwatch.record.redact import redact, redact_value

_COLOURS = {"fail": "failing", "warn": "waiting", "skip": "dim", "pass": "ok"}
_MARGIN = 7  # columns of "  fail "


def screen(results: list[Checked], room: int, colour: bool, everything: bool) -> list[str]:
    """`results` in the order in which they are shown."""
    titles = {check.id: check.title for check in registry.checks()}
    lines: list[str] = []
    for category, group in groupby(results, key=lambda one: one.category):
        rows = list(group)
        lines.append(paint(category, "bold", colour))
        shown = [one for one in rows if everything or one.status != "pass"]
        for one, names in _merged(shown, titles):
            lines += _finding(one, names, room, colour)
        quiet = dict.fromkeys(titles.get(one.id, one.id) for one in rows if one.status == "pass")
        noisy = {titles.get(one.id, one.id) for one in shown}
        fine = [title for title in quiet if title not in noisy]
        if fine and not everything:
            lines += _block("ok", ", ".join(fine), room, colour, "pass")
    return lines


def _merged(rows: list[Checked], titles: dict[str, str]) -> list[tuple[Checked, str]]:
    """(result, titles): checks that could not look for the same reason are one line."""
    found: dict[tuple[str, ...], tuple[Checked, list[str]]] = {}
    for number, one in enumerate(rows):
        key = (one.message, one.hint) if one.status == "skip" else (str(number),)
        names = found.setdefault(key, (one, []))[1]
        if (title := titles.get(one.id, one.id)) not in names:
            names.append(title)
    return [(one, ", ".join(names)) for one, names in found.values()]


def _finding(one: Checked, title: str, room: int, colour: bool) -> list[str]:
    head = f"{title}: " if title and one.status != "pass" else ""
    lines = _block(one.status, head + redact(one.message), room, colour, one.status)
    if one.hint:
        label = {"skip": "run", "pass": "may"}.get(one.status, "fix")
        lines += [" " * _MARGIN + paint(line, "dim", colour) for line in wrap(f"{label}: {one.hint}", room - _MARGIN)]
    return lines


def _block(mark: str, text: str, room: int, colour: bool, status: str) -> list[str]:
    pieces = wrap(plain(text), max(20, room - _MARGIN))
    first = "  " + paint(f"{mark:<4}", _COLOURS[status], colour) + " " + pieces[0]
    return [first, *(" " * _MARGIN + piece for piece in pieces[1:])]


def frozen(verdict: Freeze | None, room: int) -> list[str]:
    """Several signs of a freeze, read together."""
    if verdict is None:
        return []
    lines = ["", *wrap(f"FROZE  {verdict.cause} (confidence {verdict.confidence:.2f})", room)]
    for head, reasons in (("because", verdict.because), ("against", verdict.against)):
        for number, reason in enumerate(reasons):
            pieces = wrap(plain(redact(reason)), max(20, room - 9))
            lines += [f" {'' if number else head:<7} {pieces[0]}", *(" " * 9 + piece for piece in pieces[1:])]
    return lines


def summary(results: list[Checked], took: float, recorded: bool, room: int, ask: bool = True) -> list[str]:
    """The last lines: how much was looked at, and what to type next (`ask`)."""
    counts = {status: sum(one.status == status for one in results) for status in ("fail", "warn", "skip")}
    checks = len({one.id for one in results})
    where = "the recording" if recorded else "this machine"
    noun = "check" if checks == 1 else "checks"
    words = f"{checks} {noun} of {where} in {took:.1f} s: {counts['fail']} fail, {counts['warn']} warn"
    words += f", {counts['skip']} could not be told" if counts["skip"] else ""
    lines = ["", *wrap(f"{words}; nothing was changed", room)]
    if any(one.fix for one in results) and not recorded and ask:
        lines.append("next: 'midwatch doctor --fix' asks for each cure that is one command")
    return lines


def document(results: list[Checked], took: float, done: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON document (GEN-1), without secrets."""
    from midwatch.inspect import freeze

    verdict = freeze.verdict(results)
    shown = redact_value(msgspec.to_builtins(results))
    counts = {status: sum(one.status == status for one in results) for status in ("fail", "warn", "skip", "pass")}
    return {
        "checks": shown,
        "counts": counts,
        "freeze": None if verdict is None else redact_value(msgspec.to_builtins(verdict)),
        "fixed": done,
        "took_s": round(took, 3),
    }


def progress(done: int, count: int, names: tuple[str, ...]) -> None:
    """One line on stderr that is written over."""
    words = cut(f"{done} of {count} checks; waiting for {', '.join(names[:3])}", 78)
    sys.stderr.write(f"\r\x1b[K{words}")
    sys.stderr.flush()


def progress_end() -> None:
    """Take the line away."""
    sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()
