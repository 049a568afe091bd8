"""A guard proposes, this decides: warn, ask the run to drain, or end it. Placeholder rows until the rules are here."""

from __future__ import annotations

from midwatch.model.event import Eased, Tripped
from midwatch.policy.draft import Draft


def tripped(d: Draft, e: Tripped) -> None:
    """Not decided yet."""


def hurried(d: Draft, e: Tripped) -> None:
    """Not decided yet."""


def eased(d: Draft, e: Eased) -> None:
    """Not decided yet."""
