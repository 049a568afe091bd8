"""Reads what engines and their command line print: inspect, stats, info, list (formats F-09, F-10, F-11).

Tolerates what is missing, null or of a wrong type: it is then not known. Docker and podman differ in what they leave
out, not in names. Must not ask anybody. Tests: tests/inspect/containers/test_parse.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from midwatch.inspect.containers.values import Container, Usage

_UNITS = {"": 1, "B": 1, "KB": 10**3, "KIB": 2**10, "MB": 10**6, "MIB": 2**20, "GB": 10**9, "GIB": 2**30,
          "TB": 10**12, "TIB": 2**40}  # fmt: skip
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kKmMgGtT]?i?B?)\Z")
_SHORT = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
NO_LIMIT = 1 << 60  # cgroup v1 writes "unlimited" as a number just below 2^63
_COMPOSE = "com.docker.compose.project"
_PODMAN_COMPOSE = "io.podman.compose.project"


def size(text: str) -> int | None:
    """ "6.1GiB", "900kB", "512m" in bytes; None when it is no size."""
    found = _SIZE.match(text.strip())
    if found is None:
        return None
    number, unit = float(found[1]), found[2].upper()
    factor = _UNITS.get(unit) or _SHORT.get(unit)
    return None if factor is None else int(number * factor)


def when(text: Any) -> float | None:
    """An engine's time; its "never" (year 1) is None."""
    if not isinstance(text, str) or text.startswith("0001-"):
        return None
    match = re.match(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d+)?\s*(Z|[+-]\d\d:?\d\d)?", text)
    if match is None:
        return None
    zone = (match[3] or "Z").replace("Z", "+00:00")
    try:
        return datetime.fromisoformat(f"{match[1].replace(' ', 'T')}{(match[2] or '')[:7]}{zone}").timestamp()
    except ValueError:
        return None


def container(told: dict[str, Any]) -> Container:
    """One object of `inspect` (F-11)."""
    host, state, config = _dict(told, "HostConfig"), _dict(told, "State"), _dict(told, "Config")
    health = _dict(state, "Health")
    labels = _dict(config, "Labels")
    return Container(
        id=_text(told, "Id") or _text(told, "ID"),
        name=_text(told, "Name").lstrip("/"),
        image=_text(config, "Image") or _text(told, "ImageName"),
        status=_text(state, "Status").lower(),
        pid=_number(state, "Pid") or 0,
        started=when(state.get("StartedAt")),
        finished=when(state.get("FinishedAt")),
        exit_code=_number(state, "ExitCode"),
        oom_killed=state.get("OOMKilled") if isinstance(state.get("OOMKilled"), bool) else None,
        memory=_positive(host, "Memory"),
        pids=_positive(host, "PidsLimit"),
        restart=_policy(_text(_dict(host, "RestartPolicy"), "Name")),
        restarts=_number(told, "RestartCount") or 0,
        health=_text(health, "Status") if _text(health, "Status") != "none" else "",
        failing=_number(health, "FailingStreak") or 0,
        project=_text(labels, _COMPOSE) or _text(labels, _PODMAN_COMPOSE),
        service=_text(labels, "com.docker.compose.service"),
        folder=_text(labels, f"{_COMPOSE}.working_dir"),
        spike=size(_text(labels, "midwatch.spike")),
    )


def containers(text: str) -> list[Container]:
    """What `docker inspect ...` prints: one array, or one object a line."""
    return [container(one) for one in _objects(text) if one.get("Id") or one.get("ID") or one.get("Name")]


def stats(told: dict[str, Any], machine: int | None) -> Usage | None:
    """One object of the stats API (F-10). None: its memory controller is off, so nothing is known.

    Podman leaves `stats` out: file pages are then in `used`, which is an upper bound.
    """
    memory = _dict(told, "memory_stats")
    raw = _number(memory, "usage")
    if raw is None:
        return None
    rows = _dict(memory, "stats")
    drop = next(
        (rows[k] for k in ("total_inactive_file", "inactive_file") if isinstance(rows.get(k), int)), None
    )
    cpu = _number(_dict(_dict(told, "cpu_stats"), "cpu_usage"), "total_usage")
    return Usage(
        used=max(0, raw - (drop or 0)),
        limit=_real(_number(memory, "limit"), machine),
        place="engine",
        exact=drop is not None,
        raw=raw,
        peak=_positive(memory, "max_usage"),
        cpu=None if cpu is None else cpu / 1e9,
        pids=_number(_dict(told, "pids_stats"), "current"),
    )


def stats_lines(text: str, machine: int | None) -> dict[str, Usage]:
    """What `docker stats` prints (F-09), JSON or table, and objects of the API: usage by id and by name."""
    found: dict[str, Usage] = {}
    for told in _objects(text):
        if "memory_stats" in told:
            one, names = stats(told, machine), (told.get("id"), told.get("name"))
        else:
            one = _row(_text(told, "MemUsage"), _text(told, "PIDs"), machine)
            names = (told.get("ID") or told.get("Container"), told.get("Name"))
        if one is not None:
            found.update({str(name).lstrip("/"): one for name in names if name})
    return found or dict(_table(text, machine))


def memory_total(info: dict[str, Any]) -> int | None:
    """Of `info`: the memory of the machine that the engine runs on."""
    return _positive(info, "MemTotal")


def decode(text: str | bytes) -> Any:
    """JSON, or None when it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _row(usage: str, pids: str, machine: int | None) -> Usage | None:
    """ "6.1GiB / 15.6GiB": the CLI has already taken droppable file pages off, and rounds."""
    used, _, limit = usage.partition("/")
    number = size(used)
    if number is None:
        return None
    return Usage(number, _real(size(limit), machine), "cli", pids=int(pids) if pids.isdigit() else None)


def _table(text: str, machine: int | None) -> Iterator[tuple[str, Usage]]:
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"\t+|\s{2,}", line.strip())]
        at = next((n for n, cell in enumerate(cells) if re.match(r"[\d.]+\w+ / [\d.]+\w+\Z", cell)), None)
        if at is None or at == 0:
            continue
        one = _row(cells[at], cells[-1], machine)
        if one is not None:
            for name in cells[: min(at, 2)]:
                yield name, one


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """An array, an object, or one object a line; anything else is skipped."""
    whole = decode(text)
    rows = whole if isinstance(whole, list) else [whole] if isinstance(whole, dict) else None
    for row in rows if rows is not None else map(decode, text.splitlines()):
        if isinstance(row, dict):
            yield row


def _real(limit: int | None, machine: int | None) -> int | None:
    """A limit of the machine's whole memory, or of all numbers, is none."""
    if limit is None or limit <= 0 or limit >= NO_LIMIT:
        return None
    # The CLI prints three digits: a "limit" within 0.5 % of the machine's memory is the machine's memory.
    return None if machine is not None and limit >= machine * 0.995 else limit


def _policy(name: str) -> str:
    return "" if name == "no" else name


def _dict(told: Any, key: str) -> dict[str, Any]:
    found = told.get(key) if isinstance(told, dict) else None
    return found if isinstance(found, dict) else {}


def _text(told: dict[str, Any], key: str) -> str:
    found = told.get(key)
    return found if isinstance(found, str) else ""


def _number(told: dict[str, Any], key: str) -> int | None:
    found = told.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _positive(told: dict[str, Any], key: str) -> int | None:
    found = _number(told, key)
    return found if found is not None and found > 0 else None
