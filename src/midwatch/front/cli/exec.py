"""`midwatch exec -- CMD`: run one command, bounded in output, memory and time; print its start and its end.

Everything is done by the library (midwatch.bounded); here are words, numbers and signals. Ctrl-C and TERM end
the command by the same ladder. The words after `--`, or from the first word that is no option, belong to CMD untouched.
Tests: tests/front/test_exec_verb.py.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from midwatch.front.cli.declare import JSON, Arg, Opt, Usage, Verb
from midwatch.front.cli.render import say_json

T = TypeVar("T")
_LEAVE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NOTHING = "; nothing was started"


def _run(command: list[str], json: bool, search: str | None, **given: Any) -> int:
    if search is not None:
        from midwatch.front.cli.exec_search import search_files

        return search_files(search, command, json=json, **given)
    if not command:
        raise Usage(f"which command?{_NOTHING}; for example: midwatch exec -- make test")
    for option in ("regex", "ignore_case", "include", "exclude", "big"):
        if given.pop(option):
            raise Usage(f"--{option.replace('_', '-')} is for --search only{_NOTHING}")
    from midwatch.bounded import Cancel, run
    from midwatch.bounded.orphans import adopting

    told: list[int] = []
    with adopting(), Cancel() as cancel, _heard(told, cancel.cancel):
        try:
            result = run(command, cancel=cancel, **options(given))
        except ValueError as error:
            raise Usage(f"{error}{_NOTHING}") from None
    if json:
        from msgspec import to_builtins

        document = to_builtins(result)
        del document["text"]  # it is head, tail and notice: a model that is given all of this would pay twice
        say_json(document)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(result.text.encode())  # UTF-8, whatever the locale is: that is what was checked
        sys.stdout.buffer.flush()
        for words in result.warnings:
            print(f"midwatch exec: {words}", file=sys.stderr)
    return 128 + told[0] if told and result.state == "cancelled" else result.code


@contextmanager
def _heard(told: list[int], cancel: Callable[[], None]) -> Iterator[None]:
    """Meanwhile the signals that ask us to leave end the command; what was ignored (nohup) stays so."""

    def leave(signum: int, _: FrameType | None) -> None:
        told.append(signum)
        cancel()

    before = {number: signal.getsignal(number) for number in _LEAVE}
    heard = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    for number in heard:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def options(given: dict[str, Any]) -> dict[str, Any]:
    """The words of the command line as arguments of `bounded.run`. Raises Usage, ValueError."""
    from midwatch.bounded import Limits
    from midwatch.model.units import parse_bytes, parse_seconds

    def seconds(name: str) -> float | None:
        return None if given[name] is None else _parsed(name, given[name], parse_seconds)

    def size(name: str) -> int | None:
        return None if given[name] is None else _parsed(name, given[name], parse_bytes)

    caps = {"output_kill": size("output"), "inline_cap": size("inline")}
    limits = Limits(**{name: value for name, value in caps.items() if value is not None})
    found = {"idle_timeout": seconds("idle_timeout"), "memory": size("memory"), "timeout": seconds("timeout")}
    chosen = {name: value for name, value in found.items() if value is not None}
    return {
        **chosen, "limits": limits, "streams": "split" if given["split"] else "merged", "cwd": given["cwd"],
        "env": _environment(given["env"]), "stdin": 0 if given["stdin"] else None, "detach_ok": given["detach_ok"],
        "spool": not given["no_spool"], "session": given["session"],
    }  # fmt: skip


def _parsed(name: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise Usage(f"--{name.replace('_', '-')} {text!r}: {error}{_NOTHING}") from None


def _environment(words: list[str]) -> dict[str, str]:
    env = dict(os.environ)
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Usage(f"--env {word!r}: write NAME=VALUE{_NOTHING}")
        env[name] = value
    return env


VERB = Verb(
    name="exec",
    help="Run one command, bounded in output, memory and time.",
    detail=(
        "Prints what the command printed. Of a long output: its first 12 KiB, its last 20 KiB, and a line that says "
        "what is missing and how to read it; the whole (up to 64 MiB) is in a spool for 7 days. Colours, cursor "
        "movements and progress bars are removed, binary output is shown as hex. A command that does not end is ended "
        "with everything it started: TERM, 2 seconds, KILL. It reads /dev/null, has no terminal, and ends with this "
        "process."
    ),
    examples=(
        "midwatch exec -- make test",
        "midwatch exec --timeout 10m --memory 2G --json -- npm run build",
        "midwatch exec --search TODO src",
    ),
    run=_run,
    opts=(
        Opt("timeout", ("--timeout",), "End it after so long. Default 2m, at most 1h.", "text", "TIME"),
        Opt("idle_timeout", ("--idle-timeout",), "End it when it prints nothing for so long.", "text", "TIME"),
        Opt("memory", ("--memory",), "What it and everything it starts may hold, e.g. 2G.", "text", "SIZE"),
        Opt("output", ("--output",), "End it when it prints more than this. Default 1G.", "text", "SIZE"),
        Opt("inline", ("--inline",), "Print at most so much of it. Default 40K.", "text", "SIZE"),
        Opt("split", ("--split",), "Keep stderr apart: a quarter of what is shown is for it."),
        Opt("cwd", ("--cwd",), "Run it in this folder.", "text", "DIR", complete="file"),
        Opt("env", ("-e", "--env"), "Set a variable; may be repeated.", "many", "NAME=VALUE"),
        Opt("stdin", ("--stdin",), "Let it read our standard input; otherwise it reads /dev/null."),
        Opt("detach_ok", ("--detach-ok",), "Who still holds its output when it ends may go on."),
        Opt("no_spool", ("--no-spool",), "Keep nothing of what is not printed."),
        Opt("session", ("--session",), "Only this session's token may read the spool.", "text", "TOKEN"),
        Opt("search", ("--search",), "Search the files of the folder CMD for this instead.", "text", "TEXT"),
        Opt("regex", ("--regex",), "With --search: TEXT is a regular expression."),
        Opt("ignore_case", ("--ignore-case",), "With --search: upper and lower case are the same."),
        Opt("include", ("--include",), "With --search: only files of this name, e.g. '*.py'.", "many", "GLOB"),
        Opt("exclude", ("--exclude",), "With --search: not these files and folders.", "many", "GLOB"),
        Opt("big", ("--big",), "With --search: files over 10 MiB, too."),
        JSON,
    ),
    arg=Arg("command", "CMD", "the program and its arguments; with --search a folder.", many=True, rest=True),
    codes=(
        "Exit codes: the command's own; 128+N when signal N ended it or us; never 0 for a command that was ended at "
        "one of its bounds (124 if it then left with 0); 127 and 126: it was not found, it cannot be started; 2 usage. "
        "What happened is in `state` of --json: exited, signaled, timeout, idle_timeout, output_limit, memory_limit, "
        "cancelled, failed. --search: 0 found, 1 nothing found."
    ),
)
