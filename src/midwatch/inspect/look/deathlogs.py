"""What the kernel's log, the names of core dumps and a Mac's reports say about deaths: pure functions from text.

Formats F-01 to F-06; anything torn or unknown gives nothing, never a guess. Tests: tests/inspect/test_deaths.py.
"""

from __future__ import annotations

import re
from datetime import datetime
from json import JSONDecodeError, loads
from typing import Any

import msgspec

from midwatch.model.units import format_bytes

_STAMP = re.compile(r"^(?:<\d+>)?\[\s*(\d+\.\d+)\]\s*(?:\S+ kernel: |kernel: )?(.*)$")
_KILLED = re.compile(r"(?:out of memory|Out of memory|OOM).*?Killed process (\d+) \((.*)\)(.*)$")
_ANON = re.compile(r"anon-rss:(\d+)kB")
_SEGV = re.compile(r"^(.{1,64}?)\[(\d+)\]: segfault at .*?(?: in (\S+?)\[.*)?$")
_TRAP = re.compile(r"^traps: (.{1,64}?)\[(\d+)\] (.{1,40}?) ip:")
_CORE = re.compile(r"^core\.(.+)\.(\d+)\.[0-9a-f]{32}\.(\d+)\.(\d{10,16})(?:\.\w+)?$")
_NAMED = re.compile(r"(\d{4})-(\d\d)-(\d\d)[-_](\d\d)(\d\d)(\d\d)")
_PAGE = 16384


class Death(msgspec.Struct, frozen=True):
    """One. `source`: record | kernel | coredump | jetsam | crash report | panic; `subject`: what `why` can be asked."""

    name: str
    pid: int | None
    at: float
    words: str
    source: str
    subject: str = ""


def wall(text: str) -> float | None:
    """Unix time of an ISO time, or of a report's "2026-03-02 09:14:07.00 +0100"."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        pass
    for form in ("%Y-%m-%d %H:%M:%S.%f %z", "%Y-%m-%d %H:%M:%S %z"):
        try:
            return datetime.strptime(text, form).timestamp()  # noqa: DTZ007 (both forms have a zone)
        except ValueError:
            continue
    return None


def named_time(name: str) -> float | None:
    """The local time in a report's name."""
    found = _NAMED.search(name)
    try:
        return datetime(*(int(part) for part in found.groups())).timestamp() if found else None  # type: ignore[arg-type]  # noqa: DTZ001
    except ValueError:
        return None


def is_kernel(text: str) -> bool:
    """Has it a line of the kernel's? journalctl says "-- No entries --" and 0 to who may not read them."""
    return any(_STAMP.match(line) for line in text.splitlines())


def kernel(text: str, booted: float) -> list[Death]:
    """F-05, F-06: kills for memory and crashes in the log; times are seconds since boot."""
    found = []
    for line in text.splitlines():
        stamp = _STAMP.match(line)
        if stamp is None:
            continue
        death = _kernel_line(stamp[2], booted + float(stamp[1]))
        if death is not None:
            found.append(death)
    return found


def _kernel_line(text: str, at: float) -> Death | None:
    killed = _KILLED.search(text)
    if killed is not None:
        size = _ANON.search(killed[3])
        held = f" at {format_bytes(int(size[1]) * 1024)}" if size and int(size[1]) else ""
        whose = (
            "its memory group's limit"
            if text.startswith("Memory cgroup")
            else "the machine was out of memory"
        )
        words = f"killed by the kernel{held}: {whose}"
        return Death(killed[2], int(killed[1]), at, words, "kernel", killed[1])
    crash = _SEGV.match(text)
    if crash is not None:
        where = f" in {crash[3]}" if crash[3] else ""
        return Death(crash[1], int(crash[2]), at, f"segmentation fault{where}", "kernel", crash[2])
    trap = _TRAP.match(text)
    if trap is not None:
        return Death(trap[1], int(trap[2]), at, trap[3].strip(), "kernel", trap[2])
    return None


def core_name(name: str) -> Death | None:
    """core.NAME.UID.BOOT.PID.MICROSECONDS[.zst] as systemd writes them."""
    found = _CORE.match(name)
    if found is None:
        return None
    digits = found[4]
    at = int(digits) / (1e6 if len(digits) > 12 else 1.0)
    program = re.sub(r"\\x([0-9a-f]{2})", lambda hit: chr(int(hit[1], 16)), found[1])
    return Death(program, int(found[3]), at, "crashed and left a core dump", "coredump", found[3])


def report(name: str, text: str) -> list[Death]:
    """One .ips or .panic file: F-01, F-02, F-03. Some carry header and body in one object."""
    head, body = _parts(text)
    at = wall(str(head.get("timestamp", ""))) or named_time(name)
    if at is None:
        return []
    kind = str(head.get("bug_type", ""))
    if name.startswith("JetsamEvent") or kind == "298":
        return _jetsam(body or head, at)
    if kind == "210" or text.startswith("panic("):
        reason = str((body or head).get("panicString", text))[:200].partition("\n")[0]
        return [
            Death(
                "the whole machine",
                None,
                at,
                f"kernel panic: {reason.partition('):')[2].strip() or reason}",
                "panic",
            )
        ]
    if kind == "309" and body:
        return [_crash(head, body, at)]
    return []


def _parts(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    first, _, rest = text.partition("\n")
    return _object(first) or _object(text), _object(rest)


def _object(text: str) -> dict[str, Any]:
    try:
        value = loads(text)
    except (JSONDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _jetsam(body: dict[str, Any], at: float) -> list[Death]:
    status = body.get("memoryStatus")
    page = status.get("pageSize") if isinstance(status, dict) else None
    page = page if isinstance(page, int) else _PAGE
    found = []
    listed = body.get("processes")
    for row in listed if isinstance(listed, list) else []:
        if not isinstance(row, dict) or not row.get("reason") or not isinstance(row.get("pid"), int):
            continue
        pages = row.get("rpages")
        held = f" at {format_bytes(pages * page)}" if isinstance(pages, int) else ""
        words = f"killed by jetsam{held}: {row['reason']}"
        found.append(Death(str(row.get("name", "?")), row["pid"], at, words, "jetsam", str(row["pid"])))
    if not found and body.get("largestProcess"):
        words = f"the system was out of memory; {body['largestProcess']} was the largest"
        found.append(Death(str(body["largestProcess"]), None, at, words, "jetsam"))
    return found


def _crash(head: dict[str, Any], body: dict[str, Any], at: float) -> Death:
    exception = body.get("exception")
    signal = exception.get("signal", "") if isinstance(exception, dict) else ""
    pid = body.get("pid")
    name = str(body.get("procName") or head.get("app_name") or head.get("name") or "?")
    words = f"crashed ({signal})" if signal else "crashed"
    return Death(name, pid if isinstance(pid, int) else None, at, words, "crash report", str(pid or ""))
