"""The kinds of values made of several: commands, lists, codes, variables, limits, needs.

All bad parts of a value are reported together, each at its own place. Must not know which key it reads for.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from midwatch.config import shell
from midwatch.config.kind import Bad, Kind, gather, passable, wrong
from midwatch.config.kinds import choice, size, whole
from midwatch.config.problems import nearest, quoted

VARIABLE = re.compile(r"[^=\0]+")
BYTE_LIMITS = ("as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack")
COUNT_LIMITS = ("cpu", "locks", "nice", "nofile", "nproc", "rtprio", "rttime", "sigpending")


def _argv(value: object) -> tuple[str, ...]:
    words: list[Any]
    if isinstance(value, str):
        try:
            words = shell.split(value)
        except ValueError as error:
            raise Bad(str(error), f'use ["sh", "-c", {quoted(value.strip())}], or a list of words') from None
    elif isinstance(value, list | tuple):
        words = list(value)
        hint = "put numbers and flags in quotes too"
        gather(
            [
                wrong("a string", word, hint).under(at)
                for at, word in enumerate(words)
                if not isinstance(word, str)
            ]
        )
    else:
        raise wrong("a list of words or a string", value, 'for example ["python", "server.py"]')
    if not words or not words[0].strip():
        raise Bad("is empty", 'for example ["python", "server.py"]')
    if not all(passable(word) for word in words):
        raise Bad("contains a NUL character or bytes that are not UTF-8", "neither can be passed on")
    return tuple(words)


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        raise wrong("a list of strings", value)
    gather(
        [
            wrong("a string", item).under(at)
            for at, item in enumerate(value)
            if not isinstance(item, str) or not item or not passable(item)
        ]
    )
    return tuple(value)


def _codes(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise wrong("a list of exit codes", value, "for example [64, 78]")
    code = whole(1, 255)
    for at, item in enumerate(value):
        try:
            code.read(item)
        except Bad as bad:
            raise bad.under(at) from None
    return tuple(sorted(set(value)))


def _env(value: object) -> dict[str, str | None]:
    if not isinstance(value, dict):
        raise wrong("a table of variables", value, 'for example { PORT = "8080" }')
    result: dict[str, str | None] = {}
    parts = []
    for name, item in value.items():
        if not VARIABLE.fullmatch(name) or not passable(name):
            parts.append(Bad("is not a name for a variable", "no = and no NUL in it", (name,)))
        elif item is None or item is False:
            result[name] = None
        elif isinstance(item, int) and not isinstance(item, bool):
            result[name] = str(item)
        elif not isinstance(item, str) or not passable(item):
            quotes = "write it in quotes, as the program is to see it"
            hint = "neither NUL nor what is not UTF-8 can be passed on" if isinstance(item, str) else quotes
            parts.append(wrong("a string, a whole number or false", item, hint).under(name))
        else:
            result[name] = item
    gather(parts)
    return result


def line(least: int) -> Kind:
    """A size, or "auto"."""
    plain = size(least)

    def read(value: object) -> int | str:
        return "auto" if value == "auto" else int(plain.read(value))

    schema = {"anyOf": [*plain.schema["anyOf"], {"const": "auto"}]}
    return Kind('a size or "auto"', schema, read, lambda value: '"auto"' if value == "auto" else plain.show(value))


def _pools(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        raise wrong("a table of files", value, 'for example { "state.db" = 4 }')
    parts = []
    count = whole(1, 100_000)
    for name, item in value.items():
        try:
            count.read(item)
            if not name or not passable(name):
                raise Bad("is not a name of a file")
        except Bad as bad:
            parts.append(bad.under(name))
    gather(parts)
    return dict(value)


def _rlimit(name: str, value: object) -> int | None:
    if value in ("unlimited", "infinity"):
        return None
    if name in BYTE_LIMITS and isinstance(value, str):
        return int(size(0).read(value))
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        wanted = 'a number, a size or "unlimited"' if name in BYTE_LIMITS else 'a number or "unlimited"'
        raise wrong(wanted, value)
    return value


def _rlimits(value: object) -> dict[str, tuple[int | None, int | None]]:
    if not isinstance(value, dict):
        raise wrong("a table of limits", value, "for example { nofile = 4096 }")
    known = sorted((*BYTE_LIMITS, *COUNT_LIMITS))
    result = {}
    parts = []
    for name, item in value.items():
        if name not in known:
            close = nearest(name, known)
            hint = f"did you mean {close}?" if close else f"known: {', '.join(known)}"
            parts.append(Bad("is not a known limit", hint, (name,)))
            continue
        try:
            pair = item if isinstance(item, list | tuple) else [item, item]
            if len(pair) != 2:
                raise wrong("one limit, or [soft, hard]", item)
            soft, hard = (_rlimit(name, part) for part in pair)
            if hard is not None and (soft is None or soft > hard):
                raise Bad("the soft limit is above the hard one", "[soft, hard]")
            result[name] = (soft, hard)
        except Bad as bad:
            parts.append(bad.under(name))
    gather(parts)
    return result


def _needs(value: object) -> dict[str, str | None]:
    """Name -> what it has to be; None: decided by what the needed service is."""
    if isinstance(value, list | tuple):
        names = _texts(value)
        twice = {name for name in names if names.count(name) > 1}
        gather(
            [
                Bad(f"{quoted(name)} is listed twice", "", (at,))
                for at, name in enumerate(names)
                if name in twice
            ]
        )
        return dict.fromkeys(names)
    if not isinstance(value, dict):
        raise wrong("a list of services", value, 'for example ["db"] or { db = "ready" }')
    state = choice("started", "ready", "completed")
    parts = []
    for name, item in value.items():
        try:
            state.read(item)
        except Bad as bad:
            parts.append(bad.under(name))
    gather(parts)
    return dict(value)


def _plain(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_ITEMS = {"type": "array", "items": {"type": "string", "minLength": 1}}

ARGV = Kind(
    "a list of words or a string",
    {"anyOf": [{**_ITEMS, "minItems": 1}, {"type": "string", "minLength": 1}]},
    _argv,
    _plain,
)
TEXTS = Kind("a list of strings", {"anyOf": [_ITEMS, {"type": "string", "minLength": 1}]}, _texts, _plain)
CODES = Kind(
    "a list of exit codes",
    {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 255}},
    _codes,
    _plain,
)
ENV = Kind(
    "a table of variables",
    {
        "type": "object",
        "additionalProperties": {"anyOf": [{"type": ["string", "integer"]}, {"const": False}]},
    },
    _env,
    _plain,
)
RLIMITS = Kind(
    "a table of limits",
    {"type": "object", "propertyNames": {"enum": sorted((*BYTE_LIMITS, *COUNT_LIMITS))}},
    _rlimits,
    _plain,
)
POOLS = Kind(
    "a table file -> number of handles",
    {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
    _pools,
    _plain,
)
NEEDS = Kind(
    "a list of services, or a table service -> state",
    {
        "anyOf": [
            _ITEMS,
            {"type": "object", "additionalProperties": {"enum": ["started", "ready", "completed"]}},
        ]
    },
    _needs,
    _plain,
)
