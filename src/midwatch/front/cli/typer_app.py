"""The Typer application, built from the verbs' declarations.

Loaded only for help, completion, the reference and to say what is wrong with a command line: Typer and
what it brings take longer to import than most verbs take to answer. Help is plain text: Rich would show
Python types and take as long again. Must not know what a verb does. Tests: tests/front/test_help.py, test_quick.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from midwatch.front.cli import complete
from midwatch.front.cli.declare import Arg, Opt, Verb, convert
from midwatch.front.cli.verbs import ABOUT, VERBS, load

_HELP_NAMES = {"help_option_names": ["-h", "--help"]}


def build() -> typer.Typer:
    """The whole application."""
    app = typer.Typer(
        name="midwatch",
        help=ABOUT,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_HELP_NAMES,
        invoke_without_command=True,
        epilog="`midwatch` alone is `midwatch look`: this machine at a glance, and what to type next. "
        "`midwatch VERB -h` explains one verb.",
    )
    app.callback()(_root)
    for name in VERBS:
        verb = load(name)
        settings: dict[str, Any] = dict(_HELP_NAMES)
        if verb.arg is not None and verb.arg.rest:
            settings["allow_interspersed_args"] = False
        app.command(
            verb.name, help=_help(verb), short_help=verb.help, context_settings=settings,
            options_metavar="[OPTIONS] --" if verb.arg is not None and verb.arg.rest else "[OPTIONS]",
        )(_callback(verb))  # fmt: skip
    return app


def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,  # noqa: ARG001
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of text.")] = False,  # noqa: ARG001
) -> int:
    """Without a verb: main.py has already dealt with these two."""
    return 0


def _help(verb: Verb) -> str:
    lines = "\n".join(f"  $ {example}" for example in verb.examples)
    text = f"{verb.help}\n\n{verb.detail}\n\n\b\nExamples:\n{lines}"
    if verb.arg is not None:  # Typer's own section would print Python types
        text = f"{verb.help}\n\n{verb.arg.metavar}: {verb.arg.help} {verb.detail}\n\n\b\nExamples:\n{lines}"
    return f"{text}\n\n{verb.codes}" if verb.codes else text


def _callback(verb: Verb) -> Callable[..., int]:
    by_dest = {opt.dest: opt for opt in verb.opts}

    def call(**values: Any) -> int:
        for dest, opt in by_dest.items():
            values[dest] = _converted(opt, values[dest])
        if verb.arg is not None and verb.arg.many:
            values[verb.arg.dest] = list(values[verb.arg.dest] or [])
        return verb.run(**values)

    params = [_option(opt) for opt in verb.opts]
    if verb.arg is not None:
        params.append(_argument(verb.arg))
    call.__name__ = verb.name
    call.__annotations__ = {p.name: p.annotation for p in params}
    call.__signature__ = inspect.Signature(params)  # type: ignore[attr-defined]
    return call


def _converted(opt: Opt, value: Any) -> Any:
    if opt.kind == "flag" or value is None:
        return opt.empty if value is None else value
    if opt.kind == "many":
        return [convert(opt, text) for text in value]
    return convert(opt, value) if isinstance(value, str) else value


def _option(opt: Opt) -> inspect.Parameter:
    kind: Any = {"flag": bool, "many": list[str]}.get(opt.kind, str | None)
    help_text = f"{opt.help} One of: {', '.join(opt.choices)}." if opt.choices else opt.help
    if opt.default is not None:
        help_text += f" Default: {opt.default}."
    info = typer.Option(
        *opt.flags,
        help=help_text,
        metavar=opt.metavar or None,
        show_default=False,
        autocompletion=complete.for_option(opt),
    )
    default: Any = False if opt.kind == "flag" else None
    if opt.kind == "many":
        default = []
    return inspect.Parameter(
        opt.dest, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info], default=default
    )


def _argument(arg: Arg) -> inspect.Parameter:
    info = typer.Argument(
        help=arg.help,
        metavar=arg.metavar,
        show_default=False,
        hidden=True,
        autocompletion=complete.for_argument(arg),
    )
    kind: Any = list[str] if arg.many else str
    if arg.required:
        default: Any = inspect.Parameter.empty
    else:
        kind, default = kind | None, None
    return inspect.Parameter(
        arg.dest, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info], default=default
    )
