"""Bounded execution: run a command so that neither its output, its memory nor its time can hurt whoever runs it.

`from midwatch.bounded import run, arun, Limits`. For programs that must not import an engine: names are loaded when
they are first used. Must not import anything of ours here. Tests: tests/bounded/test_api.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midwatch.bounded.asynchronous import arun
    from midwatch.bounded.cancel import Cancel
    from midwatch.bounded.holders import Holder
    from midwatch.bounded.limits import Limits
    from midwatch.bounded.result import Result, Stream
    from midwatch.bounded.running import run

__all__ = ["Cancel", "Holder", "Limits", "Result", "Stream", "arun", "run"]

_WHERE = {
    "Cancel": "cancel", "Holder": "holders", "Limits": "limits", "Result": "result", "Stream": "result",
    "arun": "asynchronous", "run": "running",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
