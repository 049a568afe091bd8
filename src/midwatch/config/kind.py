"""What a kind of value is, and how a value that cannot be used is refused.

The kinds themselves are in kinds.py (single values) and compound.py (lists and tables). Must not know any
kind or key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from midwatch.config.problems import quoted


class Bad(Exception):
    """A value that cannot be used; `at` is the way from the key to the offending part."""

    def __init__(self, message: str, hint: str = "", at: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.at = at

    def under(self, part: str | int) -> Bad:
        """The same complaint, about one part of a larger value."""
        self.at = (part, *self.at)
        return self


class ManyBad(Exception):
    """Several parts of one value are bad."""

    def __init__(self, parts: list[Bad]) -> None:
        super().__init__(parts)
        self.parts = parts


class Kind(msgspec.Struct, frozen=True):
    """One kind of value: a word for it, its JSON Schema, its reader and its writer."""

    words: str
    schema: dict[str, Any]
    read: Callable[[object], Any]
    show: Callable[[Any], str]


def described(value: object) -> str:
    """What the user wrote, with its type in his words."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {quoted(value)}"
        case int() | float():
            return f"the number {str(value)[:40]}"
        case list():
            return "an array"
        case dict():
            return "a table"
        case None:
            return "nothing"
        case _:
            return f"the date {value}"


def wrong(wanted: str, value: object, hint: str = "") -> Bad:
    """The commonest complaint."""
    return Bad(f"expected {wanted}, found {described(value)}", hint)


def passable(text: str) -> bool:
    """Can this be an argument or a path, and be written down? No NUL, and bytes that are UTF-8."""
    try:
        return "\0" not in text and bool(text.encode() or True)
    except UnicodeEncodeError:  # surrogates: how Python shows bytes of the command line that are not UTF-8
        return False


def gather(parts: list[Bad]) -> None:
    """Raise if anything was found."""
    if parts:
        raise ManyBad(parts)
