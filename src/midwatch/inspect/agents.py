"""What is known about agents and their helpers: the packs, read from TOML, and who of a table is one of them.

A pack is data (packs/agents/*.toml, packs/helpers/*.toml): how its processes are recognised, where it keeps state and
temporary files, what its exit codes mean, and examples that the tests run. A person's own packs lie in the instance's
folder, `packs/*.toml`; one of the same name replaces ours, and one with a mistake is said and left out. Recognising
goes by argv.py: whole parts of a program's place, never a substring. Must not look at the machine. Tests:
tests/inspect/test_packs.py.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from midwatch import packs
from midwatch.config.locate import locate
from midwatch.inspect import argv
from midwatch.model.look import Proc

Role = Literal["session", "server", "app", "launcher", "mcp", "language-server", "browser", "model", "helper"]
_PLACES = (
    "program",
    "path",
    "script",
    "module",
    "package",
    "within",
)  # a pattern asks for one of these at least
HELPERS = frozenset({"mcp", "language-server", "browser", "model", "helper"})
MOST_ASKED = 20_000
MOST_PACKS = 256
MOST_BYTES = 1 << 18  # of one pack


class Pattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to be recognised: all that is given must hold, each list offers alternatives.

    `program`: last part of the first word. `path`, `script`: the last parts of it, or of the interpreter's script;
    `within`: parts anywhere in either. `module`, `package`: as given; `*` may stand in all of them. `command`: the
    first plain word after it; `unless`: it is none of these. `option`: one of the words begins with it.
    """

    role: Role
    name: str = ""
    program: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    script: tuple[str, ...] = ()
    module: tuple[str, ...] = ()
    package: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    option: tuple[str, ...] = ()


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Folders; `~` is the user's home, {uid} the user's number."""

    folders: tuple[str, ...] = ()
    temporary: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()


class Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: int
    means: str
    restart: bool = True  # False: trying again cannot help


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command line, and whom it is: "" is nobody of this pack."""

    argv: tuple[str, ...]
    role: str


class Pack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One agent, or one family of helpers."""

    schema: Literal[1]
    name: str
    title: str  # on the screen
    process: tuple[Pattern, ...]
    about: str = ""
    state: State = State()
    exit: tuple[Code, ...] = ()
    example: tuple[Example, ...] = ()


class PackError(Exception):
    """A pack that cannot be used: file, line, key and what is wrong."""


class Known(msgspec.Struct, frozen=True):
    """Whom a process was recognised as."""

    pack: str
    title: str
    role: Role
    name: str


class Packs:
    """Everything known, ready to be asked."""

    def __init__(self, known: Iterable[Pack], problems: tuple[str, ...] = ()) -> None:
        """`problems`: packs that were left out, in words."""
        self.all = {pack.name: pack for pack in known}
        self.problems = problems
        self._rows = [(pack, pattern) for pack in self.all.values() for pattern in pack.process]
        self._exact: dict[tuple[str, str], list[int]] = {}
        self._loose: dict[str, list[int]] = {}
        self._wild: dict[str, list[str]] = {}
        self._asked: dict[tuple[str, ...], Known | None] = {}  # copies of one server have the same arguments
        for number, (_, pattern) in enumerate(self._rows):
            self._index(number, pattern)

    def _index(self, number: int, pattern: Pattern) -> None:
        """Under the last part of what its first field asks for: of 100 patterns a process concerns five."""
        field = next((name for name in _PLACES if getattr(pattern, name)), "")
        for want in getattr(pattern, field) if field else ():
            last = want.rsplit("/", 1)[-1]
            if field == "within" or "*" in last:
                self._loose.setdefault(field, []).append(number)
                self._wild.setdefault(field, []).append(want)
            else:
                self._exact.setdefault((field, last), []).append(number)

    def _any(self, field: str) -> re.Pattern[str]:
        """Finds a text that one of the patterns with stars could hold for."""
        wild = tuple(self._wild[field])
        return argv.inners(wild) if field == "within" else argv.tails(wild)

    def who(self, proc: Proc) -> Known | None:
        """The first pattern that holds, agents before helpers."""
        key = proc.argv or (proc.name,)
        if key not in self._asked:
            if len(self._asked) >= MOST_ASKED:
                self._asked.clear()
            self._asked[key] = self._who(proc)
        return self._asked[key]

    def _who(self, proc: Proc) -> Known | None:
        found = argv.shape(proc)
        numbers: set[int] = set()
        for field in _PLACES:
            text = f"{found.path}/{found.script}" if field == "within" else getattr(found, field)
            if not text:
                continue
            numbers.update(self._exact.get((field, text.rsplit("/", 1)[-1]), ()))
            if field in self._loose and self._any(field).search(text):
                numbers.update(self._loose[field])
        for number in sorted(numbers):
            pack, pattern = self._rows[number]
            if matches(pattern, found):
                return Known(pack.name, pack.title, pattern.role, pattern.name or called(found))
        return None


def called(found: argv.Shape) -> str:
    """What a helper is called: its package, module or script, without what every name has."""
    return found.package or found.module or _script_name(found.script) or found.program


def _script_name(script: str) -> str:
    """The package that a script belongs to, when its path says so; else the script."""
    parts = script.split("/")
    if "node_modules" in parts:
        after = parts[len(parts) - parts[::-1].index("node_modules") :]
        if after[:1] == [".bin"]:
            return parts[-1]
        return "/".join(after[:2]) if after[:1] and after[0].startswith("@") else after[0] if after else ""
    return parts[-1]


def matches(pattern: Pattern, found: argv.Shape) -> bool:
    """Does everything hold that the pattern asks for? The cheapest first: a table has ten thousand rows."""
    if pattern.command and found.command not in pattern.command:
        return False
    if pattern.unless and found.command in pattern.unless:
        return False
    if pattern.program and not _ends(found.program, pattern.program):
        return False
    if pattern.path and not _ends(found.path, pattern.path):
        return False
    if pattern.script and not _ends(found.script, pattern.script):
        return False
    if pattern.module and not _ends(found.module, pattern.module):
        return False
    if pattern.package and not _ends(found.package, pattern.package):
        return False
    if pattern.within and not any(
        argv.passes(f"{found.path}/{found.script}", want) for want in pattern.within
    ):
        return False
    return not pattern.option or any(word.startswith(want) for want in pattern.option for word in found.rest)


def _ends(text: str, wanted: tuple[str, ...]) -> bool:
    return bool(text) and any(argv.ends_with(text, want) for want in wanted)


def load(own: str = "") -> Packs:
    """Ours, then those of the folder `own`. Never raises: a bad pack is a problem in words."""
    base = os.path.dirname(packs.__file__)
    known: dict[str, Pack] = {}
    problems: list[str] = []
    for folder in (os.path.join(base, "agents"), os.path.join(base, "helpers"), own):
        for path in _files(folder) if folder else ():
            try:
                pack = read(path)
            except PackError as error:
                problems.append(str(error))
            else:
                known[pack.name] = pack
    ordered = sorted(
        known.values(), key=lambda pack: pack.process[0].role in HELPERS if pack.process else True
    )
    return Packs(ordered, tuple(problems))


def _files(folder: str) -> list[str]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".toml"))
    except OSError:
        return []
    return [os.path.join(folder, name) for name in names[:MOST_PACKS]]


def read(path: str) -> Pack:
    """One file. Raises PackError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            text = file.read(MOST_BYTES + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PackError(f"{path}: not readable as text: {error}") from None
    if len(text) > MOST_BYTES:
        raise PackError(f"{path}: larger than {MOST_BYTES >> 10} KiB")
    return parse(text, path)


def parse(text: str, path: str) -> Pack:
    """The text of a pack. Raises PackError with file, line and key."""
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise PackError(f"{path}:{line[1] if line else 1}: {error}") from None
    try:
        pack = msgspec.convert(document, Pack)
    except msgspec.ValidationError as error:
        raise PackError(_explained(str(error), text, path)) from None
    for number, pattern in enumerate(pack.process):
        if not any(getattr(pattern, name) for name in _PLACES):
            words = f"needs one of {', '.join(_PLACES)} - at `$.process[{number}]`"
            raise PackError(_explained(words, text, path))
    return pack


def _explained(error: str, text: str, path: str) -> str:
    """msgspec's words with the line of what they are about: "... - at `$.process[0].role`"."""
    words, _, place = error.partition(" - at `")
    where: list[str | int] = []
    for key, number in re.findall(r"\.([A-Za-z0-9_-]+)|\[(\d+)\]", place):
        where.append(key or int(number))
    unknown = re.search(r"unknown field `([^`]+)`", words)
    if unknown:
        where.append(unknown[1])
        words = "unknown key"
    places = locate(text)[0]
    line = next(
        (places[tuple(where[:n])][0] for n in range(len(where), 0, -1) if tuple(where[:n]) in places), 1
    )
    key = ".".join(str(part) for part in where if not isinstance(part, int))
    return f"{path}:{line}: {key + ': ' if key else ''}{words}"
