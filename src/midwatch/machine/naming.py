"""Words about processes, the same on every system: printable lines, managers known by their command, markers.

Must not look at anything: text in, text out. Tests: tests/machine/test_who.py.
"""

from __future__ import annotations

import os

COMMAND = 200  # characters of a command line
MARKER = 4096  # characters of a marker: compared, so not cut
NEAR = 3  # ancestors among which a manager is looked for
FAR = 32  # ancestors among which a keeper is looked for
_MANAGERS = ("supervisord", "circusd", "honcho", "runsv", "s6-supervise")


def printable(text: str, most: int = COMMAND) -> str:
    """One line: control and other unprintable characters escaped, cut at `most`."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: most + 1])
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def command(words: bytes, name: str) -> str:
    """A command line (NUL or blank between the words), or [name] where there is none."""
    text = words.rstrip(b"\0").replace(b"\0", b" ")[: 4 * COMMAND].decode("utf-8", "backslashreplace")
    return printable(text or (f"[{name}]" if name else ""))


def manager(words: list[bytes]) -> str:
    """The manager whose command this is, "" when it is none that we know."""
    names = [os.path.basename(word) for word in words[:2]]
    if words and (words[0].startswith(b"PM2 v") or any(b"/pm2/lib/" in word for word in words[:3])):
        return "pm2"
    return next((name for name in _MANAGERS if name.encode() in names), "")


def is_keeper(words: list[bytes]) -> bool:
    """Is this the command of a keeper of ours or of another instance?"""
    return any(word.endswith((b"/midwatch/keeper/__main__.py", b"/midwatch/keeper")) for word in words[:8])


def home(marker: str, instance: str) -> str:
    """Which other instance a marker names: it is a path of INSTANCE:RUN, the innermost last."""
    found = marker.rpartition("/")[2].partition(":")[0] if ":" in marker else ""
    return f"midwatch of another home ({printable(found)})" if found and found != instance else ""


def outer(marker: str) -> set[str]:
    """The marker itself and those it lies inside: "a/b/c" is also of "a/b" and of "a"."""
    parts = marker.split("/")
    return {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
