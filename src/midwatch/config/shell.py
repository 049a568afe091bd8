"""Splitting a command that was written as one string, and refusing what only a shell would understand.

Midwatch never runs a shell by itself: a string is split into words as a shell would quote them, and
anything a shell would have acted on (pipes, redirections, variables, substitutions) is an error that names
it, because running it literally would be a surprise. Must not look at the file system.
"""

from __future__ import annotations

import re

_OPERATORS = {
    "|": "a pipe or ||",
    "&": "& or &&",
    ";": "a second command after ;",
    "<": "a redirection",
    ">": "a redirection",
    "(": "a subshell",
    ")": "a subshell",
    "\n": "a second line",
}
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")


def split(text: str) -> list[str]:
    """The words of a command line without shell features. ValueError with the reason."""
    import shlex

    surprise = shell_only(text.strip())
    if surprise:
        raise ValueError(f"contains {surprise}, which only a shell understands")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cannot be split into words: {str(error).lower()}") from None
    if words and (found := _ASSIGNMENT.match(words[0])):
        raise ValueError(f"begins with the assignment {found.group(1)}=, which only a shell understands")
    return words


def shell_only(text: str) -> str | None:
    """The first thing in the text that a shell would act on; None when it is only words and quotes."""
    quote = ""
    before = " "
    at = 0
    while at < len(text):
        char = text[at]
        if quote == "'":
            quote = "" if char == "'" else quote
        elif char == "\\":
            at += 1
        elif char == "`" or (char == "$" and re.match(r"[A-Za-z_{(?$!@*#0-9]", text[at + 1 : at + 2])):
            return "a command substitution" if char == "`" else "a variable or substitution ($)"
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _OPERATORS:
            return _OPERATORS[char]
        elif char == "~" and before.isspace():
            return "a home folder (~)"
        elif char == "#" and before.isspace():
            return "a comment (#)"
        before = char
        at += 1
    return None
