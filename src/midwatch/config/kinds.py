"""The kinds of values a key can have: how each is read, shown and described in JSON Schema.

`read` turns what TOML (or an option of the command line) gave into a model value or raises `Bad` with what is wrong
and what to do; `show` writes a value as one would write it in the file. Must not know which key it reads for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from midwatch.config import shell
from midwatch.config.problems import nearest, quoted
from midwatch.model import units
from midwatch.model.service import Window

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
VARIABLE = re.compile(r"[^=\0]+")
SIGNALS = ("TERM", "INT", "HUP", "QUIT", "KILL", "USR1", "USR2", "ALRM", "WINCH", "ABRT")
BYTE_LIMITS = ("as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack")
COUNT_LIMITS = ("cpu", "locks", "nice", "nofile", "nproc", "rtprio", "rttime", "sigpending")
MOST_INSTANCES = 1000
_MOST = 1 << 60  # bytes or seconds: far above anything real, far below what overflows
_MOST_COUNT = 100_000  # a window keeps one time per occurrence

T = TypeVar("T")


class Bad(Exception):
    """A value that cannot be used; `at` is the way from the key to the offending part."""

    def __init__(self, message: str, hint: str = "", at: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.at = at

    def under(self, part: str | int) -> Bad:
        """The same complaint, about one part of a larger value."""
        self.at = (part, *self.at)
        return self


class ManyBad(Exception):
    """Several parts of one value are bad."""

    def __init__(self, parts: list[Bad]) -> None:
        super().__init__(parts)
        self.parts = parts


class Kind(msgspec.Struct, frozen=True):
    """One kind of value: a word for it, its JSON Schema, its reader and its writer."""

    words: str
    schema: dict[str, Any]
    read: Callable[[object], Any]
    show: Callable[[Any], str]


def described(value: object) -> str:
    """What the user wrote, with its type in his words."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {quoted(value)}"
        case int() | float():
            return f"the number {str(value)[:40]}"
        case list():
            return "an array"
        case dict():
            return "a table"
        case None:
            return "nothing"
        case _:
            return f"the date {value}"


def wrong(wanted: str, value: object, hint: str = "") -> Bad:
    """The commonest complaint."""
    return Bad(f"expected {wanted}, found {described(value)}", hint)


def gather(parts: list[Bad]) -> None:
    """Raise if anything was found."""
    if parts:
        raise ManyBad(parts)


# -- single values -----------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise wrong("a text that is not empty", value)
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong("true or false", value, "without quotes" if value in ("true", "false") else "")
    return value


def whole(least: int, most: int, off: bool = False) -> Kind:
    """A whole number within bounds; `off`: "off" means None."""
    wanted = f"a whole number from {least} to {most}" + (' or "off"' if off else "")

    def read(value: object) -> int | None:
        if off and (value == "off" or value is False):
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise wrong(wanted, value)
        return value

    number: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    schema = {"anyOf": [number, {"enum": ["off", False]}]} if off else number
    return Kind(wanted, schema, read, lambda value: '"off"' if value is None else str(value))


def numeric(least: int, most: int) -> Kind:
    """A whole number that the command line may give as text ("3.5" and "10abc" are refused: H15)."""
    kind = whole(least, most)

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,9}", value.strip()):
            value = int(value)
        return int(kind.read(value))

    return Kind(kind.words, kind.schema, read, str)


def size(least: int = 1) -> Kind:
    """Bytes, as "512M" (powers of 1024)."""

    def read(value: object) -> int:
        found = _measure("a size", units.parse_bytes, value, 'for example "512M" or "1.5G"')
        if found < least:
            hint = f'did you mean "{value}M"?' if isinstance(value, int) and value else ""
            raise Bad(f"{_shown(value)} is too small, at least {units.exact_bytes(least)}", hint)
        return found

    text = {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*([KMGTkmgt]([Ii]?[Bb])?|[Bb])?\s*$"}
    schema = {"anyOf": [text, {"type": "integer", "minimum": least}]}
    return Kind("a size", schema, read, lambda value: _plain_or_quoted(units.exact_bytes(value)))


def duration(least: float = 0.0) -> Kind:
    """Seconds, as "10s" or "5m"."""

    def read(value: object) -> float:
        found = _measure("a duration", units.parse_seconds, value, 'for example "10s" or "5m"')
        if found < least:
            raise Bad(f"{_shown(value)} is too short, at least {units.exact_seconds(least)}")
        return found

    part = r"[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)\s*"
    text = {"type": "string", "pattern": rf"^\s*(({part})+|[0-9]+(\.[0-9]+)?)\s*$"}
    schema = {"anyOf": [text, {"type": "number", "minimum": least}]}
    return Kind("a duration", schema, read, lambda value: f'"{units.exact_seconds(value)}"')


def _measure(what: str, parse: Callable[[object], T], value: object, hint: str) -> T:
    """A number with a unit, bounded: nothing may overflow later."""
    if isinstance(value, str) and len(value) > 60:
        raise wrong(what, value, hint)
    try:
        found = parse(value)
        bounded = not isinstance(found, int | float) or found < _MOST
    except (ValueError, OverflowError):
        raise wrong(what, value, hint) from None
    if not bounded:
        raise Bad(f"{_shown(value)} is too large")
    return found


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else str(value)[:40]


def _plain_or_quoted(text: str) -> str:
    return text if text.isdigit() else f'"{text}"'


def _window(value: object) -> Window | None:
    found = _measure("a budget", units.parse_window, value, 'for example "10 in 60s", or "off"')
    if found and (found.limit > _MOST_COUNT or found.seconds >= _MOST):
        raise Bad(f"{_shown(value)} is too large")
    return found


def _show_window(value: Window | None) -> str:
    return f'"{units.exact_window(value)}"'


def _share(value: object) -> float:
    if isinstance(value, str) and (found := re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*%\s*", value)):
        value = float(found[1]) / 100
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise wrong("a share from 0 to 1", value, 'for example 0.1 or "10%"')
    return float(value)


def choice(*words: str) -> Kind:
    """One of a few words."""

    def read(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        close = nearest(value, list(words)) if isinstance(value, str) else None
        shown = " or ".join(quoted(word) for word in words)
        raise wrong(shown, value, f"did you mean {quoted(close)}?" if close else "")

    return Kind(" or ".join(f'"{word}"' for word in words), {"enum": list(words)}, read, quoted)


def _argv(value: object) -> tuple[str, ...]:
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
    if any("\0" in word for word in words):
        raise Bad("contains a NUL character, which no program can be given")
    return tuple(words)


def _signal(value: object) -> int:
    import signal

    name = str(value).upper().removeprefix("SIG")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise wrong("a signal", value, f"one of {', '.join(SIGNALS)}")
    if isinstance(value, int):
        if value in {getattr(signal, f"SIG{known}") for known in SIGNALS}:
            return value
    elif name in SIGNALS:
        return int(getattr(signal, f"SIG{name}"))
    close = nearest(name, list(SIGNALS))
    raise wrong(
        "a signal that ends a program",
        value,
        f"did you mean {close}?" if close else f"one of {', '.join(SIGNALS)}",
    )


def _show_signal(value: int) -> str:
    import signal

    return quoted(signal.Signals(value).name.removeprefix("SIG"))


def _umask(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{1,3}", value):
        raise wrong("an octal umask in quotes", value, 'for example "027"')
    return int(value, 8)


def _project(value: object) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise wrong("a name of letters, digits, _ and -, at most 64", value)
    return value


def _user(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
        return str(value)
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\-]*\$?", value):
        raise wrong("a user name or number", value)
    return value


# -- targets of probes ---------------------------------------------------------------------------------------------


def _port(value: object) -> int:
    return int(whole(1, 65535).read(value))


def _http(value: object) -> str:
    from urllib.parse import urlsplit

    hint = 'for example "http://127.0.0.1:8787/health"'
    if not isinstance(value, str):
        raise wrong("a URL", value, hint)
    try:
        parts = urlsplit(value)
        fine = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError as error:
        raise Bad(f"{quoted(value)} is not a URL: {error}", hint) from None
    if not fine or re.search(r"[\s\x00-\x1f]", value):
        raise wrong("a URL that begins with http:// or https:// and names a host", value, hint)
    return value


def _tcp(value: object) -> str:
    found = (
        re.fullmatch(r"(\[[0-9A-Fa-f:.%a-z]+\]|[^\s:\[\]/]+):([0-9]{1,5})", value)
        if isinstance(value, str)
        else None
    )
    if not found or not 1 <= int(found[2]) <= 65535:
        raise wrong("HOST:PORT", value, 'for example "127.0.0.1:5432" or "[::1]:5432"')
    return found[0]


def _regex(value: object) -> str:
    text = _text(value)
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise Bad(
            f"is not a regular expression: {error}", "use single quotes in TOML, so that \\ stays as it is"
        ) from None
    return text


# -- collections ---------------------------------------------------------------------------------------------------


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        raise wrong("a list of strings", value)
    gather(
        [
            wrong("a string", item).under(at)
            for at, item in enumerate(value)
            if not isinstance(item, str) or not item
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
        if not VARIABLE.fullmatch(name):
            parts.append(Bad("is not a name for a variable", "no = and no NUL in it", (name,)))
        elif item is None or item is False:
            result[name] = None
        elif isinstance(item, int) and not isinstance(item, bool):
            result[name] = str(item)
        elif not isinstance(item, str) or "\0" in item:
            hint = (
                "write it in quotes, as the program is to see it"
                if not isinstance(item, str)
                else "a NUL cannot be passed"
            )
            parts.append(wrong("a string, a whole number or false", item, hint).under(name))
        else:
            result[name] = item
    gather(parts)
    return result


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
_WINDOW = {"anyOf": [{"type": "string", "pattern": r"^\s*[0-9]{1,6}\s+in\s+.+$"}, {"enum": ["off", False]}]}

TEXT = Kind("a text", {"type": "string", "minLength": 1}, _text, quoted)
PATH = Kind("a path", {"type": "string", "minLength": 1}, _text, quoted)
FLAG = Kind("true or false", {"type": "boolean"}, _flag, lambda value: "true" if value else "false")
WINDOW = Kind('a budget ("N in TIME") or "off"', _WINDOW, _window, _show_window)
SHARE = Kind(
    "a share",
    {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": "%\\s*$"}]},
    _share,
    str,
)
ARGV = Kind(
    "a list of words or a string",
    {"anyOf": [{**_ITEMS, "minItems": 1}, {"type": "string", "minLength": 1}]},
    _argv,
    _plain,
)
SIGNAL = Kind(
    "a signal",
    {"anyOf": [{"enum": [*SIGNALS, *("SIG" + name for name in SIGNALS)]}, {"type": "integer"}]},
    _signal,
    _show_signal,
)
UMASK = Kind(
    "an octal umask in quotes",
    {"type": "string", "pattern": "^0?[0-7]{1,3}$"},
    _umask,
    lambda value: f'"{value:03o}"',
)
PROJECT = Kind("a name", {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}, _project, quoted)
USER = Kind("a user name or number", {"type": ["string", "integer"]}, _user, quoted)
PORT = Kind("a port", {"type": "integer", "minimum": 1, "maximum": 65535}, _port, str)
HTTP = Kind("a URL", {"type": "string", "pattern": "^https?://."}, _http, quoted)
TCP = Kind("HOST:PORT", {"type": "string", "pattern": "^.+:[0-9]{1,5}$"}, _tcp, quoted)
REGEX = Kind("a regular expression", {"type": "string", "format": "regex", "minLength": 1}, _regex, quoted)
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
