"""From a path to a validated `Loaded`, or a `ConfigError` with every problem of the file.

Decides how a file may fail before its content matters (missing, unreadable, not UTF-8, too large, not
TOML), and what the project is called. Must not know a single key of a
service (keys.py, build.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from midwatch.config import graph
from midwatch.config.build import draft
from midwatch.config.keys import MIDWATCH
from midwatch.config.kind import described, passable
from midwatch.config.launch import Around
from midwatch.config.locate import Path, locate
from midwatch.config.problems import ConfigError, Loaded, Problem, Report, Settings, dotted, nearest, quoted
from midwatch.config.tables import Values, read
from midwatch.model import units

MOST_BYTES = 1 << 20
MOST_SERVICES = 1000  # instances counted one by one


def load(
    path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None, outer: float | None = None
) -> Loaded:
    """Read and validate a configuration; raises `ConfigError`.

    `environ`: the caller's environment (default: our own). `outer`: after how many seconds an outer manager
    kills us when it has asked us to stop, if that is known.
    """
    file = os.path.abspath(os.fspath(path))
    if not passable(file):
        raise ConfigError(
            [Problem(quoted(file), 0, "", "the path holds a NUL or is not UTF-8 text", "rename it")]
        )
    text = _text(file)
    return load_text(text, file, environ=os.environ if environ is None else environ, outer=outer)


def load_text(text: str, file: str, *, environ: Mapping[str, str], outer: float | None = None) -> Loaded:
    """The same for a text that was read already; `file` is the absolute path it stands for."""
    document, report = _document(text, file)
    _top_level(report, document)
    settings = _section(report, document, "midwatch")
    values = read(report, ("midwatch",), settings, MIDWATCH)
    project = values["project"] or _folder_name(file)
    if values["project"] is None:
        report.filled.insert(0, f"midwatch.project = {quoted(project)} (default: the file's folder)")
    around = Around(os.path.dirname(file), project, environ, outer=outer)
    services = _section(report, document, "service")
    if not services and not report.problems:
        report.error((), "there is no service", 'write [service.NAME] and below it command = ["..."]')
    drafts = [found for name, table in services.items() if (found := draft(report, name, table, around))]
    total = sum(len(found.specs) for found in drafts)
    if total > MOST_SERVICES:
        report.error(
            ("service",),
            f"{total} services with their instances are too many",
            f"at most {MOST_SERVICES} in a file",
        )
    specs = graph.settle(report, project, drafts)
    lines = sum(spec.launch.memory_hard or 0 for spec in specs)
    if values["memory_budget"] is not None and lines > values["memory_budget"]:
        words = f"all memory.hard together are {units.format_bytes(lines)}, more than this budget"
        report.warn(values.path("memory_budget"), words, "services may be ended below their own lines")
    report.finish()
    return Loaded(
        file, project, tuple(specs), _settings(values), tuple(report.warnings), tuple(report.filled)
    )


def project_of(path: str | os.PathLike[str]) -> str:
    """The project of a file, also of one with problems elsewhere (for `ps` and `stop` inside its folder)."""
    file = os.path.abspath(os.fspath(path))
    document, _ = _document(_text(file), file)
    section = document.get("midwatch")
    name = section.get("project") if isinstance(section, dict) else None
    return name if isinstance(name, str) and name else _folder_name(file)


def _text(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        hint = (
            "run `midwatch check FILE`, or write one"
            if isinstance(error, FileNotFoundError)
            else "check its permissions"
        )
        raise ConfigError([Problem(file, 0, "", f"cannot read it: {error.strerror}", hint)]) from None
    except ValueError as error:
        raise ConfigError(
            [Problem(quoted(file), 0, "", f"cannot read it: {error}", "check the name")]
        ) from None
    if len(data) > MOST_BYTES:
        raise ConfigError([Problem(file, 0, "", "is larger than 1 MiB", "this is not a configuration")])
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(file, line, "", "is not UTF-8 text", "save it as UTF-8")]) from None


def _document(text: str, file: str) -> tuple[dict[str, Any], Report]:
    import tomllib

    places, again = locate(text)
    try:
        return tomllib.loads(text), Report(file, places)
    except RecursionError:
        raise ConfigError([Problem(file, 1, "", "is nested too deeply", "write it flat")]) from None
    except ValueError as error:  # TOMLDecodeError, and a number with thousands of digits
        raise ConfigError(_syntax(file, text, str(error), places, again)) from None


def _syntax(
    file: str,
    text: str,
    message: str,
    places: dict[Path, tuple[int, int]],
    again: list[tuple[Path, tuple[int, int]]],
) -> list[Problem]:
    """What is wrong with a text that is not TOML. A name defined twice is told as such, with both places."""
    if again and re.match(r"Cannot (overwrite|declare|redefine|mutate)|Duplicate", message):
        return [_twice(file, path, place, places[path][0]) for path, place in again]
    found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    line, column = (int(found[1]), int(found[2])) if found and found[1] else (text.count("\n") + 1, 0)
    words = message[: found.start()] if found else message
    hint = "names and texts need quotes" if "Invalid value" in words else "this is not TOML"
    return [Problem(file, line, "", words[:1].lower() + words[1:300], hint, column)]


def _twice(file: str, path: Path, place: tuple[int, int], first: int) -> Problem:
    service = len(path) == 2 and path[0] == "service"
    what = f"the service {quoted(str(path[1]))} is defined" if service else "is set"
    hint = "give each service its own name" if service else "remove one of them"
    return Problem(file, place[0], dotted(path), f"{what} twice, first at line {first}", hint, place[1])


def _top_level(report: Report, document: dict[str, Any]) -> None:
    known = ["midwatch", "service"]
    for name in document:
        if name not in known:
            close = nearest(name, known)
            hint = (
                f"did you mean [{close}{'.NAME' if close == 'service' else ''}]?"
                if close
                else "known: [midwatch], [service.NAME]"
            )
            report.error((name,), "unknown key", hint)


def _section(report: Report, document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name, {})
    if isinstance(value, dict):
        return value
    report.error(
        (name,),
        f"expected a table, found {described(value)}",
        f"write [{name}{'.NAME' if name == 'service' else ''}]",
    )
    return {}


def _settings(values: Values) -> Settings:
    return Settings(*(values[name] for name in Settings.__struct_fields__))


def _folder_name(file: str) -> str:
    """A project's name from the folder: what is not allowed becomes a dash."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", os.path.basename(os.path.dirname(file))).strip("-")
    return name[:64] or "root"
