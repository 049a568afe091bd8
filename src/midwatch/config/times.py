"""The kinds of values that name a time or a place to listen: cron expressions, time zones, socket addresses.

cronsim reads the expressions, as Debian's cron does; it is imported only when one is written. Must not know
which key it reads for, nor when a service runs next (engine/schedule.py).
"""

from __future__ import annotations

import ipaddress
import re

from midwatch.config.compound import TEXTS
from midwatch.config.kind import Bad, Kind, gather, passable, wrong
from midwatch.config.problems import quoted

FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")
RANGES = ("0-59", "0-23", "1-31, L or LW", "1-12 or JAN-DEC", "0-7 or SUN-SAT, 1#2, 5L")
MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MOST_TEXT = 200  # characters of an expression
MOST_SOCKETS = 5
MOST_PATH = 107  # bytes of a Unix socket's path, without the NUL


def _cron(value: object) -> str:
    hint = 'for example "*/5 * * * *" (minute hour day-of-month month day-of-week)'
    if not isinstance(value, str) or not value.strip() or len(value) > MOST_TEXT:
        raise wrong("a cron expression", value, hint)
    text = " ".join(value.split())
    if text.startswith("@"):
        return _macro(text)
    fields = text.split()
    if len(fields) != len(FIELDS):
        more = "there is no field for seconds" if len(fields) == len(FIELDS) + 1 else hint
        raise Bad(f"{quoted(text)} has {len(fields)} fields, a cron expression has five", more)
    if bad := _wrong_field(fields):
        raise bad
    if not _comes(text):
        raise Bad(f"{quoted(text)} never comes", "no month it names has such a day")
    return text


def _macro(text: str) -> str:
    if text.lower() == "@reboot":
        raise Bad('"@reboot" is no time', "a service without a schedule starts with midwatch")
    if text.lower() not in MACROS:
        raise Bad(f"{quoted(text)} is not known", f"known: {', '.join(MACROS)}")
    return MACROS[text.lower()]


def _wrong_field(fields: list[str]) -> Bad | None:
    """Each field by itself among stars: the first that cannot be read."""
    for at, field in enumerate(fields):
        if not _readable(" ".join(field if other == at else "*" for other in range(len(fields)))):
            return Bad(f"{quoted(field)} is not a {FIELDS[at]}", f"{RANGES[at]}; *, lists, ranges, */N")
    return None


def _readable(text: str) -> bool:
    return _next(text) is not ValueError


def _comes(text: str) -> bool:
    return _next(text) is None


def _next(text: str) -> type[Exception] | None:
    """None: there is a next time; StopIteration: not within 50 years; ValueError: it cannot be read."""
    from datetime import UTC, datetime

    from cronsim import CronSim, CronSimError

    try:
        next(CronSim(text, datetime(2026, 1, 1, tzinfo=UTC)))
    except StopIteration:
        return StopIteration
    except (CronSimError, AssertionError, LookupError, TypeError, ValueError):
        return ValueError
    return None


def _zone(value: object) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if not isinstance(value, str) or not value or not passable(value):
        raise wrong("a time zone", value, 'for example "Europe/Berlin" or "UTC"')
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = 'for example "Europe/Berlin"; a system without zones needs its tzdata package'
        raise Bad(f"{quoted(value)} is not a time zone that this machine knows", hint) from None
    return value


def _listen(value: object) -> tuple[str, ...]:
    """Addresses in the order in which the service gets them. Paths are still relative."""
    texts: tuple[str, ...] = TEXTS.read(value)
    if not 1 <= len(texts) <= MOST_SOCKETS:
        raise Bad(f"{len(texts)} sockets", f"from one to {MOST_SOCKETS}")
    parts: list[Bad] = []
    found = []
    for at, text in enumerate(texts):
        try:
            found.append(_address(text))
        except Bad as bad:
            parts.append(bad.under(at))
    parts += [Bad(f"{quoted(a)} is listed twice", "", (at,)) for at, a in enumerate(found) if a in found[:at]]
    gather(parts)
    return tuple(found)


def _address(text: str) -> str:
    """HOST:PORT with a numeric host, in one spelling; or a path."""
    if is_path(text):
        return text
    hint = 'for example "127.0.0.1:8787", "[::1]:8787" or "run/app.sock"'
    match = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]+):([0-9]{1,5})", text)
    if match is None:
        raise Bad(f"{quoted(text)} is no address to listen on", hint)
    if not 1 <= int(match[2]) <= 65535:
        raise Bad(f"{quoted(text)}: a port is from 1 to 65535", hint)
    six = match[1].startswith("[")
    try:
        host = ipaddress.ip_address(match[1].strip("[]"))
    except ValueError:
        known = 'write "127.0.0.1" or "[::1]" for localhost, "0.0.0.0" for every address'
        raise Bad(f"{quoted(match[1])} is a name, not an address", known) from None
    if six is not (host.version == 6):
        raise Bad(f"{quoted(text)} is no address to listen on", hint)
    return f"[{host}]:{int(match[2])}" if six else f"{host}:{int(match[2])}"


def is_path(text: str) -> bool:
    """A Unix socket: it has a slash, or ends like one."""
    return "/" in text or text.endswith((".sock", ".socket"))


def _plain_list(value: tuple[str, ...]) -> str:
    return TEXTS.show(value)


CRON = Kind(
    "a cron expression",
    {"type": "string", "pattern": r"^\s*(@[A-Za-z]+|\S+(\s+\S+){4})\s*$", "maxLength": MOST_TEXT},
    _cron,
    quoted,
)
ZONE = Kind("a time zone", {"type": "string", "minLength": 1}, _zone, quoted)
LISTEN = Kind(
    "a list of addresses and paths",
    {
        "anyOf": [
            {
                "type": "array",
                "items": {"type": "string", "minLength": 1},
                "minItems": 1,
                "maxItems": MOST_SOCKETS,
            },
            {"type": "string", "minLength": 1},
        ]
    },
    _listen,
    _plain_list,
)
