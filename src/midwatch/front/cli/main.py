"""The entry point: finds the verb, reads its line, turns every failure into one line and an exit code.

`--version` and ordinary lines never load Typer (its import alone costs more than `ps` may take); help,
completion and wrong lines do. Users never see a traceback unless MIDWATCH_DEBUG=1. Must not know what a
verb does. Tests: tests/front/test_main.py, test_help.py.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from midwatch.front.cli.declare import Failure, Usage, Verb
from midwatch.front.cli.verbs import VERBS, load

_KIN = {"status": "ps", "list": "ps", "ls": "ps", "top": "ps", "kill": "stop", "apply": "reload",
        "log": "logs", "tail": "logs", "journal": "events", "validate": "check", "help": "-h"}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    _streams()
    words = list(sys.argv[1:] if argv is None else argv)
    verb = words[0] if words and words[0] in VERBS else ""
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return _reader_left()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("MIDWATCH_DEBUG") == "1" and not isinstance(error, Failure):
            raise
        return _report(verb, words, error)


def _streams() -> None:
    """Three open files, whatever our caller closed: the first thing that we open must not become our stdout. What is
    written is UTF-8 whatever the locale is, and a name that is not even that is no failure."""
    while (fd := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(fd, True)
    os.close(fd)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _dispatch(words: list[str]) -> int:
    if "_MIDWATCH_COMPLETE" in os.environ:
        return _typer([])
    if words and words[0] == "--version":
        return _version(words[1:])
    if not words or words == ["--json"]:
        return load("look").run(json=bool(words))
    if words[0] in VERBS:
        verb = load(words[0])
        values = _quick(verb, words[1:])
        return _typer(words) if values is None else verb.run(**values)
    if words[0].startswith("-"):
        return _typer(words)
    meant = f" (did you mean {_KIN[words[0]]!r}?)" if words[0] in _KIN else nearest(words[0], VERBS)
    raise Usage(
        f"there is no command {words[0]!r}{meant}; nothing was done; "
        "'midwatch -h' lists the commands"
    )


def _quick(verb: Verb, words: list[str]) -> dict[str, Any] | None:
    from midwatch.front.cli.quick import read

    return read(verb, words)


def _version(more: list[str]) -> int:
    from midwatch import __version__

    if more == ["--json"]:
        print(f'{{"schema_version":1,"version":"{__version__}"}}')
    elif more:
        raise Usage(f"--version takes no argument {more[0]!r}; nothing was done")
    else:
        print(f"midwatch {__version__}")
    return 0


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """ " (did you mean 'ps'?)" or nothing."""
    from difflib import get_close_matches

    found = get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _typer(words: list[str]) -> int:
    """Help, completion and wrong lines."""
    from typer import Abort
    from typer.main import get_command

    from midwatch.front.cli.typer_app import build

    try:
        result = get_command(build()).main(args=words, prog_name="midwatch", standalone_mode=False)
    except Abort:
        return 130
    except Exception as error:
        if not hasattr(
            error, "format_message"
        ):  # every usage error of Typer (and of the Click inside it) has one
            raise
        raise Usage(_usage(words, error)) from None
    return result if isinstance(result, int) else 0


def _usage(words: list[str], error: Any) -> str:
    text = str(error.format_message()).strip().rstrip(".")
    text = text[:1].lower() + text[1:]
    text = text.replace("(Possible options: ", "(did you mean ").replace(" Did you mean", "; did you mean")
    if "(did you mean" in text:
        text = text.removesuffix(")") + "?)"
    verb = words[0] if words and words[0] in VERBS else ""
    if verb and "extra argument" in text:
        stray = text[text.rfind("(") + 1 :].rstrip(")").split(" ")[0]
        text = f"unknown argument {stray!r}{nearest(stray, VERBS)}"
    return f"{text}; nothing was done; see 'midwatch {verb + ' ' if verb else ''}-h'"


def _report(verb: str, words: list[str], error: Exception) -> int:
    code, lines = told(error)
    if verb in {"up", "reload"} and type(error).__name__ == "ConfigError":
        lines = [*lines, "nothing was changed"]
    head = f"midwatch {verb}".rstrip()
    for line in lines:
        print(f"{head}: {line}", file=sys.stderr)
    if "--json" in words and verb != "run":
        from json import dumps

        print(dumps({"schema_version": 1, "error": {"code": code, "message": "; ".join(lines)}}))
    return code


def told(error: Exception) -> tuple[int, list[str]]:
    """The exit code and what to say about it."""
    if isinstance(error, Failure):
        return error.code, [error.text]
    kind = type(error).__name__
    if kind == "ConfigError":
        return 78, [str(problem) for problem in getattr(error, "problems", [error])]
    if kind in {"LayoutError", "Unwritable"}:
        return 78, [str(error)]
    code = getattr(error, "code" if kind == "LaunchError" else "exit_code", None)
    if isinstance(code, int):
        return code, [str(error)]
    if isinstance(error, OSError):
        return 1, [_refused(error)]
    return 1, [f"an error of our own ({kind}: {error}); please report it; MIDWATCH_DEBUG=1 shows where"]


def _refused(error: OSError) -> str:
    """What the system refused, in words."""
    if error.filename:
        return f"cannot use {error.filename}: {error.strerror or error}"
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the current folder does not exist any more; change to another one"
    return f"the system refused: {error.strerror or error}"


def _reader_left() -> int:
    """Whoever read our output has gone (`midwatch logs x | head`): end as if killed by SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 141
