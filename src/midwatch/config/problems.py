"""What reading a configuration results in: values on the good path, a list of problems on the bad one.

A problem says what is wrong, where (file, line, column, key) and what to do, so that the CLI can print it
and `--json` can carry it. All problems of a file are collected before `ConfigError` is raised; a file with
an error changes nothing. Must not know TOML nor any single key.
"""

from __future__ import annotations

import msgspec

from midwatch.model.service import ServiceSpec

MOST_PROBLEMS = 100  # a file full of rubbish stays readable; the rest is counted


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong (or, as a warning, doubtful). `line` 0: not a place in a file."""

    file: str
    line: int
    key: str
    message: str
    hint: str = ""
    column: int = 0

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        key = f"{self.key}: " if self.key else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}: {key}{self.message}{hint}"


class ConfigError(Exception):
    """The configuration cannot be used. Exit code 78: trying again without a change cannot help."""

    def __init__(self, problems: list[Problem] | tuple[Problem, ...]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Settings(msgspec.Struct, frozen=True):
    """The [midwatch] table: what concerns the instance and not one service. Sizes in bytes.

    `disk_reserve` None: decided by the size of the file system (policy/defaults.low_disk_reserve). `memory_budget`,
    `reserve` None: by that of the machine (policy/guard/lines.py).
    """

    log_total: int
    journal_weeks: int
    journal_bytes: int
    disk_reserve: int | None = None
    memory_budget: int | None = None
    reserve: int | None = None


class Loaded(msgspec.Struct, frozen=True):
    """A valid configuration. `filled` names each default, as 'service.web.stop.grace = "10s" (default)'."""

    path: str
    project: str
    specs: tuple[ServiceSpec, ...]
    settings: Settings
    warnings: tuple[Problem, ...] = ()
    filled: tuple[str, ...] = ()


class Report:
    """Collects the problems of one source and gives each its line."""

    def __init__(self, file: str, places: dict[tuple[str | int, ...], tuple[int, int]] | None = None) -> None:
        self.file = file
        self.places = {} if places is None else places
        self.top = (0, 0) if places is None else (1, 1)
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.filled: list[str] = []

    def place(self, path: tuple[str | int, ...]) -> tuple[int, int]:
        """Line and column of a key or of the nearest table around it; (0, 0) when the source has no lines."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, self.top)

    def _make(self, path: tuple[str | int, ...], message: str, hint: str) -> Problem:
        line, column = self.place(path)
        return Problem(self.file, line, dotted(path), message, hint, column)

    def error(self, path: tuple[str | int, ...], message: str, hint: str = "") -> None:
        """Something that makes the configuration unusable."""
        self.problems.append(self._make(path, message, hint))

    def warn(self, path: tuple[str | int, ...], message: str, hint: str = "") -> None:
        """Something doubtful that does not stop anybody."""
        self.warnings.append(self._make(path, message, hint))

    def default(self, path: tuple[str | int, ...], shown: str) -> None:
        """A default was filled in."""
        self.filled.append(f"{dotted(path)} = {shown} (default)")

    def undo_default(self, path: tuple[str | int, ...]) -> None:
        """Another default was chosen after all."""
        start = f"{dotted(path)} = "
        self.filled = [line for line in self.filled if not line.startswith(start)]

    def finish(self) -> None:
        """Raise if anything was wrong; in the order of the lines, and bounded."""
        if not self.problems:
            return
        ordered = sorted(self.problems, key=lambda problem: (problem.line, problem.column))
        rest = len(ordered) - MOST_PROBLEMS
        if rest > 0:
            ordered = ordered[:MOST_PROBLEMS]
            ordered.append(Problem(self.file, 0, "", f"and {rest} more problems", "correct these first"))
        raise ConfigError(ordered)


def dotted(path: tuple[str | int, ...]) -> str:
    """A key path as one would write it in TOML: service.web.stop.grace, needs[1], env."a b"."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        plain = part.replace("_", "").replace("-", "")
        shown = part if plain.isascii() and plain.isalnum() else quoted(part)
        text += f".{shown}" if text else shown
    return text


def quoted(text: str) -> str:
    """The text in double quotes, as TOML and JSON write it, cut to a readable length."""
    short = text if len(text) <= 60 else text[:57] + "..."
    return msgspec.json.encode(short.encode("utf-8", "replace").decode()).decode()


def nearest(word: str, known: list[str]) -> str | None:
    """The known word that the given one was probably meant to be."""
    import difflib  # only when something is wrong

    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return found[0] if found else None
