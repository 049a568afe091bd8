"""What a key of the configuration is: path, kind, default, meaning and an example; and a line of the reference.

The keys themselves are in keys.py and the tuples it puts together. Must not know any key by name.
"""

from __future__ import annotations

from typing import Any

import msgspec

from midwatch.config.kind import Kind


class Unset:
    """The default of a key whose absence is no value: `words` say what it means."""

    def __init__(self, words: str) -> None:
        self.words = words


REQUIRED = Unset("required")
UNUSED = Unset("not used")


class Key(msgspec.Struct, frozen=True):
    """One key. `path` is relative to its table; `default` is a model value, or `Unset`."""

    path: str
    kind: Kind
    default: Any
    meaning: str
    example: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The path as a tuple."""
        return tuple(self.path.split("."))

    @property
    def shown(self) -> str:
        """The default as one would write it, or what its absence means."""
        return self.default.words if isinstance(self.default, Unset) else self.kind.show(self.default)


class Row(msgspec.Struct, frozen=True):
    """One line of the generated reference."""

    key: str
    kind: str
    default: str
    meaning: str
    example: str
