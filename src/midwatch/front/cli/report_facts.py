"""What goes into a report about a service or a machine: the verdict, the timeline, the tree, versions, configuration.

Collects lines and values as they are; nothing here is safe to show before inspect/report has scrubbed it. Every part
may be missing, and then says why. Tests: tests/front/test_report.py.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

import midwatch
from midwatch.front.cli import history, instances, story, whyscreen
from midwatch.inspect.doctor.check import WORST
from midwatch.inspect.ours import Ours
from midwatch.inspect.report.bundle import Extra, Part
from midwatch.inspect.sources import Table
from midwatch.model.look import Checked, Proc
from midwatch.record.redact import redact_value

EVENTS = 500  # journal lines in the zip
OUTPUT = 400  # last lines of what the run printed, in the zip
_ROOM = 100
_LIBRARIES = ("msgspec", "psutil", "typer", "rich", "cronsim", "docker", "watchfiles")
_BUNDLE_FILES = ("manifest.json", "facts.json", "samples.json", "events.json", "stacks.txt")
_SMALL = 1 << 20


def verdict(document: dict[str, Any] | None, now: float) -> Part:
    """What `why` says."""
    if document is None:
        return Part(
            "Verdict", ("This report is about the machine: no service was named and nothing has died.",)
        )
    without_output = {**document, "evidence": {**document["evidence"], "output": []}}
    return Part("Verdict", tuple(whyscreen.screen(without_output, _ROOM, now)), most=60)


def timeline(lines: list[history.Line]) -> Part:
    """The journal, the newest last."""
    return Part("Timeline", tuple(history.words(line) for line in lines), most=60, newest=True)


def events(known: instances.Known | None, picture: instances.Picture) -> list[history.Line]:
    """The newest lines of one service, else of everything."""
    if known is None:
        return history.newest(picture.layouts(), EVENTS // 5)
    return history.newest([known.layout], EVENTS, {known.id})


def output(known: instances.Known | None, run: str) -> Part | None:
    """What the run printed last."""
    if known is None or not run:
        return None
    from midwatch.record.logs import tail

    try:
        raw = tail(known.layout.service_logs(known.id), OUTPUT, run=run)
    except (OSError, LookupError):
        return None
    lines = raw.decode(errors="replace").splitlines()[-OUTPUT:]
    return Part("Last output", tuple(lines), most=25, newest=True)


def tree(table: Table, root: int | None, ours: Ours, now: float) -> Part:
    """The run's processes; without one, what is ours."""
    wanted = [pid for pid in ([root] if root else [*ours.keepers, *ours.engines]) if pid in table.procs]
    seen: set[int] = set()
    rows = [row for pid in wanted for row in _below(table, pid, 0, now, seen)]
    head = f"{'pid':>8} {'age':>8} {'holds':>9}  command"
    return Part("Processes", (head, *rows) if rows else ("none of them lives now",))


def below(table: Table, root: int) -> Iterator[Proc]:
    """A process and everything under it."""
    waiting, seen = [root], {0}
    while waiting:
        pid = waiting.pop()
        if pid in seen or pid not in table.procs:
            continue
        seen.add(pid)
        yield table.procs[pid]
        waiting += [proc.pid for proc in table.procs.values() if proc.ppid == pid]


def _below(table: Table, pid: int, depth: int, now: float, seen: set[int]) -> Iterator[str]:
    if pid in seen or depth > 20:
        return
    seen.add(pid)
    proc = table.procs[pid]
    from midwatch.front.cli.render import duration, plain, size

    words = " ".join(str(word) for word in redact_value(list(proc.argv))) or f"[{proc.name}]"
    age = duration(max(0.0, now - proc.started)) if proc.started else "?"
    yield f"{pid:>8} {age:>8} {size(proc.held if proc.held is not None else proc.rss):>9}  {'  ' * depth}{plain(words)}"
    for child in sorted(one.pid for one in table.procs.values() if one.ppid == pid):
        yield from _below(table, child, depth + 1, now, seen)


def versions() -> Part:
    """Of everything that an upstream asks for."""
    rows = [
        f"midwatch {midwatch.__version__}",
        f"Python {platform.python_version()} ({sys.implementation.name})",
        f"{platform.system()} {platform.release()} {platform.machine()}",
        *_distribution(),
    ]
    for name in _LIBRARIES:
        try:
            rows.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return Part("Versions", tuple(rows))


def _distribution() -> list[str]:
    if sys.platform == "darwin":
        return [f"macOS {platform.mac_ver()[0]}"]
    try:
        return [platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")]
    except OSError:
        return []


def configuration(known: instances.Known | None) -> Part:
    """The accepted service as it is; of its environment the names only."""
    spec = next(
        (one for one in specs(known) if known and f"{one.get('project')}/{one.get('name')}" == known.id), None
    )
    if known is None or spec is None:
        return Part("Configuration", ("no accepted service is on record",))
    launch = dict(spec.get("launch") or {})
    names = sorted(str(name) for name in launch.pop("env", None) or {})
    shown = redact_value({**spec, "launch": launch, "environment names": names})
    text = msgspec.json.format(msgspec.json.encode(_set(shown)), indent=1).decode()
    return Part("Configuration", tuple(text.splitlines()), most=120)


def specs(known: instances.Known | None) -> list[dict[str, Any]]:
    """Every accepted service of its instance."""
    return instances.accepted(known.layout.specs) if known is not None else []


def _set(value: Any) -> Any:
    """Without what is empty."""
    if not isinstance(value, dict):
        return value
    small = {key: _set(one) for key, one in value.items()}
    return {key: one for key, one in small.items() if one not in (None, "", [], {}, ())}


def environments(known: instances.Known | None, procs: list[Proc]) -> list[dict[str, str]]:
    """Of this caller, of every accepted service, and of the processes: to find their values in what is shared."""
    found = [dict(os.environ)]
    for spec in specs(known):
        env = (spec.get("launch") or {}).get("env")
        found.append({str(key): str(one) for key, one in env.items()} if isinstance(env, dict) else {})
    for proc in procs[:200]:
        try:
            raw = Path(f"/proc/{proc.pid}/environ").read_bytes()[:_SMALL]
        except OSError:
            continue
        pairs = (item.decode(errors="replace").partition("=") for item in raw.split(b"\0") if item)
        found.append({name: value for name, _, value in pairs})
    return found


def doctor(results: list[Checked] | None) -> Part:
    """What it says, what is wrong first; what is well is counted."""
    if results is None:
        return Part("Doctor", ("left out (--no-doctor)",))
    told = sorted(results, key=lambda one: WORST[one.status])
    rows = [f"{one.status:<4}  {one.id:<7} {one.message}" for one in told if one.status != "pass"]
    rows.append(f"pass  {sum(one.status == 'pass' for one in told)} checks")
    return Part("Doctor", tuple(rows))


def extras(
    document: dict[str, Any] | None,
    lines: list[history.Line],
    printed: Part | None,
    results: list[Checked] | None,
) -> list[Extra]:
    """The longer things, for the zip."""
    found = [Extra("events.jsonl", "\n".join(_json(redact_value(history.public(line))) for line in lines))]
    if document is not None:
        found.append(Extra("why.json", document))
    if printed is not None:
        found.append(Extra("output.txt", "\n".join(printed.lines)))
    if results is not None:
        found.append(Extra("doctor.json", msgspec.to_builtins(results)))
    for number, bundle in enumerate(_evidence(document)):
        for name in _BUNDLE_FILES:
            value = _read(Path(bundle) / name)
            if value is not None:
                found.append(Extra(f"evidence-{number + 1}-{name}", value))
    return found


def _evidence(document: dict[str, Any] | None) -> list[str]:
    bundles = ((document or {}).get("evidence") or {}).get("bundles") or []
    return [str(one["path"]) for one in bundles if isinstance(one, dict) and one.get("path")][-3:]


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > _SMALL:
            return None
        text = path.read_text(errors="replace")
        return msgspec.json.decode(text) if path.suffix == ".json" else text
    except (OSError, msgspec.DecodeError):
        return None


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=repr).decode()


def title(document: dict[str, Any] | None) -> str:
    """One line that says what it is about."""
    if document is None:
        return "midwatch report: this machine"
    cause = document.get("cause")
    words = f": {cause} ({story.CAUSES.get(str(cause), cause)})" if cause else ""
    return f"midwatch report: {document['service']}{words}"
