"""With which code `midwatch run` ends, so that an outer manager does the right thing (H17).

0: stopped as asked, or ended cleanly. 3: gave up or held. Else the command's own code, 128+N for a signal. Must not
exit itself. Tests: tests/policy/test_exitcode.py.
"""

from __future__ import annotations

from midwatch.model.exit import ExitFacts
from midwatch.model.state import ServiceState

OK, FAILED, GAVE_UP = 0, 1, 3


def run_exit_code(state: ServiceState, last: ExitFacts | None) -> int:
    """The code of `run` when its service stands in `state` and its last run ended with `last`."""
    if state.phase in ("gave_up", "held"):
        return GAVE_UP
    if state.want == "down" or state.phase == "done":
        return OK
    if last is not None and last.signal is not None:
        return 128 + last.signal
    return FAILED if last is None or last.code is None else last.code
