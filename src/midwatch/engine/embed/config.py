"""What an embedding program wants supervised: the keys of midwatch.toml as a dict, or a file with them.

The same tables, messages and defaults as everywhere: a dict here is what TOML would have been read into. Must not
start anything. Tests: tests/engine/test_embed_config.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from midwatch.config import graph
from midwatch.config.build import draft
from midwatch.config.keys import MIDWATCH
from midwatch.config.kinds import NAME
from midwatch.config.launch import Around
from midwatch.config.loading import load
from midwatch.config.problems import ConfigError, Loaded, Problem, Report, Settings, quoted
from midwatch.config.tables import read

WHERE = "Supervisor()"


def from_file(path: str | os.PathLike[str]) -> Loaded:
    """As `midwatch up -f PATH` reads it. Raises ConfigError."""
    return load(path)


def from_tables(
    services: Mapping[str, Any], *, project: str, folder: str | os.PathLike[str] | None
) -> Loaded:
    """`services`: name -> the keys of its [service.NAME] table. `folder`: what relative paths start from (default: the
    current one). Raises ConfigError."""
    if not NAME.fullmatch(project):
        hint = "letters, digits, _ and -, at most 64"
        raise ConfigError([Problem(WHERE, 0, "project", f"{quoted(project)} is not a name for a project", hint)])
    report = Report(WHERE)
    around = Around(os.path.abspath(folder or os.curdir), project, os.environ)
    if not services:
        report.error(("services",), "there is no service", 'pass {"name": {"command": ["..."]}}')
    drafts = [found for name, keys in services.items() if (found := draft(report, str(name), _plain(keys), around))]
    specs = graph.settle(report, project, drafts)
    settings = read(report, ("midwatch",), {}, MIDWATCH)
    report.finish()
    specs = [msgspec.structs.replace(spec, source=f"{WHERE}: services.{spec.name}") for spec in specs]
    values = Settings(*(settings[name] for name in Settings.__struct_fields__))
    return Loaded(WHERE, project, tuple(specs), values, tuple(report.warnings), tuple(report.filled))


def _plain(value: Any) -> Any:
    """What TOML would give: tables are dicts, arrays are lists, paths are texts."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
