"""JSON Schema (2020-12) of midwatch.toml, generated from the table of keys, for editors and other programs.

It describes shapes: everything that the table knows. What only the whole file tells (needs,
contradictions, files that have to exist) is `midwatch check`'s. Must not contain a key of its own.
"""

from __future__ import annotations

from typing import Any

from midwatch.config.key import REQUIRED, Key, Unset
from midwatch.config.keys import GROUPS, MIDWATCH, SERVICE, SHORT_FORMS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema as a JSON document."""
    service = _table(SERVICE)
    names = {"pattern": "^[A-Za-z0-9_-]{1,64}$"}
    return {
        "$schema": DIALECT,
        "title": "midwatch.toml",
        "description": "Services that midwatch keeps alive",
        "type": "object",
        "properties": {
            "midwatch": {**_table(MIDWATCH), "description": "what concerns the whole instance or file"},
            "service": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": names,
                "additionalProperties": {"$ref": "#/$defs/service"},
                "description": "one table for each service: [service.NAME]",
            },
        },
        "required": ["service"],
        "additionalProperties": False,
        "$defs": {"service": service},
    }


def _table(keys: tuple[Key, ...]) -> dict[str, Any]:
    """One table with its groups as tables of their own."""
    properties: dict[str, Any] = {}
    for key in keys:
        target = properties
        *groups, last = key.parts
        for group in groups:
            inner = target.setdefault(
                group,
                {
                    "type": "object",
                    "description": GROUPS[group],
                    "properties": {},
                    "additionalProperties": False,
                },
            )
            target = inner["properties"]
            if SHORT_FORMS.get(group) == last:
                del inner["type"]
                inner["anyOf"] = [{"type": "object", "required": [last]}, key.kind.schema]
        target[last] = _key(key)
    required = [key.path for key in keys if key.default is REQUIRED and len(key.parts) == 1]
    return {"type": "object", "properties": properties, "additionalProperties": False} | (
        {"required": required} if required else {}
    )


def _key(key: Key) -> dict[str, Any]:
    described: dict[str, Any] = {**key.kind.schema, "description": f"{key.meaning}. Default: {key.shown}"}
    if not isinstance(key.default, Unset) and isinstance(key.default, bool | int | str):
        plain = _plain_default(key)
        if plain is not None:
            described["default"] = plain
    return described


def _plain_default(key: Key) -> Any:
    """The default as the file would hold it."""
    import tomllib

    return tomllib.loads(f"value = {key.shown}")["value"]
