"""What a command line says it runs: program, script, module or package, and the words that are its own.

A name counts only where it stands for the program: first word, the script an interpreter was given, the module after
-m, the package after npx or uvx. A prompt or a path among the arguments never does (users.md 2.2, trap 18). Must not
know any program but interpreters and runners. Tests: tests/inspect/test_argv.py.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from midwatch.model.look import Proc

# Options of an interpreter that take the next word as their value: what follows them is not the script.
_NODE = {"-r", "--require", "--import", "--loader", "--experimental-loader", "--env-file", "--conditions", "-C",
         "--title", "--input-type", "--icu-data-dir", "--redirect-warnings", "--max-old-space-size"}  # fmt: skip
_NODE_END = {"-e", "--eval", "-p", "--print", "-pe"}
_PYTHON, _PYTHON_END = {"-W", "-X", "--check-hash-based-pycs"}, {"-c"}
_SHELL, _SHELL_END = {"-o", "+o", "-O", "--rcfile", "--init-file"}, {"-c"}
_INTERPRETERS: tuple[tuple[re.Pattern[str], set[str], set[str]], ...] = (
    (re.compile(r"(node|nodejs|electron|MainThread)(\d+(\.\d+)*)?"), _NODE, _NODE_END),
    (re.compile(r"(bun|deno|tsx|ts-node)"), {"--cwd", "-r", "--preload", "--config", "-c"}, {"-e", "-p"}),
    (re.compile(r"(python|pypy|pythonw|Python)(\d+(\.\d+)*)?t?"), _PYTHON, _PYTHON_END),
    (re.compile(r"(ba|da|z|k|a)?sh|fish"), _SHELL, _SHELL_END),
    (re.compile(r"(ruby|perl|php|java)(\d+(\.\d+)*)?"), {"-r", "-I", "-cp", "-classpath"}, {"-e"}),
)
_SHELLS = re.compile(r"(ba|da|z|k|a|tc|c)?sh|fish|nu|elvish|xonsh|pwsh")
_WRAPPERS = {
    "timeout",
    "env",
    "nice",
    "ionice",
    "nohup",
    "setsid",
    "sudo",
    "stdbuf",
    "caffeinate",
    "time",
    "chrt",
}
_COMMON = {"__main__", "main", "index", "server", "cli", "app", "run", "start", "manage", "worker", "entry"}
_RUNNERS: dict[str, tuple[str, ...]] = {
    "npx": (), "bunx": (), "uvx": (), "pipx": ("run",), "npm": ("exec", "x"), "pnpm": ("dlx", "exec"),
    "yarn": ("dlx", "exec"), "bun": ("x",), "uv": ("x", "tool"),
}  # fmt: skip
_RUNNER_VALUES = {"--package", "-p", "--from", "--with", "--python", "-c", "--call", "--index", "--cache", "--prefix",
                  "--registry", "--refresh-package", "--spec", "--directory", "--project"}  # fmt: skip


class Shape(msgspec.Struct, frozen=True):
    """`path`: the first word; `script`: the file an interpreter runs; `package`: without its version; `rest`: the
    words after all of that. What is not there is "".
    """

    path: str
    script: str = ""
    module: str = ""
    package: str = ""
    rest: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """The last part of the first word; a login shell's dash is taken off."""
        return self.path.rsplit("/", 1)[-1].removeprefix("-")

    @property
    def command(self) -> str:
        """The first word of the rest that is no option: the subcommand, for programs that have some."""
        return next((word for word in self.rest if not word.startswith("-")), "")


def shape(proc: Proc) -> Shape:
    """Of a process; one that shows no arguments is known by its name only."""
    argv = proc.argv
    if not argv or not argv[0].strip():
        return Shape(proc.name)
    if " " in argv[0] and not argv[0].startswith("/") and (len(argv) == 1 or argv[0].split()[0] in _RUNNERS):
        argv = (*argv[0].split(), *argv[1:])  # a title over the arguments: "npm exec x@latest"
    first, rest = argv[0], argv[1:]
    base = first.rsplit("/", 1)[-1].removeprefix("-")
    runner = _RUNNERS.get(base)
    if runner is not None:
        found = _package(first, runner, rest)
        if found is not None:
            return found
    for names, values, ends in _INTERPRETERS:
        if names.fullmatch(base):
            return _interpreted(first, rest, values, ends)
    return Shape(first, rest=rest)


def _package(first: str, words: tuple[str, ...], rest: tuple[str, ...]) -> Shape | None:
    """npx, npm exec, uvx and their like; None when this is another of the runner's commands."""
    at = 0
    if words:
        plain = [n for n, word in enumerate(rest) if not word.startswith("-")]
        if not plain or rest[plain[0]] not in words:
            return None
        at = plain[0] + 1
        if rest[plain[0]] == "tool":  # uv tool run X, uv tool uvx X
            if len(plain) < 2 or rest[plain[1]] not in {"run", "uvx"}:
                return None
            at = plain[1] + 1
    while at < len(rest):
        word = rest[at]
        if word == "--":
            at += 1
            continue
        if not word.startswith("-"):
            return Shape(first, package=_bare(word), rest=rest[at + 1 :])
        at += 2 if word in _RUNNER_VALUES else 1
    return Shape(first)


def _bare(package: str) -> str:
    """Without its version: "@scope/name@1.2" -> "@scope/name", "name==1" -> "name", "name[extra]" -> "name"."""
    head = package[:1]
    return head + re.split(r"@|==|>=|<=|~=|\[", package[1:], maxsplit=1)[0]


def _interpreted(first: str, rest: tuple[str, ...], values: set[str], ends: set[str]) -> Shape:
    at = 0
    while at < len(rest):
        word = rest[at]
        if word in ends:
            return Shape(first)
        if word == "-m" and values is _PYTHON:
            return Shape(first, module=rest[at + 1] if at + 1 < len(rest) else "", rest=rest[at + 2 :])
        if word == "run" and values not in (_NODE, _PYTHON, _SHELL) and at == 0:
            at += 1
        elif word.startswith(("-", "+")):
            at += 2 if word in values and "=" not in word else 1
        elif word:
            return Shape(first, script=word, rest=rest[at + 1 :])
        else:
            at += 1
    return Shape(first)


def ends_with(path: str, tail: str) -> bool:
    """Is `tail` the last parts of this path? Whole parts only; `*` stands for any one part or a piece of it."""
    if "*" not in tail:
        return path == tail or path.endswith("/" + tail)
    return bool(path) and tails((tail,)).search(path) is not None


def passes(path: str, inner: str) -> bool:
    """Are these parts anywhere in the path, side by side?"""
    if "*" not in inner:
        return f"/{inner}/" in f"/{path}/"
    return inners((inner,)).search(path) is not None


@lru_cache(maxsize=4096)
def tails(wanted: tuple[str, ...]) -> re.Pattern[str]:
    """Finds a path that ends with one of these."""
    return re.compile(f"(?:^|/)(?:{'|'.join(map(_parts, wanted))})$")


@lru_cache(maxsize=4096)
def inners(wanted: tuple[str, ...]) -> re.Pattern[str]:
    """Finds a path with one of these inside."""
    return re.compile(f"(?:^|/)(?:{'|'.join(map(_parts, wanted))})(?:/|$)")


def _parts(text: str) -> str:
    return re.escape(text).replace(r"\*", "[^/]*")


def _unwrapped(proc: Proc) -> Proc:
    """`timeout 600 make x` is told as what it runs: words that are options, numbers or settings are the wrapper's."""
    words = list(proc.argv)
    while words and words[0].rsplit("/", 1)[-1] in _WRAPPERS:
        words.pop(0)
        while words and (words[0].startswith("-") or words[0][:1].isdigit() or "=" in words[0]):
            words.pop(0)
    return msgspec.structs.replace(proc, argv=tuple(words)) if words else proc


def _told(path: str) -> str:
    """The last part of a script's path, with the folder before it where that part is what everybody calls it."""
    if path.startswith("/dev/fd/"):
        return ""  # what its parent hands it has no name
    parts = path.rstrip("/").split("/")
    return (
        "/".join(parts[-2:]) if parts[-1].partition(".")[0] in _COMMON and parts[-2:-1] != [""] else parts[-1]
    )


def is_shell(proc: Proc) -> bool:
    """A shell in which a person works: it runs no script and no -c."""
    found = shape(proc)
    if not _SHELLS.fullmatch(found.program):
        return False
    return not found.script and not any(word in _SHELL_END or word == "-lc" for word in proc.argv[1:])


def is_runner(proc: Proc) -> bool:
    """npx, uv, timeout ...: it starts another program and is nothing itself."""
    found = shape(proc)
    script = found.script.rsplit("/", 1)[-1].partition(".")[0].removesuffix("-cli")  # node .../npx-cli.js
    return found.program in _RUNNERS or found.program in _WRAPPERS or script in _RUNNERS


def label(proc: Proc) -> str:
    """A few words for a person: what it is, not where it lies and not what it was told. Not redacted, not escaped."""
    if not proc.argv:
        return f"[{proc.name}]"
    found = shape(_unwrapped(proc))
    for text, words in ((found.package, 0), (found.module, 1), (found.script, 1)):
        if text:
            name = text if text is found.package else _told(text)
            command = found.command if words and re.fullmatch(r"[a-z][a-z0-9_-]{0,23}", found.command) else ""
            return " ".join(part for part in (found.program, name, command) if part)
    command = found.command
    plain = re.fullmatch(r"[a-z][a-z0-9_-]{0,23}", command) and found.rest[:1] == (command,)
    return f"{found.program} {command}" if plain else found.program or proc.name
