"""What a scene is, and how a scene that ends one way or another is told. Must not play one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from midwatch.front.drill.stage import Stage


class Scene(NamedTuple):
    """`injected`: the fault, in words; `play` injects it and says what midwatch did. It raises Lost or Missing."""

    name: str
    injected: str
    play: Callable[[Stage], str]


class Outcome(NamedTuple):
    """`survived` None: it could not be played, `did` says why."""

    scene: str
    injected: str
    did: str
    seconds: float
    survived: bool | None
    left_over: tuple[str, ...] = ()
    facts: dict[str, Any] = {}  # noqa: RUF012 - never changed

    @property
    def word(self) -> str:
        """The last column of the table."""
        return {True: "yes", False: "NO", None: "skipped"}[self.survived]
