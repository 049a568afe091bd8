"""Writing and reading the text of a systemd unit: quoting for each kind of value, and the reverse.

`%` begins a specifier everywhere, `$` a variable in commands only, and a backslash escapes inside quotes.
The reader exists to prove the round trip (UNI-7) and to look at units that other people wrote. Must not know
what a key means. Tests: tests/host/units/test_unitfile.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_BACK = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}

Unit = dict[str, list[tuple[str, str]]]


def path_value(text: str) -> str:
    """A path that stands alone (WorkingDirectory, EnvironmentFile): not quoted, only specifiers escaped."""
    return text.replace("%", "%%")


def word(text: str, command: bool = False) -> str:
    """One word of a list. In a command `$` would begin a variable."""
    text = text.replace("%", "%%")
    if command:
        text = text.replace("$", "$$")
    if _PLAIN.fullmatch(text) or (text and _PLAIN.fullmatch(text.replace("%%", "").replace("$$", ""))):
        return text
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    return char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in char.encode())


def command_value(words: Iterable[str]) -> str:
    """The words of ExecStart and its kin."""
    return " ".join(word(one, command=True) for one in words)


def environment_value(name: str, value: str) -> str:
    """One assignment of Environment=."""
    return word(f"{name}={value}")


def parse(text: str) -> Unit:
    """Sections with their keys in order; repeated keys stay repeated. Comments are left out, lines joined."""
    unit: Unit = {}
    section: list[tuple[str, str]] = []
    held = ""
    for raw in text.splitlines():
        line = raw.strip()
        if held and line[:1] in "#;":
            continue
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        line, held = held + line, ""
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            section = unit.setdefault(line[1:-1], [])
            continue
        key, equals, value = line.partition("=")
        if equals:
            section.append((key.strip(), value.strip()))
    return unit


def last(unit: Unit, section: str, key: str) -> str | None:
    """The value that counts: the last one."""
    return next((value for name, value in reversed(unit.get(section, [])) if name == key), None)


def words(value: str, command: bool = False) -> list[str]:
    """The words of a list, unquoted: the reverse of `word`."""
    found: list[str] = []
    current: list[str] = []
    quote, at, open_word = "", 0, False
    while at < len(value):
        char = value[at]
        at += 1
        if char == "\\" and at < len(value):
            text, at = _unescaped(value, at)
            current.append(text)
            open_word = True
        elif quote:
            if char == quote:
                quote = ""
            else:
                current.append(char)
        elif char in "\"'":
            quote, open_word = char, True
        elif char.isspace():
            if open_word:
                found.append("".join(current))
            current, open_word = [], False
        else:
            current.append(char)
            open_word = True
    if open_word:
        found.append("".join(current))
    return [_meant(one, command) for one in found]


def _unescaped(value: str, at: int) -> tuple[str, int]:
    if value[at] == "x":
        raw = bytearray()
        while value[at - 1 : at + 1] == "\\x":
            raw.append(int(value[at + 1 : at + 3], 16))
            at += 4
        return raw.decode("utf-8", "surrogateescape"), at - 1
    return _BACK.get(value[at], value[at]), at + 1


def _meant(text: str, command: bool) -> str:
    text = text.replace("%%", "%")
    return text.replace("$$", "$") if command else text
