"""What the shell completes: service names and run ids from the record and the daemon. Bounded, silent, read-
only.

Must never start anything nor say anything. Tests: tests/front/test_help.py.
"""

from __future__ import annotations

from collections.abc import Callable

from midwatch.front.cli.declare import Arg, Opt

Completer = Callable[[str], list[str]]


def for_option(opt: Opt) -> Completer | None:
    """How the value of an option is completed."""
    if opt.choices:
        return lambda incomplete: [choice for choice in opt.choices if choice.startswith(incomplete)]
    return services if opt.complete == "service" else None


def for_argument(arg: Arg) -> Completer | None:
    """How the argument is completed."""
    return services if arg.complete == "service" else None


def services(incomplete: str) -> list[str]:
    """Names of the caller's project, and PROJECT/NAME of all."""
    from midwatch.front.cli import instances, project

    try:
        ids = instances.look(foregrounds=False).ids()
        here = project.current()
    except Exception:  # noqa: BLE001  a broken completion must not spoil the line that is being typed
        return []
    mine = [known.partition("/")[2] for known in ids if known.partition("/")[0] == here]
    return [name for name in [*mine, *ids] if name.startswith(incomplete)]
