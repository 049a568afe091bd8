"""Faults of our own: an exception in a guard, a probe or an action is recorded, and supervision goes on (G11).

What a broken part looked at is only watched while that lasts: nothing is done on the word of code that fails. One line
an episode, one when it has not happened again for a minute. Must not decide what goes on; the callers do.
Tests: tests/engine/test_faults.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from midwatch.policy import defaults

if TYPE_CHECKING:
    from types import TracebackType

    from midwatch.engine.core import Engine

_DECISION = "this part only watches until it works again; everything else goes on"


class Faults:
    """One per engine; bounded: services times the few parts there are."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._last: dict[tuple[str | None, str], float] = {}  # (service, part) -> when it failed last

    def caught(self, part: str, error: BaseException, service: str | None = None, run: str | None = None) -> None:
        """`part` has failed for this service; None: for all."""
        now = self._engine.machine.now().awake
        known = (service, part) in self._last
        self._last[service, part] = now
        if known:
            return
        words = f"{type(error).__name__}: {error}"[:300]
        fields = {"run_id": run, "part": part, "error": words, "where": _where(error.__traceback__)}
        self._engine.write("engine.fault", service=service, run=run, fields={**fields, "decision": _DECISION})
        self._engine.complain(f"a fault of midwatch's own in its {part}: {words} ({fields['where']})")

    def look(self) -> None:
        """Which episodes are over?"""
        if not self._last:
            return
        now, services = self._engine.machine.now().awake, self._engine.services
        for (service, part), at in list(self._last.items()):
            if service is not None and service not in services:
                del self._last[service, part]
            elif now - at >= defaults.FAULT_OVER:
                del self._last[service, part]
                self._engine.write("engine.fault", service=service, fields={"part": part, "over": True})


def _where(trace: TracebackType | None) -> str:
    """The innermost place: FILE:LINE in FUNCTION."""
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} in {code.co_name}"
