"""Reading env files (SVC-15): NAME=VALUE lines, parsed literally, never sourced.

No variable is expanded and no command runs. Names that belong to the shell (UID GID EUID EGID PPID) are
ignored. Unquoted values end at the line or before " #"; single quotes keep everything; double quotes know
\\n \\r \\t \\" \\\\ \\$. Quoted values may span lines (keys and certificates). Must not know where the
values go, nor which of them win.
"""

from __future__ import annotations

import re

SHELLS_OWN = frozenset({"UID", "GID", "EUID", "EGID", "PPID"})
MOST_BYTES = 1 << 20

_NAME = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*")
_ESCAPE = re.compile(r"\\([nrt\"\\$])")
_MEANING = {"n": "\n", "r": "\r", "t": "\t"}
_TAIL = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|$)")


class EnvFileError(ValueError):
    """The file cannot be read as an env file; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(message)


def parse(text: str) -> dict[str, str]:
    """The variables of an env file, the last of equal names winning. Raises `EnvFileError`."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    values: dict[str, str] = {}
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end].strip()
        if not line or line.startswith("#"):
            at = end + 1
            continue
        at += len(text[at:end]) - len(text[at:end].lstrip())
        number = text.count("\n", 0, at) + 1
        found = _NAME.match(text, at, end)
        if not found:
            raise EnvFileError(number, "expected NAME=VALUE")
        name = found.group(1)
        value, at = _value(text, found.end(), end, number)
        if "\0" in value:
            raise EnvFileError(number, f"the value of {name} contains a NUL character")
        if name not in SHELLS_OWN:
            values[name] = value
    return values


def _value(text: str, at: int, end: int, number: int) -> tuple[str, int]:
    """One value, and where the next line begins."""
    quote = text[at : at + 1]
    if quote not in ("'", '"') or at >= end:
        bare = re.split(r"(?:^|[ \t])#", text[at:end], maxsplit=1)[0]
        return bare.strip(), end + 1
    close = at + 1
    while close < len(text) and text[close] != quote:
        close += 2 if quote == '"' and text[close] == "\\" else 1
    if close >= len(text):
        raise EnvFileError(number, f"the quote {quote} is never closed")
    value = text[at + 1 : close]
    if quote == '"':
        value = _ESCAPE.sub(lambda match: _MEANING.get(match[1], match[1]), value)
    tail = _TAIL.match(text, close + 1)
    if not tail:
        raise EnvFileError(text.count("\n", 0, close) + 1, f"text after the closing quote {quote}")
    return value, max(tail.end(), close + 1)
