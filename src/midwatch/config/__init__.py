"""Configuration: TOML -> `ServiceSpec`s with the line of every error; JSON Schema; explanations; differences.

The names below are the whole interface; each is imported when it is first used, so that `midwatch
--version` and the engine (which needs `difference` only) pay for nothing else. Tests: tests/config.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midwatch.config.command import for_command as for_command
    from midwatch.config.digest import Difference as Difference
    from midwatch.config.digest import difference as difference
    from midwatch.config.digest import spawn_digest as spawn_digest
    from midwatch.config.explanation import explain as explain
    from midwatch.config.json_schema import schema as schema
    from midwatch.config.keys import reference_rows as reference_rows
    from midwatch.config.loading import load as load
    from midwatch.config.loading import project_of as project_of
    from midwatch.config.problems import ConfigError as ConfigError
    from midwatch.config.problems import Loaded as Loaded
    from midwatch.config.problems import Problem as Problem
    from midwatch.config.problems import Settings as Settings

_HOMES = {
    "for_command": "command",
    "Difference": "digest",
    "difference": "digest",
    "spawn_digest": "digest",
    "explain": "explanation",
    "reference_rows": "keys",
    "load": "loading",
    "project_of": "loading",
    "ConfigError": "problems",
    "Loaded": "problems",
    "Problem": "problems",
    "Settings": "problems",
    "schema": "json_schema",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"midwatch.config.{_HOMES[name]}"), name)
