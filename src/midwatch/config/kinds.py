"""The kinds of single values a key can have (compound.py has the others): how each is read, shown and
described in JSON Schema.

`read` turns what TOML (or an option of the command line) gave into a model value or raises `Bad` with what
is wrong and what to do; `show` writes a value as one would write it in the file. Must not know which key
it reads for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from midwatch.config.kind import Bad, Kind, wrong
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


# -- single values -----------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
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


def size(least: int = 1) -> Kind:
    """Bytes, as "512M" (powers of 1024)."""

    def read(value: object) -> int:
        found = _measure("a size", units.parse_bytes, value, 'for example "512M" or "1.5G"')
        if found < least:
            bare = str(value).strip()
            unit = "G" if found < 64 and least > 1 << 20 else "M"
            hint = f'did you mean "{bare}{unit}"?' if bare.isdigit() and 0 < found < 1 << 20 else ""
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


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 100_000:
        raise wrong("a number above 0", value)
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
NUMBER = Kind("a number", {"type": "number", "exclusiveMinimum": 0, "maximum": 100_000}, _positive, "{:g}".format)
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
