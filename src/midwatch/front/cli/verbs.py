"""Which verbs there are. Each is declared in the module of its name, which is imported when the verb is used.

Must not import one of them here. Tests: tests/front/test_help.py.
"""

from __future__ import annotations

from importlib import import_module

from midwatch.front.cli.declare import Verb

ABOUT = "Keeps long-running processes alive and can prove why each one died."

VERBS = (
    "look",
    "run",
    "up",
    "down",
    "ps",
    "start",
    "stop",
    "restart",
    "reload",
    "reset",
    "upgrade",
    "wait",
    "logs",
    "events",
    "why",
    "leaks",
    "exec",
    "spool",
    "sessions",
    "sweep",
    "recover",
    "doctor",
    "report",
    "check",
    "schema",
    "unit",
    "replay",
    "drill",
)


def load(name: str) -> Verb:
    """The declaration of one verb."""
    verb = import_module(f"midwatch.front.cli.{name}").VERB
    assert isinstance(verb, Verb)
    return verb
