"""Reading one table of the file against the table of keys: unknown keys, wrong values, defaults.

Every problem goes into the report with its line, and a default stands in for a bad value, so that one look
finds all problems of a file and none is a consequence of another. Must not know what a key means.
"""

from __future__ import annotations

from typing import Any

import msgspec

from midwatch.config.key import REQUIRED, Key, Unset
from midwatch.config.keys import OPTIONAL_GROUPS, SHORT_FORMS
from midwatch.config.kind import Bad, ManyBad, described, passable
from midwatch.config.problems import Report, nearest

Path = tuple[str | int, ...]


class Values(msgspec.Struct):
    """What a table says: a value for each key, which of them were written, and which could not be used."""

    base: Path
    values: dict[str, Any] = {}
    given: set[str] = set()
    failed: set[str] = set()

    def __getitem__(self, path: str) -> Any:
        return self.values[path]

    def path(self, key: str) -> Path:
        """Where in the file a key of this table stands."""
        return (*self.base, *key.split("."))

    def has(self, group: str) -> bool:
        """Was this group written at all?"""
        return group in self.given


def read(report: Report, base: Path, table: dict[str, Any], keys: tuple[Key, ...]) -> Values:
    """The values of a table; problems and filled-in defaults go into the report."""
    values = Values(base)
    _unknown(report, base, table, keys, "", values)
    for key in keys:
        group = key.parts[0] if len(key.parts) > 1 else None
        if group in OPTIONAL_GROUPS and group not in values.given:
            values.values[key.path] = None if isinstance(key.default, Unset) else key.default
            continue
        _one(report, table, key, values)
    return values


def _unknown(
    report: Report, base: Path, table: dict[str, Any], keys: tuple[Key, ...], prefix: str, values: Values
) -> None:
    """Report keys that do not exist and groups that are no tables."""
    inside = [key.path.removeprefix(prefix) for key in keys if key.path.startswith(prefix)]
    names = sorted({path.split(".")[0] for path in inside})
    groups = {path.split(".")[0] for path in inside if "." in path}
    for name, value in table.items():
        path = (*base, *prefix.split(".")[:-1], name)
        if name not in names:
            report.error(path, "unknown key", _suggest(name, names, keys, prefix))
            # Neither is what was probably meant missing, nor does the group ask nothing: no second complaint.
            values.failed |= {prefix.rstrip("."), prefix + (nearest(name, names) or "")}
        elif prefix + name in SHORT_FORMS and not isinstance(value, dict):
            values.given.add(prefix + name)
        elif name in groups and not isinstance(value, dict):
            report.error(
                path, f"expected a table, found {described(value)}", _example(f"{prefix}{name}", keys)
            )
        elif name in groups:
            values.given.add(prefix + name)
            _unknown(report, base, value, keys, f"{prefix}{name}.", values)


def _suggest(name: str, names: list[str], keys: tuple[Key, ...], prefix: str) -> str:
    leaves = {key.parts[-1]: key.path for key in keys if len(key.parts) > 1}
    if not prefix and (path := leaves.get(name)):
        return f"did you mean {path}?"
    if close := nearest(name, names):
        return f"did you mean {prefix}{close}?"
    return f"known here: {', '.join(names)}"


def _example(group: str, keys: tuple[Key, ...]) -> str:
    first = next(key for key in keys if key.path.startswith(group + "."))
    return f"for example {group} = {{ {first.parts[-1]} = {first.example} }}"


def _one(report: Report, table: dict[str, Any], key: Key, values: Values) -> None:
    found, raw = _dig(table, key.parts)
    default = None if isinstance(key.default, Unset) else key.default
    values.values[key.path] = default
    path = values.path(key.path)
    if not found:
        if key.default is REQUIRED and key.path not in values.failed:
            report.error(path, "is missing", f"for example {key.path} = {key.example}")
            values.failed.add(key.path)
        elif not isinstance(key.default, Unset):
            report.default(path, key.shown)
        return
    values.given.add(key.path)
    try:
        if isinstance(raw, str) and not passable(raw):
            raise Bad("contains a NUL character or bytes that are not UTF-8", "neither can be passed on")
        values.values[key.path] = key.kind.read(raw)
    except Bad as bad:
        report.error((*path, *bad.at), bad.message, bad.hint)
        values.failed.add(key.path)
    except ManyBad as many:
        for part in many.parts:
            report.error((*path, *part.at), part.message, part.hint)
        values.failed.add(key.path)


def _dig(table: dict[str, Any], parts: tuple[str, ...]) -> tuple[bool, Any]:
    """Is the key written, and its raw value. A group that is no table was reported already."""
    value: Any = table
    for part in parts:
        if not isinstance(value, dict) and SHORT_FORMS.get(parts[0]) == part:
            return True, value
        if not isinstance(value, dict) or part not in value:
            return False, None
        value = value[part]
    return True, value
