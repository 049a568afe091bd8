"""Reads an ordinary command line by a verb's declaration, without Typer.

Answers None for everything out of the ordinary (help, an unknown option, a missing or surplus argument,
bundled short options): then Typer reads the same line and says what is wrong. Must not print and must not
guess. Tests: tests/front/test_quick.py (both readers agree).
"""

from __future__ import annotations

from typing import Any

from midwatch.front.cli.declare import Arg, Opt, Verb, convert


def read(verb: Verb, words: list[str]) -> dict[str, Any] | None:
    """The values for `verb.run`, or None when Typer has to look at this line. Raises Usage."""
    by_flag = {flag: opt for opt in verb.opts for flag in opt.flags}
    values: dict[str, Any] = {opt.dest: opt.empty for opt in verb.opts}
    positional: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            positional += words[at:]
            break
        if not word.startswith("-") or word == "-":
            positional.append(word)
            if verb.arg is not None and verb.arg.rest:
                positional += words[at:]
                break
            continue
        flag, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        opt = by_flag.get(flag)
        if opt is None or (equals and opt.kind == "flag"):
            return None
        if opt.kind != "flag" and not equals:
            if at >= len(words) or words[at].startswith("-"):
                return None
            value = words[at]
            at += 1
        _put(values, opt, value)
    for opt in verb.opts:  # only now: of several values the last one counts, as for Typer
        if opt.kind != "many" and isinstance(values[opt.dest], str):
            values[opt.dest] = convert(opt, values[opt.dest])
    return _with_positional(verb.arg, values, positional)


def _put(values: dict[str, Any], opt: Opt, text: str) -> None:
    if opt.kind == "flag":
        values[opt.dest] = True
    elif opt.kind == "many":
        values[opt.dest] = [*values[opt.dest], convert(opt, text)]
    else:
        values[opt.dest] = text


def _with_positional(arg: Arg | None, values: dict[str, Any], words: list[str]) -> dict[str, Any] | None:
    if arg is None:
        return None if words else values
    if (arg.required and not words) or (len(words) > 1 and not arg.many):
        return None
    if arg.many:
        values[arg.dest] = words
    else:
        values[arg.dest] = words[0] if words else None
    return values
