"""What a verb is made of: its words, its options, its arguments, the function that does it.

Declared once as plain data, because importing Typer costs more time than `ps` may take: `quick.py` reads
an ordinary command line by these declarations, `typer_app.py` builds help, completion and error messages
from the same ones, and the reference is generated from them. Must not import anything heavy. Tests:
tests/front/test_help.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

SCHEMA_VERSION = 1

Complete = Literal["", "service", "run", "file"]


class Opt(NamedTuple):
    """One option. `kind`: "flag" takes no value, "many" may be repeated.

    Values are text until the verb reads them.
    """

    dest: str
    flags: tuple[str, ...]
    help: str
    kind: Literal["flag", "text", "int", "many"] = "flag"
    metavar: str = ""
    default: Any = None
    choices: tuple[str, ...] = ()
    complete: Complete = ""

    @property
    def empty(self) -> Any:
        """The value when the option is not given."""
        if self.kind == "flag":
            return False
        return [] if self.kind == "many" else self.default


class Arg(NamedTuple):
    """The positional argument. `rest`: everything from the first word on belongs to it, options too."""

    dest: str
    metavar: str
    help: str
    many: bool = False
    required: bool = False
    rest: bool = False
    complete: Complete = ""


class Verb(NamedTuple):
    """One command: `run(**values)` returns the exit code."""

    name: str
    help: str
    detail: str
    examples: tuple[str, ...]
    run: Callable[..., int]
    opts: tuple[Opt, ...] = ()
    arg: Arg | None = None
    codes: str = ""


class Failure(Exception):
    """Something a person has to know, in one line: what, to whom, what was done, what to do."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Usage(Failure):
    """The command line is wrong; nothing was done."""

    def __init__(self, text: str) -> None:
        super().__init__(text, 2)


JSON = Opt("json", ("--json",), "Print JSON for scripts instead of text.")
FILE = Opt("file", ("-f", "--file"), "The configuration file.", "text", "FILE", complete="file")
ALL = Opt("everything", ("-a", "--all"), "Every service of every project.")
NO_WAIT = Opt("no_wait", ("--no-wait",), "Hand the job over and return at once.")
TIMEOUT = Opt("timeout", ("--timeout",), "Wait at most so long, e.g. 90s or 5m.", "text", "TIME")
NAMES = Arg("names", "NAME", "services, each as NAME or PROJECT/NAME.", many=True, complete="service")


def convert(opt: Opt, text: str) -> Any:
    """The value of one option as the verb takes it. Raises Usage."""
    if opt.choices and text not in opt.choices:
        raise Usage(f"{opt.flags[-1]} {text!r}: must be one of {', '.join(opt.choices)}")
    if opt.kind != "int":
        return text
    try:
        return int(text)
    except ValueError:
        raise Usage(f"{opt.flags[-1]} {text!r}: must be a whole number") from None
